"""A memory of an agent: which turns it keeps, for whom, and which of them it shows again."""

from __future__ import annotations

import hashlib
import math
import string
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal, get_args

from ..embedders.base import Embedding
from ..errors import ConfigurationError, InputInvalid, JournalInvalid, StoreCorrupt
from ..flow.codec import decode, encode
from ..identity import MemoryIdentity, Scope, namespace
from ..messages import File, Image, Message, Text, ToolCall, estimated_tokens
from .base import MemoryEntry, MemoryStore
from .strategies import Strategy, Window, embedder_of

__all__ = ["Memory", "Recalled"]

Kind = Literal["episodic"]

_Turns = tuple[tuple[Message, Message], ...]
PAGE = 200
"""Entries that are read at once where all of them are wanted."""

_SAID = (Text, Image, File)
_ID_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-_.")


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a memory shows: its entries, oldest first, why each was chosen, and their messages in the order
    they were said."""

    entries: tuple[MemoryEntry, ...]
    messages: tuple[Message, ...]
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """Turns that outlive their run.

    Each turn is one entry: the user's message and the final answer. Several memories may share a
    store; each sees its own entries only.

    Args:
        id: names the memory in its store and in events: letters, digits, `-`, `_` and `.`, at most 64.
        scope: who shares it: one conversation, all conversations of a principal, or a whole tenant.
        strategy: what is shown again; `Window()`, the last 10 exchanges, unless given.
        redact: changes each text before it is embedded and written, such as by masking card numbers. Where
            it fails nothing is written.
        max_tokens: of all that is shown at once, estimated; what the strategy finds less important is left
            out. None: no limit but the strategy's own.
        store: where the entries live.
        kind: `"episodic"`: turns as they were said.
        retention: seconds after which an entry is forgotten; None keeps it.

    Raises:
        ConfigurationError: one of these cannot work; the message says which and what to do.
    """

    id: str
    _: KW_ONLY
    scope: Scope = "conversation"
    strategy: Strategy | None = None
    store: MemoryStore
    kind: Kind = "episodic"
    retention: float | None = None
    redact: Callable[[str], str] | None = None
    max_tokens: int | None = 8_000

    def __post_init__(self) -> None:
        if not (self.id and len(self.id) <= 64 and _ID_CHARACTERS.issuperset(self.id)):
            raise ConfigurationError(
                f"the memory id {self.id!r} must be 1 to 64 letters, digits, '-', '_' or '.': it becomes "
                "part of keys"
            )
        self._check_choice("scope", self.scope, get_args(Scope))
        self._check_choice("kind", self.kind, get_args(Kind))
        if not isinstance(self.store, MemoryStore):
            raise ConfigurationError(
                f"memory {self.id!r}: store is a {type(self.store).__qualname__}, which is no MemoryStore: "
                "use InMemoryStore(), SQLiteStore(path) or an object with its methods"
            )
        if self.strategy is None:
            object.__setattr__(self, "strategy", Window())
        elif not isinstance(self.strategy, Strategy):
            raise ConfigurationError(
                f"memory {self.id!r}: strategy is a {type(self.strategy).__qualname__} without a `recall` "
                "and a `check` method: use Window(n)"
            )
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigurationError(
                f"memory {self.id!r}: max_tokens={self.max_tokens} shows nothing: give at least 1, or None"
            )
        if self.strategy is not None:
            self.strategy.check(self)
        if self.retention is not None and not 0 < self.retention < float("inf"):
            raise ConfigurationError(
                f"memory {self.id!r}: retention={self.retention!r} keeps nothing: give seconds above 0, or "
                "None to keep entries"
            )

    async def recall(self, identity: MemoryIdentity, query: str, *, beside: bool = False) -> Recalled:
        """What is shown for a new question: oldest first, each question before its answer.

        `beside=True` leaves out the turns of the identity's own conversation, for a run that
        continues that conversation anyway: they would be shown twice.

        Raises:
            StoreError: the store failed, or an entry cannot be read as a turn.
        """
        assert self.strategy is not None
        own = identity.conversation_id if beside else None
        chosen = await self.strategy.recall(self, identity.scoped(self.scope), query, skip=own)
        why = {each.entry.id: each.why for each in chosen}
        kept = self._fitting([each.entry for each in chosen], self.max_tokens)
        # Of one time, the newest come first from strategies that go by time: so they stand last.
        kept.reverse()
        kept.sort(key=lambda pair: pair[0].created or 0.0)
        return Recalled(
            tuple(entry for entry, _ in kept),
            tuple(message for _, turn in kept for message in turn),
            tuple(why[entry.id] for entry, _ in kept),
        )

    async def remember(
        self, identity: MemoryIdentity, turn_id: str, messages: Sequence[Message], *, at: float | None = None
    ) -> MemoryEntry:
        """Keeps a turn: the first user message and the last answer of `messages`.

        `at` (seconds since the epoch) is when it was; the store says so unless it is given. The same turn of
        the same conversation, remembered again, replaces its entry. Turns of
        different conversations never share one, whatever their ids.

        Raises:
            InputInvalid: the turn has no user message or no answer.
            StoreError: the store failed.
        """
        question = next((message for message in messages if message.role == "user"), None)
        answer = next((said for message in reversed(messages) if (said := _answer(message))), None)
        if question is None or answer is None:
            raise InputInvalid(
                f"memory {self.id!r} keeps a user's message and the answer to it: this turn has no "
                f"{'user message' if question is None else 'answer'}"
            )
        question, answer = self._redacted(question), self._redacted(answer)
        entry = MemoryEntry(
            id=self._entry_id(identity, turn_id),
            value={"messages": [encode(question), encode(answer)]},
            metadata={
                "memory": self.id,
                "turn": turn_id,
                "principal": identity.principal,
                "conversation": identity.conversation_id,
            },
            created=at,
            expires=None if self.retention is None else time.time() + self.retention,
            embedding=await self._embedded(question, answer),
        )
        stored = await self.store.put(identity.scoped(self.scope), entry)
        return stored or entry

    async def newest(self, identity: MemoryIdentity, n: int, *, skip: str | None = None) -> list[MemoryEntry]:
        """This memory's last `n` entries of exactly this (scoped) identity, newest first, without those
        of the conversation `skip`."""
        found: list[MemoryEntry] = []
        cursor: str | None = None
        while True:
            page = await self.store.list(identity, limit=n, cursor=cursor)
            found += [
                entry
                for entry in page.entries
                if entry.id.startswith(f"{self.id}/")
                and (skip is None or entry.metadata.get("conversation") != skip)
            ]
            cursor = page.cursor
            if cursor is None or len(found) >= n:
                return found[:n]

    async def entries(self, identity: MemoryIdentity) -> AsyncIterator[MemoryEntry]:
        """All entries of this memory that its scope shows to an identity, newest first."""
        scoped, cursor = identity.scoped(self.scope), None
        while True:
            page = await self.store.list(scoped, limit=PAGE, cursor=cursor)
            for entry in page.entries:
                if entry.id.startswith(f"{self.id}/"):
                    yield entry
            cursor = page.cursor
            if cursor is None:
                return

    async def forget_shared(self, identity: MemoryIdentity) -> int:
        """Deletes what an identity left in a memory that more than itself share, and nothing of others; how
        many entries. What is the identity's alone is deleted by `store.forget`."""
        scoped = identity.scoped(self.scope)
        if scoped == identity:
            return 0
        doomed = [entry.id async for entry in self.entries(identity) if _is_of(entry, identity)]
        return sum([await self.store.delete(scoped, entry_id) for entry_id in doomed])

    def within(self, entries: Sequence[MemoryEntry], tokens: float) -> list[MemoryEntry]:
        """The first of the entries that fit into so many tokens, estimated."""
        return [entry for entry, _ in self._fitting(entries, tokens)]

    def _fitting(
        self, entries: Sequence[MemoryEntry], tokens: float | None
    ) -> list[tuple[MemoryEntry, tuple[Message, Message]]]:
        left = math.inf if tokens is None else tokens
        pairs = list(zip(entries, self._turns(entries), strict=True))
        for at, (_, turn) in enumerate(pairs):
            left -= sum(map(estimated_tokens, turn))
            if left < 0:
                return pairs[:at]
        return pairs

    def _redacted(self, message: Message) -> Message:
        if self.redact is None:
            return message
        change = self.redact
        parts = (
            replace(part, text=change(part.text)) if type(part) is Text else part for part in message.parts
        )
        return replace(message, parts=tuple(parts))

    async def _embedded(self, question: Message, answer: Message) -> Embedding | None:
        embedder = embedder_of(self.strategy)
        if embedder is None:
            return None
        [found] = await embedder.embed([f"{question.text}\n{answer.text}"])
        return found

    def _entry_id(self, identity: MemoryIdentity, turn_id: str) -> str:
        # The parts that the scope cuts away stay in the id: two conversations of one person may both
        # have a turn "1".
        turn = f"{namespace(identity)}{turn_id}"
        return f"{self.id}/{hashlib.sha256(turn.encode('utf-8', 'surrogatepass')).hexdigest()}"

    def _turns(self, entries: Sequence[MemoryEntry]) -> _Turns:
        try:
            turns: _Turns = decode(tuple[tuple[Message, Message], ...], [_stored(entry) for entry in entries])
        except JournalInvalid as error:
            raise StoreCorrupt(
                f"memory {self.id!r}: an entry cannot be read as a turn ({error}): delete it from the store"
            ) from None
        for entry, (question, answer) in zip(entries, turns, strict=True):
            if question.role != "user" or answer.role != "assistant" or not _only_says(answer):
                raise StoreCorrupt(
                    f"memory {self.id!r}: entry {entry.id!r} is no question and its answer: delete it from "
                    "the store"
                )
        return turns

    def _check_choice(self, name: str, value: object, choices: tuple[str, ...]) -> None:
        if value not in choices:
            raise ConfigurationError(
                f"memory {self.id!r}: {name}={value!r} is unknown: use one of {', '.join(map(repr, choices))}"
            )


def _is_of(entry: MemoryEntry, identity: MemoryIdentity) -> bool:
    conversation = identity.conversation_id
    return entry.metadata.get("principal") == identity.principal and (
        conversation is None or entry.metadata.get("conversation") == conversation
    )


def _stored(entry: MemoryEntry) -> Any:
    return entry.value.get("messages") if isinstance(entry.value, dict) else None


def _answer(message: Message) -> Message | None:
    """What a message says to the user, without what was meant for the vendor; None if it is no answer."""
    if message.role != "assistant" or any(type(part) is ToolCall for part in message.parts):
        return None
    said = tuple(part for part in message.parts if isinstance(part, _SAID))
    return Message.assistant(said) if said else None


def _only_says(message: Message) -> bool:
    return bool(message.parts) and all(isinstance(part, _SAID) for part in message.parts)
