"""A memory of an agent: which turns it keeps, for whom, and which of them it shows again."""

from __future__ import annotations

import hashlib
import math
import string
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal, cast, get_args

from ..embedders.base import Embedder
from ..embedders.telling import embed
from ..errors import ConfigurationError
from ..identity import MemoryIdentity, Scope, namespace
from ..messages import Message, Text
from ..numeric import is_number
from ..providers.base import LLMProvider
from .asking import Ask, ask_directly
from .base import ComparingStore, MemoryEntry, MemoryStore
from .pieces import exchange_of, laid_out, pieces, turn_value, within
from .strategies import Extracting, Folding, Strategy, Window, embedder_of, parts_of

__all__ = ["Memory", "Recalled"]

Kind = Literal["episodic", "semantic", "narrative"]

PAGE = 200
"""Entries that are read at once where all of them are wanted."""

_ID_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-_.")


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a memory shows: its entries in the order they are shown, exchanges oldest first, why each was
    chosen, and their messages, each question before its answer."""

    entries: tuple[MemoryEntry, ...]
    messages: tuple[Message, ...]
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlives a run of its turns.

    A turn is the user's message and the final answer. Several memories may share a store; each sees its
    own entries only.

    Args:
        id: names the memory in its store and in events: letters, digits, `-`, `_` and `.`, at most 64.
        scope: who shares it: one conversation, all conversations of a principal, or a whole tenant.
        strategy: what is shown again; `Window()`, the last 10 exchanges, unless given.
        redact: changes each text before it is embedded, shown to a model that works for the memory, or
            written, such as by masking card numbers. Where it fails nothing is written.
        max_tokens: of all that is shown at once, estimated; what the strategy finds less important is left
            out. None: no limit but the strategy's own.
        store: where the entries live.
        kind: what is kept of a turn: `"episodic"`, the exchange as it was said; `"semantic"`, the facts that
            `Extract` finds in it; `"narrative"`, the exchange, and a summary of all before that `Summarize`
            writes.
        retention: seconds after which an entry is forgotten, a summary so long after it was last written;
            None keeps it.

    Raises:
        ConfigurationError: one of these cannot work, or not with another; the message says which and what
            to do.
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
        elif isinstance(self.strategy, type) or not isinstance(self.strategy, Strategy):
            raise ConfigurationError(
                f"memory {self.id!r}: strategy is a {type(self.strategy).__qualname__} without a `recall` "
                "and a `check` method: use Window(n)"
            )
        if self.max_tokens is not None and (type(self.max_tokens) is not int or self.max_tokens < 1):
            raise ConfigurationError(
                f"memory {self.id!r}: max_tokens={self.max_tokens!r} shows nothing: give at least 1, or None"
            )
        if self.redact is not None and not callable(self.redact):
            raise ConfigurationError(
                f"memory {self.id!r}: redact= must be a function of a text, not {type(self.redact).__name__}"
            )
        if self.strategy is not None:
            self.strategy.check(self)
            self._check_kind()
        if self.retention is not None and not (is_number(self.retention) and 0 < self.retention < math.inf):
            raise ConfigurationError(
                f"memory {self.id!r}: retention={self.retention!r} keeps nothing: give seconds above 0, or "
                "None to keep entries"
            )

    # ── showing ─────────────────────────────────────────────────────────────────────────────────

    async def recall(self, identity: MemoryIdentity, query: str, *, beside: bool = False) -> Recalled:
        """What is shown for a new question.

        `beside=True` leaves out the turns of the identity's own conversation, for a run that
        continues that conversation anyway: they would be shown twice.

        Raises:
            StoreError: the store failed, or an entry cannot be read.
        """
        assert self.strategy is not None
        own = identity.conversation_id if beside else None
        chosen = await self.strategy.recall(self, identity.scoped(self.scope), query, skip=own)
        found = pieces([each.entry for each in chosen], self.id)
        if self.max_tokens is not None:
            found = within(found, self.max_tokens)
        why = {each.entry.id: each.why for each in chosen}
        shown, messages = laid_out(found)
        return Recalled(
            tuple(piece.entry for piece in shown),
            messages,
            tuple(why[piece.entry.id] for piece in shown),
        )

    # ── keeping ─────────────────────────────────────────────────────────────────────────────────

    async def remember(
        self,
        identity: MemoryIdentity,
        turn_id: str,
        messages: Sequence[Message],
        *,
        at: float | None = None,
        ask: Ask = ask_directly,
    ) -> Sequence[MemoryEntry]:
        """Keeps a turn: the first user message and the last answer of `messages`. Returns what was written.

        `at` (seconds since the epoch) is when it was; the store says so unless it is given. The same turn of
        the same conversation, remembered again, replaces its entry. Turns of different conversations never
        share one, whatever their ids. `ask` asks a model where the strategy needs one; without it that is the
        strategy's own provider.

        Raises:
            InputInvalid: the turn has no user message or no answer.
            MemoryModelFailed: a model was asked and gave no answer that can be used.
            StoreError: the store failed.
        """
        entries = await self.entries_of(identity, turn_id, messages, at=at, ask=ask)
        written = await self.write(identity, entries)
        await self.fold(identity, ask)
        return written

    async def entries_of(
        self,
        identity: MemoryIdentity,
        turn_id: str,
        messages: Sequence[Message],
        *,
        at: float | None = None,
        ask: Ask = ask_directly,
    ) -> Sequence[MemoryEntry]:
        """The first half of `remember`: what is to be written of a turn, redacted and embedded."""
        question, answer = map(self._redacted, exchange_of(messages, self.id))
        metadata = {
            "memory": self.searched,
            "turn": turn_id,
            "principal": identity.principal,
            "conversation": identity.conversation_id,
        }
        entry = MemoryEntry(
            id=self._entry_id(identity, turn_id),
            value=turn_value(question, answer),
            metadata=metadata,
            created=at,
            expires=self._expires(),
        )
        if (extracting := self._extracting) is None:
            return await self._embedded([entry], [f"{question.text}\n{answer.text}"])
        facts = await extracting.extract(self, question, answer, ask)
        entries = [
            replace(
                entry,
                id=self._fact_id(identity, fact.about or fact.text),
                value={"fact": fact.text, "about": fact.about},
                created=time.time() if at is None else at,  # The one it replaces may be older.
            )
            for fact in facts
        ]
        return await self._embedded(entries, [f"{fact.about or ''}\n{fact.text}".strip() for fact in facts])

    async def write(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> Sequence[MemoryEntry]:
        """The second half of `remember`: writes what `entries_of` made, all or as its store does."""
        scoped = identity.scoped(self.scope)
        if len(entries) == 1:
            return (await self.store.put(scoped, entries[0]) or entries[0],)
        return await self.store.put_many(scoped, entries) if entries else ()

    async def fold(self, identity: MemoryIdentity, ask: Ask = ask_directly) -> int:
        """Lets the strategy write back what it makes of many turns, if it is time to; of how many turns."""
        folding = next((part for part in parts_of(self.strategy) if isinstance(part, Folding)), None)
        return 0 if folding is None else await folding.fold(self, identity.scoped(self.scope), ask)

    # ── what it needs ───────────────────────────────────────────────────────────────────────────

    @property
    def embedder(self) -> Embedder | None:
        return embedder_of(self.strategy)

    @property
    def folds(self) -> bool:
        """Whether its strategy writes something back, after turns were written."""
        return any(isinstance(part, Folding) for part in parts_of(self.strategy))

    @property
    def asks(self) -> bool:
        """Whether it asks a model."""
        extracting = self._extracting
        return self.folds or (extracting is not None and extracting.asks)

    @property
    def costs(self) -> bool:
        """Whether what it does may have a price."""
        return self.asks or self.embedder is not None

    @property
    def providers(self) -> Sequence[LLMProvider]:
        """The models it asks that are not the agent's."""
        return [each for part in parts_of(self.strategy) for each in getattr(part, "providers", ())]

    @property
    def _extracting(self) -> Extracting | None:
        return next((part for part in parts_of(self.strategy) if isinstance(part, Extracting)), None)

    # ── its entries, for strategies ─────────────────────────────────────────────────────────────

    @property
    def searched(self) -> str:
        """What the metadata of entries that are searched have as their `memory`."""
        return f"{self.id}/facts" if self.kind == "semantic" else self.id

    async def newest(self, identity: MemoryIdentity, n: int, *, skip: str | None = None) -> list[MemoryEntry]:
        """The last `n` turns or facts of exactly this (scoped) identity, newest first, without those
        of the conversation `skip`."""
        found: list[MemoryEntry] = []
        # The summary stands among the turns, and is none.
        async for entry in self._listed(identity, n + 1 if self.folds else n):
            if self._shows(entry) and (skip is None or entry.metadata.get("conversation") != skip):
                found.append(entry)
                if len(found) == n:
                    break
        return found

    async def turns(self, identity: MemoryIdentity) -> AsyncIterator[MemoryEntry]:
        """All turns or facts of exactly this (scoped) identity, newest first."""
        async for entry in self._listed(identity, PAGE):
            if self._shows(entry):
                yield entry

    async def entries(self, identity: MemoryIdentity) -> AsyncIterator[MemoryEntry]:
        """All entries of this memory that its scope shows to an identity, newest first."""
        async for entry in self._listed(identity.scoped(self.scope), PAGE):
            yield entry

    def within(self, entries: Sequence[MemoryEntry], tokens: float) -> list[MemoryEntry]:
        """The first of the entries that fit into so many tokens, estimated."""
        return [piece.entry for piece in within(pieces(entries, self.id), tokens)]

    @property
    def summary_id(self) -> str:
        return f"{self.id}/summary"

    async def put_summary(self, identity: MemoryIdentity, value: dict[str, Any], *, expected: str) -> bool:
        """Writes the summary of a (scoped) identity over the version that was seen; whether it was still
        that one."""
        entry = MemoryEntry(
            self.summary_id,
            value,
            {"memory": self.summary_id},
            created=value["until"],
            expires=self._expires(),
        )
        store = cast(ComparingStore, self.store)
        return await store.put(identity, entry, expected=expected) is not None

    async def drop_summary(self, identity: MemoryIdentity) -> bool:
        """Deletes the summary of a (scoped) identity: it is made again of the turns that are there."""
        return await self.store.delete(identity, self.summary_id)

    async def forget_shared(self, identity: MemoryIdentity) -> int:
        """Deletes what an identity left in a memory that more than itself share, and nothing of others; how
        many entries. A summary goes as a whole, and is made again of what others said. What is the identity's
        alone is deleted by `store.forget`."""
        scoped = identity.scoped(self.scope)
        if scoped == identity:
            return 0
        doomed = [entry.id async for entry in self.entries(identity) if _is_of(entry, identity)]
        deleted = sum([await self.store.delete(scoped, entry_id) for entry_id in doomed])
        return deleted + (await self.drop_summary(scoped) if self.folds else 0)

    # ── within ──────────────────────────────────────────────────────────────────────────────────

    async def _listed(self, scoped: MemoryIdentity, page: int) -> AsyncIterator[MemoryEntry]:
        cursor: str | None = None
        while True:
            found = await self.store.list(scoped, limit=page, cursor=cursor)
            for entry in found.entries:
                if entry.id.startswith(f"{self.id}/"):
                    yield entry
            cursor = found.cursor
            if cursor is None:
                return

    def _shows(self, entry: MemoryEntry) -> bool:
        """Whether an entry of this memory is of the kind that it shows: what another kind left is not."""
        rest = entry.id[len(self.id) + 1 :]
        return rest.startswith("facts/") if self.kind == "semantic" else rest.isalnum() and rest != "summary"

    def _redacted(self, message: Message) -> Message:
        if self.redact is None:
            return message
        change = self.redact
        parts = (
            replace(part, text=change(part.text)) if type(part) is Text else part for part in message.parts
        )
        return replace(message, parts=tuple(parts))

    async def _embedded(self, entries: Sequence[MemoryEntry], texts: Sequence[str]) -> Sequence[MemoryEntry]:
        embedder = self.embedder
        if embedder is None or not entries:
            return entries
        vectors = await embed(embedder, texts)
        return [replace(entry, embedding=vector) for entry, vector in zip(entries, vectors, strict=True)]

    def _expires(self) -> float | None:
        return None if self.retention is None else time.time() + self.retention

    def _entry_id(self, identity: MemoryIdentity, turn_id: str) -> str:
        # The parts that the scope cuts away stay in the id: two conversations of one person may both
        # have a turn "1".
        return f"{self.id}/{_digest(identity, turn_id)}"

    def _fact_id(self, identity: MemoryIdentity, about: str) -> str:
        # One for each person and subject, whatever the conversation: what is said later holds.
        whose = identity if self.scope == "conversation" else identity.scoped("principal")
        return f"{self.id}/facts/{_digest(whose, ' '.join(about.casefold().split()))}"

    def _check_kind(self) -> None:
        roles = [sum(isinstance(p, role) for p in parts_of(self.strategy)) for role in (Extracting, Folding)]
        lacks = None
        if max(roles) > 1:
            raise ConfigurationError(
                f"memory {self.id!r}: its strategy has {max(roles)} parts that write, which would write over "
                "each other: leave one Extract or one Summarize"
            )
        if self.kind == "semantic" and self._extracting is None:
            lacks = "keeps facts, which something must find in what is said: strategy=Extract(...)"
        elif self.kind == "narrative" and not self.folds:
            lacks = "keeps a summary, which something must write: strategy=Summarize(...)"
        if lacks is not None:
            raise ConfigurationError(f"memory {self.id!r}: kind={self.kind!r} {lacks}")

    def _check_choice(self, name: str, value: object, choices: tuple[str, ...]) -> None:
        if value not in choices:
            raise ConfigurationError(
                f"memory {self.id!r}: {name}={value!r} is unknown: use one of {', '.join(map(repr, choices))}"
            )


def _digest(identity: MemoryIdentity, text: str) -> str:
    return hashlib.sha256(f"{namespace(identity)}{text}".encode("utf-8", "surrogatepass")).hexdigest()


def _is_of(entry: MemoryEntry, identity: MemoryIdentity) -> bool:
    conversation = identity.conversation_id
    return entry.metadata.get("principal") == identity.principal and (
        conversation is None or entry.metadata.get("conversation") == conversation
    )
