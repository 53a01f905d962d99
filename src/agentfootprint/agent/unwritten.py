"""Turns that a memory could not take, kept until it can: the answers were paid for and given."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from ..errors import DeadlineExceeded, StoreUnavailable

if TYPE_CHECKING:
    from ..identity import MemoryIdentity
    from ..memory.memory import Memory
    from .remembering import TurnToKeep

__all__ = ["MOST", "Unwritten"]

MOST = 1000
"""So many turns an agent keeps for all its memories; the oldest goes first."""

_log = logging.getLogger("agentfootprint.memory")


class Unwritten:
    """The turns that one agent has still to write. They are in this process only: it says so in the log."""

    def __init__(self) -> None:
        self._turns: deque[TurnToKeep] = deque()
        self._flushing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._turns)

    def keep(self, turn: TurnToKeep, error: Exception) -> bool:
        """Keeps a turn if what kept it from being written may pass; whether it did."""
        passing = isinstance(error, StoreUnavailable | DeadlineExceeded) or getattr(error, "retryable", False)
        if passing:
            self.wait_with(turn)
        return passing

    def wait_with(self, turn: TurnToKeep) -> None:
        """Keeps a turn whatever kept it from being written."""
        self._turns.append(turn)
        while len(self._turns) > MOST:
            lost = self._turns.popleft()
            _log.error("memory %r: the turn of run %s was never written", lost.memory.id, lost.own.run_id)

    async def flush(self, memory: Memory | None = None, identity: MemoryIdentity | None = None) -> None:
        """Writes what it can of all turns, or of those that a memory shows to an identity."""
        for turn in [each for each in self._turns if _shown(each, memory, identity)]:
            if turn not in self._turns:
                continue  # Somebody else has it under way.
            self._turns.remove(turn)
            try:
                await turn.write()
            except Exception as error:
                # Whatever it is: it must not stand in the way of each further turn of that person.
                if not self.keep(turn, error):
                    _log.error(
                        "memory %r: the turn of run %s cannot be written: %s",
                        turn.memory.id,
                        turn.own.run_id,
                        error,
                    )
            except BaseException:
                self._turns.append(turn)
                raise
            else:
                turn.told()

    def forget(self, identity: MemoryIdentity) -> None:
        """Gives up the turns of an identity and of all below it."""
        for turn in list(self._turns):
            if turn.own.identity is not None and _within(turn.own.identity, identity):
                self._turns.remove(turn)

    def flush_soon(self) -> None:
        """Begins to write all that is kept, without anybody waiting for it."""
        if self._turns and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.create_task(self.flush())
            self._flushing.add_done_callback(_seen)

    async def aclose(self, seconds: float) -> None:
        """Tries once more, for so long."""
        flushing, self._flushing = self._flushing, None
        try:
            async with asyncio.timeout(seconds):
                if flushing is not None and flushing.get_loop() is asyncio.get_running_loop():
                    await flushing
                await self.flush()
        except TimeoutError:
            pass
        for turn in self._turns:
            _log.error("memory %r: the turn of run %s was never written", turn.memory.id, turn.own.run_id)


def _shown(turn: TurnToKeep, memory: Memory | None, identity: MemoryIdentity | None) -> bool:
    if memory is None or identity is None:
        return True
    scope, whose = memory.scope, turn.own.identity
    return turn.memory is memory and whose is not None and whose.scoped(scope) == identity.scoped(scope)


def _within(whose: MemoryIdentity, identity: MemoryIdentity) -> bool:
    above = list(identity.parts)
    while above and above[-1] is None:
        above.pop()
    return list(whose.parts[: len(above)]) == above


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("turns that were to be written late are still kept: %s", error)
