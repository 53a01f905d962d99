"""What a memory shows to a run and keeps of it, as the run's record has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..events import MemoryWritten
from ..messages import Message
from .unwritten import LateTurn

if TYPE_CHECKING:
    from ..memory.memory import Memory
    from .session import Session

__all__ = ["Shown", "Source", "keep_for_later", "recall_from", "remember_in"]


@dataclass(frozen=True, slots=True)
class Source:
    """A remembered entry, the version of it that was read, and why it was chosen."""

    entry: str
    version: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Shown:
    """Messages in the order they were said, and the entries they are from, oldest first."""

    messages: tuple[Message, ...]
    sources: tuple[Source, ...]


async def recall_from(memory: Memory, own: Session, beside: bool, query: str) -> Shown:
    identity = own.identity
    assert identity is not None
    await own.settings.unwritten.flush(memory, identity)
    found = await memory.recall(identity, query, beside=beside)
    pairs = zip(found.entries, found.why, strict=True)
    return Shown(found.messages, tuple(Source(entry.id, entry.version, why) for entry, why in pairs))


async def remember_in(memory: Memory, own: Session, exchange: Sequence[Message]) -> None:
    assert own.identity is not None
    await memory.remember(own.identity, own.run_id, exchange)


def keep_for_later(memory: Memory, own: Session, exchange: Sequence[Message], error: Exception) -> None:
    """A turn that could not be written for now is written later, and told then."""
    assert own.identity is not None
    told = partial(own.tell, MemoryWritten, None, memory.id, own.run_id)
    own.settings.unwritten.keep(LateTurn(memory, own.identity, own.run_id, exchange, told), error)
