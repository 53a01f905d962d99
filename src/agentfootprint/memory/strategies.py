"""Which of the remembered turns are put in front of the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..embedders.base import Embedder
from ..embedders.telling import embed
from ..errors import ConfigurationError
from ..identity import MemoryIdentity
from ..messages import Message
from .asking import Ask
from .base import Filter, Match, MemoryEntry, Not, SearchableStore

if TYPE_CHECKING:
    from .facts import Fact
    from .memory import Memory

__all__ = ["Budget", "Chosen", "Decay", "Extracting", "Folding", "Hybrid", "Strategy", "TopK", "Window"]

READ_AHEAD = 4
"""How many times as many matches as are wanted are weighed by their age."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An entry to show, and why it was chosen, in words."""

    entry: MemoryEntry
    why: str


@runtime_checkable
class Strategy(Protocol):
    """Chooses from a memory. `identity` is already cut to the memory's scope.

    One that searches by meaning also has `embedder`, with which entries are embedded as they are written.
    """

    def check(self, memory: Memory) -> None:
        """Refuses a memory that this strategy cannot work on.

        Raises:
            ConfigurationError: what is missing.
        """
        ...

    async def recall(
        self, memory: Memory, identity: MemoryIdentity, query: str, *, skip: str | None = None
    ) -> Sequence[Chosen]:
        """The turns to show, the most important first, without those of the conversation `skip`."""
        ...


@runtime_checkable
class Extracting(Strategy, Protocol):
    """A strategy that makes facts of an exchange before it is written, for memories of kind `semantic`."""

    @property
    def asks(self) -> bool:
        """Whether it asks a model for them."""
        ...

    async def extract(self, memory: Memory, question: Message, answer: Message, ask: Ask) -> Sequence[Fact]:
        """What is written of an exchange, in its place.

        Raises:
            MemoryModelFailed: a model was asked and gave no answer that can be used.
        """
        ...


@runtime_checkable
class Folding(Strategy, Protocol):
    """A strategy that writes back what it makes of many turns, for memories of kind `narrative`."""

    async def fold(self, memory: Memory, identity: MemoryIdentity, ask: Ask) -> int:
        """Called after each turn was written, with its (scoped) identity: how many turns were folded.

        Raises:
            MemoryModelFailed: a model was asked and gave no answer that can be used.
        """
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

    def check(self, memory: Memory) -> None:
        pass

    async def recall(
        self, memory: Memory, identity: MemoryIdentity, query: str, *, skip: str | None = None
    ) -> Sequence[Chosen]:
        entries = await memory.newest(identity, self.n, skip=skip)
        return [Chosen(entry, f"one of the last {self.n}") for entry in entries]


@dataclass(frozen=True, slots=True)
class Budget:
    """The last exchanges that fit into so many tokens, as far as they can be estimated, at most `most`.

    Raises:
        ConfigurationError: a number is less than 1.
    """

    tokens: int
    _: KW_ONLY
    most: int = 200

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.most < 1:
            raise ConfigurationError(f"{self} shows nothing: both numbers must be at least 1")

    def check(self, memory: Memory) -> None:
        pass

    async def recall(
        self, memory: Memory, identity: MemoryIdentity, query: str, *, skip: str | None = None
    ) -> Sequence[Chosen]:
        entries = await memory.newest(identity, self.most, skip=skip)
        kept = memory.within(entries, self.tokens)
        return [Chosen(entry, f"among the last {self.tokens} tokens") for entry in kept]


@dataclass(frozen=True, slots=True)
class TopK:
    """The `k` exchanges that are most like the question, and none that is weaker than `min_score`.

    Args:
        embedder: makes the vectors that are compared; entries are embedded as they are written.
        min_score: the least cosine similarity, from -1 to 1. What is strong enough depends on the embedder.

    Raises:
        ConfigurationError: `k` is less than 1, or `min_score` is no such number.
    """

    k: int = 5
    _: KW_ONLY
    embedder: Embedder
    min_score: float = 0.3

    def __post_init__(self) -> None:
        _check_search(type(self).__name__, self.k, self.embedder, self.min_score)

    def check(self, memory: Memory) -> None:
        _check_searchable(memory, type(self).__name__)

    async def recall(
        self, memory: Memory, identity: MemoryIdentity, query: str, *, skip: str | None = None
    ) -> Sequence[Chosen]:
        matches = await _search(memory, identity, query, self.embedder, self.k, self.min_score, skip)
        return [Chosen(each.entry, f"similarity {each.score:.2f}") for each in matches]


