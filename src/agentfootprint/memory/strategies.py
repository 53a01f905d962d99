"""Which of the remembered turns are put in front of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..errors import ConfigurationError
from ..identity import MemoryIdentity
from .base import MemoryEntry

if TYPE_CHECKING:
    from .memory import Memory

__all__ = ["Strategy", "Window"]


@runtime_checkable
class Strategy(Protocol):
    """Chooses from a memory. `identity` is already cut to the memory's scope."""

    async def recall(
        self, memory: Memory, identity: MemoryIdentity, query: str, *, skip: str | None = None
    ) -> Sequence[MemoryEntry]:
        """The turns to show, oldest first, without those of the conversation `skip`."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """The last `n` exchanges, whatever they were about.

    Raises:
        ConfigurationError: `n` is less than 1.
    """

    n: int = 10

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigurationError(f"Window(n={self.n}) shows nothing: n must be at least 1")

    async def recall(
        self, memory: Memory, identity: MemoryIdentity, query: str, *, skip: str | None = None
    ) -> Sequence[MemoryEntry]:
        return (await memory.newest(identity, self.n, skip=skip))[::-1]
