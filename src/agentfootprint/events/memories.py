"""What is told of memories, of corpora and of embedding. A `duration` is seconds, None of what was done after
the end of its run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..messages import Usage
from .base import Event

__all__ = [
    "EmbeddingEnded",
    "MemoryFailed",
    "MemoryFolded",
    "MemoryRecalled",
    "MemoryWritten",
    "RetrievalEnded",
]


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


@dataclass(frozen=True, slots=True)
class RetrievalEnded(Event):
    """A corpus was searched, beside memories or by a tool: of at most `top_k` passages so many were found.
    `error` is the code of what failed, None when it worked."""

    type: ClassVar[str] = "retrieval.ended"
    corpus: str
    passages: int
    top_k: int
    duration: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingEnded(Event):
    """Texts became vectors, all attempts included; `usage` is what they used, None where nobody counts.
    `error` is the code of what failed, None when it worked."""

    type: ClassVar[str] = "embedding.ended"
    provider: str
    model: str
    texts: int
    dimensions: int | None
    usage: Usage | None
    duration: float | None = None
    error: str | None = None
