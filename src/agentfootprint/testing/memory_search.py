"""The conformance kit of `SearchableStore`: what every store that searches must do, beside `memory_store`.

    import pytest
    from agentfootprint.testing import ManualClock, memory_search

    @pytest.mark.parametrize("check", memory_search.CHECKS)
    async def test_my_store_searches(check):
        async with MyStore(...) as store:
            await check(store)

    @pytest.mark.parametrize("check", memory_search.TTL_CHECKS)
    async def test_my_store_finds_nothing_that_expired(check):
        clock = ManualClock()
        async with MyStore(..., clock=clock) as store:
            await check(store, clock.advance)       # without a clock to move: asyncio.sleep

Each check wants a store that holds nothing of the identities it makes up. Needs the extra
`agentfootprint[testing]`, for hypothesis.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias, cast

from ..embedders.base import Embedding
from ..errors import EmbedderMismatch, InputInvalid
from ..identity import MemoryIdentity
from ..memory.base import ComparingStore, Filter, Match, MemoryEntry, Not, SearchableStore
from .identities import HOSTILE_PAIRS, HOSTILE_PARTS, different_identities
from .kit import Advance, for_all, move, must_raise

__all__ = ["CHECKS", "TTL_CHECKS", "Check", "TTLCheck"]


class ComparingSearchableStore(SearchableStore, ComparingStore, Protocol):
    """What stores of profile `full` that search are."""


Check: TypeAlias = Callable[[ComparingSearchableStore], Awaitable[None]]
TTLCheck: TypeAlias = Callable[[SearchableStore, Advance], Awaitable[None]]

_ME = MemoryIdentity("kit", "alice", "t-1")


async def _put(store: SearchableStore, entry_id: str, value: Any = None, **fields: Any) -> MemoryEntry:
    stored = await store.put(_ME, MemoryEntry(entry_id, value, **fields))
    assert stored is not None, "put without `expected` must write and return the entry"
    return stored


async def _listed(store: SearchableStore, identity: MemoryIdentity = _ME) -> list[MemoryEntry]:
    return list((await store.list(identity, limit=1000)).entries)


_HOSTILE_NAMES = (
    *(
        "$ne",
        "$eq",
        "$or",
        "$and",
        "$where",
        "{}",
        '{"$gt": ""}',
        "a.b",
        "a[0]",
        "$.a",
        "$[*]",
        "'",
        "''",
        '"',
    ),
    *(
        "' OR '1'='1",
        "x' OR 1=1 --",
        "') OR true --",
        "a} => [KNN 9 @v $q]",
        "@kind:{*}",
        "-@kind",
        "a|b",
        "(a)",
    ),
    *(
        "?",
        "%s",
        "%(id)s",
        ":id",
        "$1",
        "?1",
        "#id",
        "attribute_exists(pk)",
        "NULL",
        "true",
        "metadata",
        "id",
    ),
    *("a\x00b", "\u2028", "\\u0000", "line\nbreak"),
)
"""Keys and values of metadata that some query language somewhere reads as its own words."""


def _towards(*numbers: float, name: str = "kit") -> Embedding:
    """A vector of eight numbers, the first ones given."""
    return Embedding.of([*numbers, *[0.0] * (8 - len(numbers))], f"{name}@8")


def _found(matches: Sequence[Match]) -> list[str]:
    return [match.entry.id for match in matches]


async def the_most_similar_come_first(store: SearchableStore) -> None:
    assert list(await store.search(_ME, _towards(1))) == [], "nothing is found where nothing is"
    for entry_id, vector in (("east", (1, 0)), ("north", (0, 3)), ("north-east", (2, 2)), ("west", (-1, 0))):
        stored = await _put(store, entry_id, entry_id, embedding=_towards(*vector))
        assert stored.embedding == _towards(*vector), "put returns the entry as stored, embedding included"
    await _put(store, "nowhere", "without an embedding")
    matches = await store.search(_ME, _towards(5, 0))
    assert _found(matches) == ["east", "north-east", "north", "west"]
    for match, score in zip(matches, (1.0, 0.5**0.5, 0.0, -1.0), strict=True):
        assert abs(match.score - score) < 1e-5, f"the score of {match.entry.id} is the cosine: {score}"
        assert match.entry == await store.get(_ME, match.entry.id), "search returns what get returns"
    assert _found(await store.search(_ME, _towards(5, 0), k=2)) == ["east", "north-east"]
    assert _found(await store.search(_ME, _towards(5, 0), min_score=0.5)) == ["east", "north-east"]
    assert list(await store.search(_ME, _towards(0, 0, 1), min_score=0.5)) == [], "nothing rather than weak"
    listed = {entry.id: entry.embedding for entry in await _listed(store)}
    assert listed["north"] == _towards(0, 3), "list returns embeddings too"
    assert listed["nowhere"] is None


async def among_equals_the_newest_comes_first(store: SearchableStore) -> None:
    for entry_id, created in (("b", 2000.0), ("c", 3000.0), ("a", 1000.0)):
        await _put(store, entry_id, created=created, embedding=_towards(1, 1))
    assert _found(await store.search(_ME, _towards(1, 1))) == ["c", "b", "a"]
    assert _found(await store.search(_ME, _towards(1, 1), k=1)) == ["c"]


async def search_finds_what_is_there_now(store: SearchableStore) -> None:
    await store.put_many(
        _ME, [MemoryEntry(name, 1, embedding=_towards(1, number)) for number, name in enumerate("abcd")]
    )
    assert _found(await store.search(_ME, _towards(1))) == ["a", "b", "c", "d"]
    await _put(store, "a", 2)
    assert _found(await store.search(_ME, _towards(1))) == ["b", "c", "d"], (
        "a replaced entry lost its embedding"
    )
    await _put(store, "b", 2, embedding=_towards(1, 9))
    assert _found(await store.search(_ME, _towards(1))) == ["c", "d", "b"], "a new embedding replaces the old"
    await store.delete(_ME, "c")
    assert _found(await store.search(_ME, _towards(1))) == ["d", "b"], "a deleted entry is not found"
    await _put(store, "e", embedding=_towards(3))
    assert _found(await store.search(_ME, _towards(1), k=2)) == ["e", "d"]
    await store.forget(_ME)
    assert list(await store.search(_ME, _towards(1))) == [], "what was forgotten is found"


async def a_put_that_lost_changes_no_embedding(store: ComparingSearchableStore) -> None:
    before = await _put(store, "d", embedding=_towards(3))
    assert await store.put(_ME, MemoryEntry("d", 1, embedding=_towards(1)), expected="not this") is None
    assert await store.get(_ME, "d") == before, "a put that lost has changed the embedding"


async def filters_say_what_the_metadata_has(store: SearchableStore) -> None:
    metadatas: list[dict[str, Any]] = [
        {"kind": "a", "n": 1, "on": True, "none": None},
        {"kind": "b", "n": 2.5, "on": False},
        {"kind": "a", "n": 1.0, "list": ["a"], "deep": {"kind": "b"}},
        {},
    ]
    for number, metadata in enumerate(metadatas):
        await _put(store, str(number), metadata=metadata, embedding=_towards(1, number))
    cases: list[tuple[Filter, str]] = [
        ({}, "0123"),
        ({"kind": "a"}, "02"),
        ({"kind": "a", "n": 1}, "02"),
        ({"n": 2.5}, "1"),
        ({"n": True}, ""),
        ({"on": True}, "0"),
        ({"on": 1}, ""),
        ({"none": None}, "0"),
        ({"list": "a"}, ""),
        ({"deep": "b"}, ""),
        ({"kind": Not("a")}, "13"),
        ({"kind": Not("a"), "n": Not(2.5)}, "3"),
        ({"none": Not(None)}, "123"),
        ({"absent": "a"}, ""),
        ({"kind": "A"}, ""),
    ]
    for where, ids in cases:
        found = _found(await store.search(_ME, _towards(1), where=where))
        assert "".join(found) == ids, f"where={where} found {found}"
    assert _found(await store.search(_ME, _towards(1), k=1, where={"n": 2.5})) == ["1"], "k counts what fits"


async def filters_are_never_code(store: SearchableStore) -> None:
    names = list(dict.fromkeys([*HOSTILE_PARTS, *_HOSTILE_NAMES]))
    entries = [
        MemoryEntry(str(number), 0, {name: name}, embedding=_towards(1)) for number, name in enumerate(names)
    ]
    for at in range(0, len(entries), 25):
        await store.put_many(_ME, entries[at : at + 25])
    for number, name in enumerate(names):
        found = _found(await store.search(_ME, _towards(1), k=len(names), where={name: name}))
        assert found == [str(number)], f"the filter {name!r} found {found}"
        others = await store.search(_ME, _towards(1), k=len(names), where={name: Not(name)})
        assert len(others) == len(names) - 1, f"the filter Not({name!r}) found {len(others)} entries"
    assert len(await _listed(store)) == len(names)


async def bad_searches_are_refused(store: SearchableStore) -> None:
    await _put(store, "a", embedding=_towards(1))
    bad: list[Any] = [{"k": 0}, {"k": -1}, {"where": {"a": ["b"]}}, {"where": {"a": float("nan")}}]
    bad += [{"where": {1: "a"}}, {"where": {"a": Not(cast(Any, ("b",)))}}]
    for options in bad:
        await must_raise(
            InputInvalid, partial(store.search, _ME, _towards(1), **options), f"search({options})"
        )


async def embedders_are_not_mixed(store: SearchableStore) -> None:
    await _put(store, "mine", embedding=_towards(1))
    other, wider = _towards(1, name="other"), Embedding.of([1.0] * 9, "kit@9")
    for embedding in (other, wider):
        entry = MemoryEntry("theirs", 1, embedding=embedding)
        why = f"a vector of {embedding.fingerprint} among those of kit@8"
        await must_raise(EmbedderMismatch, partial(store.put, _ME, entry), why)
        await must_raise(EmbedderMismatch, partial(store.put_many, _ME, [MemoryEntry("x", 1), entry]), why)
        await must_raise(EmbedderMismatch, partial(store.search, _ME, embedding), why)
    assert [entry.id for entry in await _listed(store)] == ["mine"], "what was refused was written"
    two = [MemoryEntry("1", 1, embedding=_towards(1)), MemoryEntry("2", 1, embedding=other)]
    fresh = MemoryIdentity("kit", "bob")
    await must_raise(EmbedderMismatch, partial(store.put_many, fresh, two), "two embedders in one put_many")
    assert await _listed(store, fresh) == [], "what was refused was written"
    await store.put(fresh, MemoryEntry("theirs", 1, embedding=other))
    assert _found(await store.search(fresh, other)) == ["theirs"], "another identity has another embedder"
    await store.forget(_ME)
    await _put(store, "mine", embedding=other)
    assert _found(await store.search(_ME, other)) == ["mine"], "after forget another embedder may begin"


async def after_forget_vectors_may_be_wider(store: SearchableStore) -> None:
    await _put(store, "mine", embedding=_towards(1))
    await store.forget(MemoryIdentity("kit"), descendants=True)
    wider = Embedding.of([1.0] * 9, "kit@9")
    await _put(store, "mine", embedding=wider)
    assert _found(await store.search(_ME, wider)) == ["mine"]


async def one_embedder_wins_a_race(store: SearchableStore) -> None:
    embeddings = [_towards(1, name=f"embedder-{number % 2}") for number in range(20)]
    entries = [MemoryEntry(str(number), 1, embedding=each) for number, each in enumerate(embeddings)]
    results = await asyncio.gather(*(store.put(_ME, entry) for entry in entries), return_exceptions=True)
    for result in results:
        assert isinstance(result, (MemoryEntry, EmbedderMismatch)), f"a put raised {result!r}"
    kinds = {entry.embedding.fingerprint for entry in await _listed(store) if entry.embedding}
    assert len(kinds) == 1, f"vectors of {kinds} were mixed"


async def searches_of_tenants_never_meet(store: SearchableStore) -> None:
    async def meet(pair: tuple[MemoryIdentity, MemoryIdentity]) -> None:
        me, them = pair
        for identity in pair:
            await store.forget(identity)
        await store.put(me, MemoryEntry("mine", "mine", {"of": "me"}, embedding=_towards(1)))
        for where in (None, {"of": "me"}, {"of": Not("them")}):
            found = _found(await store.search(them, _towards(1), where=where))
            assert found == [], f"{them} found what {me} wrote"
        foreign = _towards(1, name="foreign")
        assert list(await store.search(them, foreign)) == [], f"{them} is bound by the embedder of {me}"
        await store.put(them, MemoryEntry("theirs", "theirs", embedding=_towards(1)))
        assert _found(await store.search(me, _towards(1))) == ["mine"], f"{me} found what {them} wrote"
        await store.forget(them)
        assert _found(await store.search(me, _towards(1))) == ["mine"], f"{them} forgot what {me} wrote"
        await must_raise(EmbedderMismatch, partial(store.search, me, foreign), f"{them} freed {me}'s index")
        await store.forget(me)

    await for_all(different_identities(), meet, known=HOSTILE_PAIRS)


async def expired_entries_are_not_found(store: SearchableStore, advance: Advance) -> None:
    start = (await _put(store, "kept", embedding=_towards(1, 1))).created
    assert start is not None
    await _put(store, "short", expires=start + 1.0, embedding=_towards(1))
    assert _found(await store.search(_ME, _towards(1))) == ["short", "kept"]
    await move(advance, 1.1)
    assert _found(await store.search(_ME, _towards(1), k=1)) == ["kept"]
    await _put(store, "short", embedding=_towards(1, 2))
    assert _found(await store.search(_ME, _towards(1))) == ["kept", "short"]


CHECKS: tuple[Check, ...] = (
    the_most_similar_come_first,
    among_equals_the_newest_comes_first,
    search_finds_what_is_there_now,
    a_put_that_lost_changes_no_embedding,
    filters_say_what_the_metadata_has,
    filters_are_never_code,
    bad_searches_are_refused,
    embedders_are_not_mixed,
    after_forget_vectors_may_be_wider,
    one_embedder_wins_a_race,
    searches_of_tenants_never_meet,
)
"""Independent checks: each is awaited with a store and raises AssertionError saying what is wrong."""

TTL_CHECKS: tuple[TTLCheck, ...] = (expired_entries_are_not_found,)
"""Checks that also take a callable which moves the store's time on."""
