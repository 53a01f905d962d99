"""What a memory shows to a run, as the run's record has it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..embedders.usage import EmbeddingUsage, charged_to
from ..events import CostTicked
from ..messages import Message
from ..retrieval.passages import Passage, recorded
from .checks import keeps_turns
from .spending import Spent

if TYPE_CHECKING:
    from ..flow import Step
    from ..memory.memory import Memory
    from ..retrieval.rag import RAG
    from .session import Session

__all__ = ["Shown", "Source", "recall_from"]


@dataclass(frozen=True, slots=True)
class Source:
    """A remembered entry, the version of it that was read, and why it was chosen."""

    entry: str
    version: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Shown:
    """Messages in the order they were said, the entries they are from, and what finding them cost, where an
    embedder was asked and the agent knows prices; of a corpus the passages that its message quotes, without
    their texts, which stand there."""

    messages: tuple[Message, ...]
    sources: tuple[Source, ...]
    spent: Spent | None = None
    passages: tuple[Passage, ...] = ()


async def recall_from(memory: Memory | RAG, own: Session, step: Step[Any], beside: bool, query: str) -> Shown:
    identity = own.identity
    assert identity is not None
    if keeps_turns(memory):
        await own.settings.unwritten.flush(memory, identity)
    used: list[EmbeddingUsage] = []
    with charged_to(used.append):
        found = await memory.recall(identity, query, beside=beside)
    spent = None
    if used and own.spending is not None:
        spent = await own.spending.embedded(used, partial(own.tell, CostTicked, step))
    pairs = zip(found.entries, found.why, strict=True)
    sources = tuple(Source(entry.id, entry.version, why) for entry, why in pairs)
    return Shown(found.messages, sources, spent, recorded(getattr(found, "passages", ())))
