"""What is told of memories. A `duration` is seconds, None of what was done after the end of its run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from .base import Event

__all__ = ["MemoryFailed", "MemoryFolded", "MemoryRecalled", "MemoryWritten"]


@dataclass(frozen=True, slots=True)
class MemoryRecalled(Event):
    type: ClassVar[str] = "memory.recalled"
    memory: str
    entries: int
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryWritten(Event):
    type: ClassVar[str] = "memory.written"
    memory: str
    entry: str
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryFailed(Event):
    """A memory could not be read, written or summarized; the answer is not lost."""

    type: ClassVar[str] = "memory.failed"
    memory: str
    operation: Literal["recall", "remember", "fold"]
    message: str
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryFolded(Event):
    """So many turns became part of a memory's summary."""

    type: ClassVar[str] = "memory.folded"
    memory: str
    turns: int
    duration: float | None = None
