"""Toolsets that have a lifetime: entered before their first use, left when their agent is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

from ..loops import PerLoop
from .base import Toolset
from .combined import WrapperToolset
from .owner import Owner

__all__ = ["Lifetimes"]


@runtime_checkable
class Shared(Protocol):
    """A toolset that several agents use, and its own user beside them: it ends with the last of them."""

    def held(self) -> AbstractAsyncContextManager[Any]: ...


class Lifetimes:
    """Holds toolsets open for an agent, in each event loop that it is used in."""

    __slots__ = ("_managed", "_owners")

    def __init__(self, toolsets: Sequence[Toolset]) -> None:
        self._managed = tuple(each for each in map(_innermost, toolsets) if hasattr(type(each), "__aenter__"))
        self._owners: PerLoop[_Held] = PerLoop(partial(_Held, self._managed), lambda held: held.aclose())

    async def enter(self) -> None:
        """Enters those that are not entered yet.

        Raises:
            What entering one raises.
        """
        if self._managed:
            await self._owners.get().enter()

    async def aclose(self) -> None:
        """Leaves those that were entered in the running event loop."""
        if self._managed:
            await self._owners.aclose()


class _Held:
    def __init__(self, toolsets: Sequence[Toolset]) -> None:
        self._toolsets = toolsets
        self._owners: dict[int, Owner[Any]] = {}

    async def enter(self) -> None:
        for at, toolset in enumerate(self._toolsets):
            owner = self._owners.get(at)
            if owner is None or owner.over:
                manager = toolset.held() if isinstance(toolset, Shared) else toolset
                manager = cast(AbstractAsyncContextManager[Any], manager)
                owner = self._owners[at] = Owner(partial(_itself, manager), f"lifetime of {toolset!r:.80}")
            await owner.value()

    async def aclose(self) -> None:
        owners, self._owners = list(self._owners.values()), {}
        await asyncio.gather(*(owner.aclose() for owner in owners))


def _itself(manager: AbstractAsyncContextManager[Any], owner: Owner[Any]) -> AbstractAsyncContextManager[Any]:
    return manager


def _innermost(toolset: Toolset) -> Toolset:
    while isinstance(toolset, WrapperToolset):
        toolset = toolset.inner
    return toolset
