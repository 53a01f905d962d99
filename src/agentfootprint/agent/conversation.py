"""Conversations in a state store: a small head changed by compare-and-set, one record per turn.

The head holds who is in it (a lease with an end), how the last saved turn is found, and whether a
person is being asked. A turn that was written but whose head was not moved is not part of the
conversation: its writer lost the lease, or the machine died in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from ..errors import ConversationBusy, ConversationPaused, StoreConflict, StoreUnavailable
from ..flow.codec import decode, encode
from ..identity import MemoryIdentity
from ..messages import Message
from ..retry import RetryPolicy
from ..state.base import Record, StateKey, StateStore

__all__ = ["LEASE_SECONDS", "Conversation", "Turn"]

LEASE_SECONDS = 30.0
"""How long a turn holds its conversation without a sign of life."""

_POLL_SECONDS = 0.05

_AGAIN = RetryPolicy(
    max_attempts=5,
    initial_delay=0.02,
    max_delay=0.2,
    max_total=2.0,
    retry_if=lambda error: isinstance(error, StoreUnavailable),
)
"""The answer was paid for: an outage of a moment does not keep it out of its conversation."""


class Conversation:
    """The conversation of one identity.

    Args:
        retention: seconds after which a turn reads as absent; None keeps it.
    """

    def __init__(self, state: StateStore, identity: MemoryIdentity, retention: float | None) -> None:
        self._state = state
        self._head = StateKey(identity, "conversation", "head")
        self._log = StateKey(identity, "conversation", "turns")
        self._retention = retention

    async def begin(
        self, run_id: str, *, wait: float = 0.0, abandon: bool = False, resuming: str | None = None
    ) -> Turn:
        """Takes the conversation for one turn.

        Args:
            wait: seconds to wait while another turn is running.
            abandon: gives up an open question.
            resuming: digest of the checkpoint that is resumed: its question is no obstacle.

        Raises:
            ConversationBusy: another turn is running, and did not end while waiting.
            ConversationPaused: a person is being asked, and the question is not given up.
        """
        until = time.monotonic() + wait
        while True:
            record = await self._state.get(self._head)
            head: dict[str, Any] = dict(record.value) if record is not None else {"turns": 0, "last": 0}
            lease = head.get("lease")
            if lease is None or lease["until"] <= time.time():
                paused = head.get("paused")
                if paused is not None and not abandon and paused != resuming:
                    raise ConversationPaused(
                        "the conversation waits for a person's answer: resume its checkpoint, "
                        "or give the question up with abandon_paused=True"
                    )
                head["lease"] = {"owner": run_id, "until": time.time() + LEASE_SECONDS}
                head.pop("paused", None)
                if (taken := await self._set(record, head)) is not None:
                    return Turn(self, run_id, taken, paused if paused != resuming else None)
                continue
            if time.monotonic() >= until:
                raise ConversationBusy(
                    "another turn of this conversation is running: send one message at a time, "
                    "or wait for it with busy_timeout="
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def load(self, head: dict[str, Any]) -> list[Message]:
        """The messages of the turns that belong to the conversation, oldest first."""
        if not head["last"]:
            return []
        entries = {entry.sequence: entry.value for entry in await self._state.read(self._log)}
        chain = []
        at = head["last"]
        while at and at in entries:
            chain.append(entries[at])
            at = entries[at]["previous"]
        return [message for turn in reversed(chain) for message in decode(list[Message], turn["messages"])]

    async def _set(self, record: Record | None, head: dict[str, Any]) -> Record | None:
        return await self._state.compare_and_set(
            self._head, None if record is None else record.version, head, ttl=self._retention
        )

    async def _append(self, value: Any) -> int:
        # An append whose answer was lost may have happened. It may be made again all the same: only the one
        # that the head is moved to is part of the conversation.
        return await _AGAIN.run(lambda: self._state.append(self._log, value, ttl=self._retention))


class Turn:
    """One turn's hold on its conversation. A lease that is kept alive while the turn runs."""

    def __init__(self, conversation: Conversation, run_id: str, head: Record, abandoned: str | None) -> None:
        self._conversation = conversation
        self._run_id = run_id
        self._record = head
        self._lock = asyncio.Lock()
        self._beating: asyncio.Task[None] | None = None
        self._saved: int | None = None
        self.lost = False
        #: Digest of the checkpoint whose question was given up for this turn.
        self.abandoned = abandoned

    async def load(self) -> list[Message]:
        return await self._conversation.load(self._record.value)

    def keep_alive(self) -> None:
        """Renews the lease in the background until the turn ends."""
        self._beating = asyncio.get_running_loop().create_task(self._beat())

    async def save(self, messages: Sequence[Message]) -> int:
        """Appends the turn and moves the head to it; its number, counted from 1.

        Raises:
            StoreConflict: the lease was lost to another turn meanwhile; nothing of this one shows.
        """
        async with self._lock:
            if self._saved is not None:
                return self._saved
            head = dict(self._record.value)
            sequence = await self._conversation._append(
                {"run": self._run_id, "previous": head["last"], "messages": encode(list(messages))}
            )
            head["turns"] += 1
            head["last"] = sequence
            await self._move(head)
            self._saved = int(head["turns"])
            return self._saved

    async def end(self, *, paused: str | None = None) -> None:
        """Lets the conversation go; `paused` is the digest of a checkpoint that waits for a person."""
        if self._beating is not None:
            self._beating.cancel()
        async with self._lock:
            if self.lost:
                return
            head = dict(self._record.value)
            head.pop("lease", None)
            if paused is not None:
                head["paused"] = paused
            try:
                await self._move(head)
            except Exception:
                # The lease runs out by itself.
                self.lost = True

    async def _move(self, head: dict[str, Any]) -> None:
        moved = await self._conversation._set(self._record, head)
        if moved is None:
            self.lost = True
            raise StoreConflict(
                "the conversation was taken over by another turn: this one was silent for longer than "
                f"{LEASE_SECONDS:g} s"
            )
        self._record = moved

    async def _beat(self) -> None:
        while not self.lost:
            await asyncio.sleep(LEASE_SECONDS / 3)
            async with self._lock:
                head = dict(self._record.value)
                head["lease"] = {"owner": self._run_id, "until": time.time() + LEASE_SECONDS}
                try:
                    await self._move(head)
                except Exception:
                    # Out of reach now, or lost: the next beat, or the save, will tell.
                    continue
