"""A person's right to be forgotten: all that an agent's stores and state keep of an identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..identity import MemoryIdentity

if TYPE_CHECKING:
    from ..memory.memory import Memory
    from ..state.base import StateStore

__all__ = ["Forgotten", "forget"]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was deleted in one place: its kind of store, the memories in it, how many entries."""

    place: str
    memories: tuple[str, ...]
    deleted: int


async def forget(
    identity: MemoryIdentity, memories: Sequence[Memory], state: StateStore | None
) -> tuple[Forgotten, ...]:
    by_store: dict[int, list[Memory]] = {}
    for memory in memories:
        by_store.setdefault(id(memory.store), []).append(memory)
    report = []
    for sharing in by_store.values():
        store = sharing[0].store
        # What is shared first: were it the other way round, a failure would leave only what is hard to find.
        deleted = sum([await memory.forget_shared(identity) for memory in sharing])
        deleted += await store.forget(identity, descendants=True)
        report.append(Forgotten(type(store).__name__, tuple(memory.id for memory in sharing), deleted))
    if state is not None:
        deleted = await state.forget(identity, descendants=True)
        report.append(Forgotten(type(state).__name__, (), deleted))
    return tuple(report)
