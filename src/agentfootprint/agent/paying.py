"""What a step's calls of models cost, written down with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ..cost.prices import usd_of
from ..errors import CostBudgetExceeded
from ..events import CostTicked, LimitReached
from ..flow.again import Stored
from ..flow.codec import decode
from .spending import Spent

if TYPE_CHECKING:
    from ..flow import Run, Step
    from ..messages import LLMResponse
    from .session import Session

__all__ = ["bill", "paid", "spent_by"]

LOST = "lost"
"""The call by which a step that breaks off leaves what it has spent."""


async def paid(
    c: Step[Any], own: Session, asking: Callable[..., Awaitable[LLMResponse]]
) -> LLMResponse | None:
    """What `asking` for the model's answer brings; None, and `stop` says why, when the budget refuses."""
    reply: LLMResponse | None = None
    with bill(c, own, "model"):
        try:
            reply = await asking(raises=(CostBudgetExceeded,))
        except CostBudgetExceeded:
            pass
    spent: Spent = c["cost"]
    if reply is None or spent.cut:
        own.tell(LimitReached, c, "cost_budget", float(usd_of(spent.nano + spent.held)))
        c["stop"] = "cost_budget"
    return reply


@contextmanager
def bill(c: Step[Any], own: Session, kind: Literal["model", "memory"]) -> Iterator[None]:
    """What is spent within becomes part of the run's cost. `kind` says what the models are asked for."""
    spending = own.spending
    assert spending is not None
    before = c.get("cost") or sum(c.get("charges", ()), Spent())
    while c.was_called(LOST):
        before = c.call_now(LOST, spending.so_far, returns=Spent)
    spending.begin(kind, before, partial(own.tell, CostTicked, c), partial(own.tell, LimitReached, c))
    try:
        yield
    except BaseException:
        # What a step writes is taken back when it breaks off; what it spent is not.
        c.call_now(LOST, spending.so_far, returns=Spent)
        raise
    c["cost"] = c.call_now("cost", spending.so_far, returns=Spent)


def spent_by(run: Run) -> Spent | None:
    """What a run has spent, the step it broke off in included; None when its agent prices nothing."""
    broken = run.root.open
    for call in reversed(() if broken is None else broken.calls):
        if call.name == LOST:
            spent: Spent = decode(Spent, call.result.data) if type(call.result) is Stored else call.result
            return spent
    found: Spent | None = run.get("cost")
    return found