@dataclass(frozen=True, slots=True)
class Decay:
    """As `TopK`, but likeness counts for less the older an exchange is: half after `half_life` seconds.

    Raises:
        ConfigurationError: as for `TopK`, or `half_life` is not above 0.
    """

    k: int = 5
    _: KW_ONLY
    embedder: Embedder
    half_life: float
    min_score: float = 0.3
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def __post_init__(self) -> None:
        _check_search(type(self).__name__, self.k, self.embedder, self.min_score)
        if not 0 < self.half_life < float("inf"):
            raise ConfigurationError(f"Decay(half_life={self.half_life!r}) must be seconds above 0")

    def check(self, memory: Memory) -> None:
        _check_searchable(memory, type(self).__name__)

    async def recall(
        self, memory: Memory, identity: MemoryIdentity, query: str, *, skip: str | None = None
    ) -> Sequence[Chosen]:
        most = self.k * READ_AHEAD
        matches = await _search(memory, identity, query, self.embedder, most, self.min_score, skip)
        now = self.clock()
        weighed = sorted(((self._left(each, now), each) for each in matches), key=lambda pair: -pair[0])
        return [
            Chosen(each.entry, f"similarity {each.score:.2f}, {left:.2f} at its age")
            for left, each in weighed[: self.k]
            if left >= self.min_score
        ]

    def _left(self, match: Match, now: float) -> float:
        age = max(0.0, now - (match.entry.created or now))
        return float(match.score * 0.5 ** (age / self.half_life))


@dataclass(frozen=True, slots=True, init=False)
class Hybrid:
    """What any of several strategies chooses, each entry once, with the reasons of all who chose it. All are
    asked, at the same time; the first is the most important.

    Raises:
        ConfigurationError: fewer than two, or they embed with two embedders.
    """

    parts: tuple[Strategy, ...]
    embedder: Embedder | None

    def __init__(self, *parts: Strategy) -> None:
        if len(parts) < 2 or not all(isinstance(part, Strategy) for part in parts):
            raise ConfigurationError("Hybrid joins two strategies or more: Hybrid(Window(4), TopK(5, ...))")
        embedders = [each for part in parts if (each := embedder_of(part)) is not None]
        if len({each.fingerprint for each in embedders}) > 1:
            names = " and ".join(sorted({each.fingerprint for each in embedders}))
            raise ConfigurationError(f"Hybrid embeds with {names}: entries have one vector, use one embedder")
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "embedder", embedders[0] if embedders else None)

    def check(self, memory: Memory) -> None:
        for part in self.parts:
            part.check(memory)

    async def recall(
        self, memory: Memory, identity: MemoryIdentity, query: str, *, skip: str | None = None
    ) -> Sequence[Chosen]:
        asked = (part.recall(memory, identity, query, skip=skip) for part in self.parts)
        chosen: dict[str, Chosen] = {}
        for part, found in zip(self.parts, await asyncio.gather(*asked), strict=True):
            for each in found:
                why = f"{type(part).__name__}: {each.why}"
                known = chosen.get(each.entry.id)
                chosen[each.entry.id] = replace(each, why=f"{known.why}; {why}" if known else why)
        return list(chosen.values())


def parts_of(strategy: object) -> Iterator[object]:
    """The strategies that a strategy is made of; itself, if of none."""
    if not isinstance(strategy, Hybrid):
        yield strategy
        return
    for part in strategy.parts:
        yield from parts_of(part)


def embedder_of(strategy: object) -> Embedder | None:
    found = getattr(strategy, "embedder", None)
    return found if isinstance(found, Embedder) else None


async def _search(
    memory: Memory,
    identity: MemoryIdentity,
    query: str,
    embedder: Embedder,
    k: int,
    min_score: float,
    skip: str | None,
) -> Sequence[Match]:
    assert isinstance(memory.store, SearchableStore)
    [vector] = await embed(embedder, [query], purpose="query")
    where: Filter = {"memory": memory.searched} | ({} if skip is None else {"conversation": Not(skip)})
    return await memory.store.search(identity, vector, k=k, min_score=min_score, where=where)


def _check_search(name: str, k: int, embedder: object, min_score: float) -> None:
    if k < 1:
        raise ConfigurationError(f"{name}(k={k}) shows nothing: k must be at least 1")
    if not isinstance(embedder, Embedder):
        raise ConfigurationError(
            f"{name}(embedder=...) is a {type(embedder).__name__}, which does not embed: use MockEmbedder(), "
            "OpenAIEmbedder(...) or an object with fingerprint, dimensions and embed()"
        )
    if not -1 <= min_score <= 1:
        raise ConfigurationError(f"{name}(min_score={min_score!r}) must be a cosine similarity, -1 to 1")


def _check_searchable(memory: Memory, name: str) -> None:
    if not isinstance(memory.store, SearchableStore):
        raise ConfigurationError(
            f"memory {memory.id!r}: {name} searches, and {type(memory.store).__qualname__} does not: use a "
            "store with search(), such as InMemoryStore() or SQLiteStore(path), or strategy=Window(n)"
        )
