"""A turn on its way into a memory: made into entries, written, folded; now, or later when it can be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..embedders.usage import EmbeddingUsage, charged_to
from ..events import CostTicked, EmbeddingEnded, MemoryFailed, MemoryFolded, MemoryWritten
from ..flow.again import Stored
from ..flow.codec import decode
from ..flow.current import outside
from ..messages import LLMRequest, LLMResponse, Message, Usage
from .model_call import ModelCall

if TYPE_CHECKING:
    from ..flow import Step
    from ..memory.base import MemoryEntry
    from ..memory.memory import Memory
    from ..providers.base import LLMProvider
    from .session import Session
    from .spending import Spending

__all__ = ["TurnToKeep", "remember_in"]


@dataclass(slots=True, eq=False)
class TurnToKeep:
    """A turn that is to be written, in its own identity and at its own time.

    What was made of it, with models that are paid for, is made once, however often it is written.
    """

    memory: Memory
    own: Session
    exchange: Sequence[Message]
    late: bool = False
    at: float = field(default_factory=time.time)
    _entries: Sequence[MemoryEntry] | None = None

    async def write(self, step: Step[Any] | None = None) -> None:
        """Writes it: in a step of its run, or, without one, after the end of the run."""
        with outside() if step is None else nullcontext():  # It may be the effect of another run.
            await self._write(step)

    async def _write(self, step: Step[Any] | None) -> None:
        own, memory = self.own, self.memory
        assert own.identity is not None
        if self._entries is None:
            aside = _Aside(own, step, f"remember:{memory.id}")
            self._entries = await aside.paying(
                partial(memory.entries_of, own.identity, own.run_id, self.exchange, ask=aside)
            )
        entries = self._entries
        if self.late and not memory.folds:  # What is not in a summary yet must not stand before it.
            entries = [replace(entry, created=entry.created or self.at) for entry in entries]
        await memory.write(own.identity, entries)

    def told(self) -> None:
        """Tells that it was written late."""
        self.own.tell(MemoryWritten, None, self.memory.id, self.own.run_id)


async def remember_in(c: Step[Any], own: Session, memory: Memory, exchange: Sequence[Message]) -> None:
    """Keeps a turn in a memory. What fails is told, not thrown."""
    turn = TurnToKeep(memory, own, exchange)

    async def write(exchange: Sequence[Message]) -> None:
        await turn.write(c)

    name = memory.id
    begun = time.monotonic()
    try:
        await c.call("remember", write, exchange, key=name)
    except asyncio.CancelledError:
        # Whoever had the answer and left: the turn was paid for, and is written later.
        turn.late = True
        own.settings.unwritten.wait_with(turn)
        raise
    except Exception as error:
        turn.late = True
        own.settings.unwritten.keep(turn, error)
        own.tell(MemoryFailed, c, name, "remember", own.told(error), time.monotonic() - begun)
        return
    own.tell(MemoryWritten, c, name, own.run_id, time.monotonic() - begun)
    own.settings.unwritten.flush_soon()
    if memory.folds:
        await _fold(c, own, memory)


async def _fold(c: Step[Any], own: Session, memory: Memory) -> None:
    name = memory.id
    assert own.identity is not None
    aside = _Aside(own, c, f"fold:{name}")
    fold = partial(aside.paying, partial(memory.fold, own.identity, aside))
    begun = time.monotonic()
    try:
        turns = await c.call("fold", fold, key=name, returns=int)
    except Exception as error:
        # The turns are there, and wait for the next time.
        own.tell(MemoryFailed, c, name, "fold", own.told(error), time.monotonic() - begun)
        return
    if turns:
        own.tell(MemoryFolded, c, name, turns, time.monotonic() - begun)


def usage_aside(c: Step[Any]) -> Usage | None:
    """What models were asked for memories in a step used; None when none was asked."""
    total: Usage | None = None
    for call in c.calls:
        if call.name != "model" or call.within is None:
            continue
        reply = decode(LLMResponse, call.result.data) if type(call.result) is Stored else call.result
        used = reply.usage if isinstance(reply, LLMResponse) else None
        total = (total or Usage()) + (used or Usage(unreported=1))
    return total


class _Aside:
    """Asks models for a memory: in the run's record, at its cost, within its budget."""

    def __init__(self, own: Session, step: Step[Any] | None, within: str) -> None:
        self._own = own
        self._step = step
        self._within = within
        self._tick = partial(own.tell, CostTicked, step)
        spending = own.spending
        if spending is not None and step is None:
            spending = spending.again(self._tick)
        self._spending: Spending | None = spending
        self._one = asyncio.Lock()

    async def __call__(self, request: LLMRequest, provider: LLMProvider | None = None) -> LLMResponse:
        # One after the other: what a call may cost is reserved and settled for one at a time.
        async with self._one:
            return await self._asked(request, provider)

    async def _asked(self, request: LLMRequest, provider: LLMProvider | None) -> LLMResponse:
        asking = ModelCall(self._step, self._own, self._spending, aside=True, provider=provider)
        if self._step is None:
            return await asking(request)
        reply: LLMResponse = await self._step.call(
            "model", asking, request, key=self._within, returns=LLMResponse, within=self._within
        )
        return reply

    async def paying(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Does something that may embed, and counts that."""
        used: list[EmbeddingUsage] = []
        try:
            with charged_to(used.append):
                return await work()
        finally:
            if self._step is None:  # There is no step that could tell it.
                for each in used:
                    about = (each.provider, each.model, each.texts, None, each.usage)
                    self._own.tell(EmbeddingEnded, None, *about)
            if used and self._spending is not None:
                await self._spending.embedded(used, self._tick)
