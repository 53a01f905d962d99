"""What is wrong with the parts of an agent, told when it is built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .. import numeric
from ..cost.budget import CostBudget
from ..errors import ConfigurationError
from ..tools.tool import Tool

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from ..memory.memory import Memory
    from ..retrieval.rag import RAG
    from ..state.base import StateStore
    from .pricing import Pricing

__all__ = [
    "check_budget",
    "check_counts",
    "check_memories",
    "check_prices",
    "check_seconds",
    "check_several",
    "is_toolset",
    "keeps_turns",
]


def check_counts(**counts: Any) -> None:
    for what, count in counts.items():
        if count is not None and (type(count) is not int or count < 1):
            raise ConfigurationError(
                f"{what} must be a whole number of at least 1, not {count!r}; None: no limit"
            )


def check_seconds(**durations: Any) -> None:
    for what, seconds in durations.items():
        numeric.check_seconds(what, seconds)


def check_several(**given: Any) -> None:
    for what, several in given.items():
        if not isinstance(several, Iterable):
            raise ConfigurationError(f"{what}= takes several: give a list, not {type(several).__name__}")


def keeps_turns(memory: Memory | RAG) -> TypeIs[Memory]:
    """Whether it is a memory; a corpus is only asked."""
    return hasattr(memory, "remember")


def check_memories(memories: Sequence[Memory | RAG], state: StateStore | None) -> None:
    ids = [memory.id for memory in memories]
    if len(set(ids)) != len(ids):
        raise ConfigurationError(f"two memories have one id: {', '.join(ids)}")
    for memory in memories:
        if not keeps_turns(memory):
            continue
        if state is not None and memory.scope == "conversation" and memory.kind != "semantic":
            raise ConfigurationError(
                f"memory {memory.id!r} recalls the conversation that state= already continues: each turn "
                "would be shown twice. Give it scope='principal', or leave out state="
            )


def check_prices(pricing: Pricing | None, memories: Sequence[Memory | RAG]) -> None:
    """What memories ask must have a price where the agent's own model must."""
    if pricing is None:
        return
    for memory in memories:
        pricing.check_embedder(memory.embedder)
        for provider in memory.providers:
            pricing.beside(provider)


def check_budget(table: Any, budget: Any) -> None:
    if isinstance(table, type):
        raise ConfigurationError(f"pricing_table= must be an object: {table.__name__}(...), not the class")
    if table is not None and not callable(getattr(table, "cost", None)):
        raise ConfigurationError(
            f"pricing_table= must have cost(), {type(table).__name__} has not: use GenAIPrices() or "
            "PriceList({'model': Price(input=..., output=...)})"
        )
    if budget is not None and not isinstance(budget, CostBudget):
        raise ConfigurationError(f"cost_budget= must be a CostBudget(usd=...), not {type(budget).__name__}")
    if budget is not None and table is None:
        raise ConfigurationError("cost_budget= needs to know prices: pass pricing_table=GenAIPrices()")


def is_toolset(item: Any) -> bool:
    return not isinstance(item, Tool) and callable(getattr(item, "tools", None))
