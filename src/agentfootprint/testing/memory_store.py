"""The conformance kit of `MemoryStore`: what every adapter, also one of your own, must do.

    import pytest
    from agentfootprint.testing import ManualClock, memory_store

    @pytest.mark.parametrize("check", memory_store.CHECKS)
    async def test_my_store(check):
        async with MyStore(...) as store:
            await check(store)

    @pytest.mark.parametrize("check", memory_store.TTL_CHECKS)
    async def test_my_store_forgets_in_time(check):
        clock = ManualClock()
        async with MyStore(..., clock=clock) as store:
            await check(store, clock.advance)       # without a clock to move: asyncio.sleep

A store that searches passes `agentfootprint.testing.memory_search` too. These are the checks of the profile
`full`; `agentfootprint.testing.memory_profiles` has those of the others.

Each check wants a store that holds nothing of the identities it makes up. Needs the extra
`agentfootprint[testing]`, for hypothesis.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

from ..errors import IdentityInvalid, InputInvalid, StoreUnavailable, UnsupportedValue
from ..identity import MemoryIdentity
from ..memory.base import ComparingStore, MemoryEntry, MemoryStore
from ..state.base import CheckedStore
from .identities import FAMILY, HOSTILE_PAIRS, HOSTILE_PARTS, descends, different_identities
from .kit import NOT_JSON, VALUES, Advance, for_all, move, must_raise, same

__all__ = ["CHECKS", "TTL_CHECKS", "Check", "TTLCheck"]

Check: TypeAlias = Callable[[ComparingStore], Awaitable[None]]
TTLCheck: TypeAlias = Callable[[ComparingStore, Advance], Awaitable[None]]

_ME = MemoryIdentity("kit", "alice", "t-1")


async def _put(store: MemoryStore, entry_id: str, value: Any = None, **fields: Any) -> MemoryEntry:
    stored = await store.put(_ME, MemoryEntry(entry_id, value, **fields))
    assert stored is not None, "put without `expected` must write and return the entry"
    return stored


async def _all(store: MemoryStore, identity: MemoryIdentity, limit: int = 50) -> list[MemoryEntry]:
    found: list[MemoryEntry] = []
    cursor: str | None = None
    for _ in range(1000):
        page = await store.list(identity, limit=limit, cursor=cursor)
        assert len(page.entries) <= limit, f"a page of at most {limit} has {len(page.entries)} entries"
        found += page.entries
        cursor = page.cursor
        if cursor is None:
            return found
    raise AssertionError("paging does not end: the last page's cursor must be None")


async def _ids(store: MemoryStore, identity: MemoryIdentity = _ME, limit: int = 50) -> list[str]:
    return [entry.id for entry in await _all(store, identity, limit)]


async def entries_come_back_as_written(store: MemoryStore) -> None:
    assert await store.get(_ME, "absent") is None, "an absent entry must read as None"
    before = time.time()
    first = await _put(store, "first", {"a": 1}, metadata={"k": ["v"]})
    assert first.created is not None, "the store sets `created` when it is not given"
    assert abs(first.created - before) < 3600, "`created` is in seconds since the epoch"
    assert first.version, "the store sets `version`"
    assert (first.value, first.metadata) == ({"a": 1}, {"k": ["v"]}), "put must return the entry as stored"
    assert await store.get(_ME, "first") == first, "get must return what put returned"
    dated = await _put(store, "dated", "x", created=1234.5, expires=before + 10_000_000.25)
    assert (dated.created, dated.expires) == (1234.5, before + 10_000_000.25)
    assert await store.get(_ME, "dated") == dated
    assert {entry.id: entry for entry in await _all(store, _ME)} == {"first": first, "dated": dated}


async def values_come_back_as_written(store: MemoryStore) -> None:
    for number, value in enumerate(VALUES):
        written = await _put(store, f"value {number}", value, metadata={"value": value})
        read = await store.get(_ME, f"value {number}")
        assert read is not None, "what was written is absent"
        assert same(read.value, value), f"value {number} came back as something else"
        assert same(read.metadata, {"value": value}), (
            f"value {number} came back as something else in metadata"
        )
        assert read.version == written.version, "get must return the version that put returned"
    listed = {entry.id: entry.value for entry in await _all(store, _ME, limit=7)}
    for number, value in enumerate(VALUES):
        assert same(listed[f"value {number}"], value), f"list returned value {number} as something else"


async def stored_values_are_not_shared(store: MemoryStore) -> None:
    value, metadata = {"items": [1]}, {"tags": ["a"]}
    await _put(store, "one", value, metadata=metadata)
    await store.put_many(_ME, [MemoryEntry("many", value, metadata)])
    value["items"].append(2)
    metadata["tags"].append("b")
    for _ in range(2):
        for entry in (*await _all(store, _ME), await store.get(_ME, "one")):
            assert entry is not None
            assert entry.value == {"items": [1]}, "a caller changed what is stored without writing it"
            assert entry.metadata == {"tags": ["a"]}, "a caller changed stored metadata without writing it"
            entry.value["items"].append(3)
            entry.metadata["tags"].append("c")


async def what_is_not_json_is_refused(store: MemoryStore) -> None:
    good = MemoryEntry("good", 1)
    for value in NOT_JSON:
        why = f"a {type(value).__name__} is no JSON value"
        for entry in (MemoryEntry("bad", value), MemoryEntry("bad", 1, {"x": value})):
            await must_raise(UnsupportedValue, partial(store.put, _ME, entry), why)
            await must_raise(UnsupportedValue, partial(store.put_many, _ME, [good, entry]), why)
    assert await _ids(store) == [], "a refused entry, or another of its put_many, was written"


async def ids_obey_the_rules_of_key_parts(store: MemoryStore) -> None:
    for bad in ("a\x00", "\ud800", "é" * 129):
        why = "the id has a NUL, a lone surrogate or over 256 bytes"
        await must_raise(IdentityInvalid, partial(store.get, _ME, bad), why)
        await must_raise(IdentityInvalid, partial(store.delete, _ME, bad), why)


async def ids_never_meet(store: MemoryStore) -> None:
    ids = list(dict.fromkeys(HOSTILE_PARTS))
    await store.put_many(_ME, [MemoryEntry(entry_id, entry_id) for entry_id in ids])
    assert await _ids(store, limit=7) == ids[::-1], "two different ids were taken for one"
    for entry_id in ids:
        found = await store.get(_ME, entry_id)
        assert found is not None, f"the entry {entry_id!r} is absent"
        assert found.value == entry_id, f"the id {entry_id!r} found the entry of another"
    while ids:
        assert await store.delete(_ME, ids[-1]), f"delete did not find {ids[-1]!r}"
        ids.pop()
        assert await store.get(_ME, "never written") is None
    assert await _ids(store) == [], "delete left entries behind"


async def lists_are_newest_first(store: MemoryStore) -> None:
    for entry_id, created in (("b", 2000.0), ("d", 3000.0), ("a", 1000.0), ("c", 2000.0)):
        await _put(store, entry_id, created=created)
    assert await _ids(store) == ["d", "c", "b", "a"], "newest first; among equals the later written first"
    await store.put_many(_ME, [MemoryEntry(entry_id, 0, created=3000.0) for entry_id in ("e", "f")])
    assert await _ids(store) == ["f", "e", "d", "c", "b", "a"], "later entries of put_many count as newer"
    for limit in range(1, 8):
        assert await _ids(store, limit=limit) == ["f", "e", "d", "c", "b", "a"], f"pages of {limit} differ"
    page = await store.list(_ME, limit=6)
    assert page.cursor is None, "a page that holds the last entry has no cursor"


async def a_replaced_entry_keeps_its_place(store: MemoryStore) -> None:
    for entry_id in ("a", "b", "c"):
        await _put(store, entry_id, "old", metadata={"old": True})
    before = await store.get(_ME, "b")
    after = await _put(store, "b", "new")
    assert before is not None
    assert after.version != before.version, "every write has a version of its own"
    assert after.created == before.created, "`created` is the time of the first write unless it is given"
    assert await _ids(store) == ["c", "b", "a"], "a replaced entry keeps its place"
    read = await store.get(_ME, "b")
    assert read == after, "the replaced entry shows through"
    assert read.metadata == {}, "put replaces the whole entry"
    await _put(store, "b", "newest", created=(before.created or 0) + 1_000_000)
    assert await _ids(store) == ["b", "c", "a"], "a given `created` moves the entry"


async def paging_is_stable_while_others_write(store: MemoryStore) -> None:
    ids = [f"entry {number}" for number in range(20)]
    await store.put_many(_ME, [MemoryEntry(entry_id, 0) for entry_id in ids])
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(100):
        page = await store.list(_ME, limit=3, cursor=cursor)
        seen += [entry.id for entry in page.entries]
        cursor = page.cursor
        if cursor is None:
            break
        if len(seen) > 60:
            continue
        await asyncio.gather(
            *(store.put(_ME, MemoryEntry(f"new {len(seen)} {number}", 0)) for number in range(5)),
            store.put(_ME, MemoryEntry(ids[0], "replaced")),
            store.put(_ME, MemoryEntry(seen[0], "replaced")),
            store.delete(_ME, f"new {len(seen) - 3} 0"),
        )
    assert [entry_id for entry_id in seen if entry_id in ids] == ids[::-1], (
        "entries that were there at the first page were repeated, hidden or moved by writes during paging"
    )


async def put_many_is_all_or_nothing(store: MemoryStore) -> None:
    assert list(await store.put_many(_ME, [])) == []
    batch = [MemoryEntry(f"entry {number}", number) for number in range(20)]
    write = asyncio.create_task(_put_many(store, batch))
    sizes = set()
    while not write.done():
        sizes.add(len((await store.list(_ME, limit=50)).entries))
        await asyncio.sleep(0)
    stored = await write
    assert sizes <= {0, 20}, f"a reader saw {sizes} of the 20 entries of one put_many"
    assert [entry.id for entry in stored] == [entry.id for entry in batch]
    assert await _all(store, _ME) == stored[::-1], "put_many must return the entries as stored"
    await store.put_many(_ME, [MemoryEntry("twice", "first"), MemoryEntry("twice", "second")])
    twice = await store.get(_ME, "twice")
    assert twice is not None
    assert twice.value == "second", "of two entries with one id the later counts"


async def _put_many(store: MemoryStore, batch: list[MemoryEntry]) -> list[MemoryEntry]:
    return list(await store.put_many(_ME, batch))


async def expected_names_the_version_to_replace(store: ComparingStore) -> None:
    entry = MemoryEntry("cas", 1)
    assert await store.put(_ME, entry, expected="never") is None, "there is no version 'never' to replace"
    first = await store.put(_ME, entry, expected="")
    assert first is not None, 'expected="" writes when there is no entry'
    assert await store.put(_ME, MemoryEntry("cas", 2), expected="") is None, 'expected="" must not replace'
    second = await store.put(_ME, MemoryEntry("cas", 2), expected=first.version)
    assert second is not None, "the current version must be replaced"
    assert await store.put(_ME, MemoryEntry("cas", 3), expected=first.version) is None, (
        "an old version has won"
    )
    assert await store.get(_ME, "cas") == second, "a put that lost has written all the same"


async def versions_are_never_reused(store: MemoryStore) -> None:
    seen = set()
    for _ in range(5):
        stored = await _put(store, "reuse", "same")
        assert stored.version not in seen, "after a delete a version came back: old writers would win"
        seen.add(stored.version)
        await store.delete(_ME, "reuse")


async def one_of_many_writers_wins(store: ComparingStore) -> None:
    expected: str | None = ""
    for _ in range(3):
        entries = [MemoryEntry("race", number) for number in range(20)]
        results = await asyncio.gather(*(store.put(_ME, entry, expected=expected) for entry in entries))
        winners = [stored for stored in results if stored is not None]
        assert len(winners) == 1, f"{len(winners)} of 20 writers with one expected version have won"
        assert await store.get(_ME, "race") == winners[0], "what is stored is not what the winner wrote"
        expected = winners[0].version


async def concurrent_puts_are_all_kept(store: MemoryStore) -> None:
    ids = {f"entry {number}" for number in range(50)}
    await asyncio.gather(*(store.put(_ME, MemoryEntry(entry_id, entry_id)) for entry_id in ids))
    listed = await _ids(store, limit=7)
    assert set(listed) == ids, "entries written at the same time were lost"
    assert len(listed) == 50, "entries written at the same time were doubled"


async def none_is_not_absent(store: ComparingStore) -> None:
    await _put(store, "none", None)
    read = await store.get(_ME, "none")
    assert read is not None, "an entry whose value is None must not read as absent"
    assert read.value is None
    assert await store.put(_ME, MemoryEntry("none", 1), expected="") is None, "a value of None is an entry"
    assert await store.delete(_ME, "none"), "delete says whether there was an entry"
    assert not await store.delete(_ME, "none"), "delete says whether there was an entry"


async def bad_pages_are_refused(store: MemoryStore) -> None:
    await _put(store, "a")
    for limit, cursor in ((0, None), (-1, None), (5, "no cursor of this store"), (5, "")):
        call = partial(store.list, _ME, limit=limit, cursor=cursor)
        await must_raise(InputInvalid, call, f"list({limit=}, {cursor=})")


async def tenants_never_meet(store: ComparingStore) -> None:
    async def meet(pair: tuple[MemoryIdentity, MemoryIdentity]) -> None:
        me, them = pair
        for identity in pair:
            await store.forget(identity)
        mine = await store.put_many(me, [MemoryEntry("same", "mine"), MemoryEntry("only mine", "mine")])

        async def untouched(what: str, limit: int = 50) -> None:
            # Nothing below writes for me again: what was once taken or changed shows in any later look.
            assert await _all(store, me, limit) == list(mine)[::-1], f"{them} {what} what {me} wrote"

        assert await store.get(them, "same") is None, f"{them} reads what {me} wrote"
        assert await _all(store, them) == [], f"{them} lists what {me} wrote"
        assert not await store.delete(them, "only mine"), f"{them} deleted what {me} wrote"
        assert await store.forget(them) == 0, f"{them} counted what {me} wrote"
        stolen = await store.put(them, MemoryEntry("same", "theirs"), expected=mine[0].version)
        assert stolen is None, f"{them} replaced an entry by the version of {me}'s"
        assert await store.put(them, MemoryEntry("same", "theirs"), expected="") is not None, (
            f"an entry of {me} kept {them} from writing one"
        )
        await store.put_many(them, [MemoryEntry("only mine", "theirs"), MemoryEntry("same", "theirs")])
        await untouched("deleted, forgot or overwrote", limit=1)
        assert {entry.value for entry in await _all(store, them, limit=1)} == {"theirs"}
        assert await store.delete(them, "same")
        assert await store.forget(them) == 1, f"{them} counted entries that are not its own"
        await untouched("deleted or forgot")
        assert await store.forget(me) == 2, f"{me} counted entries that are not its own"

    await for_all(different_identities(), meet, known=HOSTILE_PAIRS)


async def forget_reaches_exactly_whom_it_names(store: MemoryStore) -> None:
    held: set[MemoryIdentity] = set()
    for descendants in (False, True):
        for target in FAMILY:
            for identity in set(FAMILY) - held:
                await store.put(identity, MemoryEntry("family", "here"))
                held.add(identity)
            reached = {each for each in held if (descends(each, target) if descendants else each == target)}
            count = await store.forget(target, descendants=descendants)
            # Whoever was reached beside them is missing when their own turn comes, and in the end.
            assert count == len(reached), f"forget({target}, {descendants=}) says {count}, not {len(reached)}"
            spared = {each for each in reached if await store.get(each, "family")}
            assert not spared, f"forget({target}, {descendants=}) spared {spared}"
            held -= reached
        left = {each for each in held if await store.get(each, "family")}
        assert left == held, f"forget also reached {held - left}"
    for identity in held:
        await store.forget(identity)


async def a_closed_store_refuses(store: MemoryStore) -> None:
    await _put(store, "closed")
    await store.aclose()
    await store.aclose()
    entry = MemoryEntry("closed", 1)
    for call in (
        partial(store.get, _ME, "closed"),
        partial(store.put, _ME, entry),
        partial(store.put_many, _ME, [entry]),
        partial(store.list, _ME),
        partial(store.delete, _ME, "closed"),
        partial(store.forget, _ME),
    ):
        await must_raise(StoreUnavailable, call, f"{call.func.__name__} on a closed store")
    if isinstance(store, CheckedStore):
        await must_raise(StoreUnavailable, store.check, "check on a closed store")


async def expired_entries_are_absent(store: ComparingStore, advance: Advance) -> None:
    start = (await _put(store, "kept", created=None)).created
    assert start is not None
    for number in range(5):
        await _put(store, f"short {number}", expires=start + 1.0)
    short = await _put(store, "short", "old", expires=start + 1.0)
    await _put(store, "long", expires=start + 1000.0)
    await move(advance, 1.1)
    assert await store.get(_ME, "short") is None, "an expired entry must read as absent"
    assert await _ids(store) == ["long", "kept"], "an expired entry must not be listed"
    page = await store.list(_ME, limit=2)
    assert [entry.id for entry in page.entries] == ["long", "kept"], "expired entries must not fill a page"
    assert page.cursor is None, "a cursor promises a page that is not there"
    assert not await store.delete(_ME, "short 0"), "an expired entry counts as absent"
    assert await store.put(_ME, MemoryEntry("short", 1), expected=short.version) is None, (
        "an expired version won"
    )
    again = await store.put(_ME, MemoryEntry("short", "new"), expected="")
    assert again is not None, 'expected="" writes over an expired entry'
    assert again.created is not None
    assert again.created > start, "an entry written over an expired one is a new one"
    assert again.version != short.version
    assert await _ids(store) == ["short", "long", "kept"]
    assert await store.forget(_ME) == 3, "forget counts what was there, not what had expired"


CHECKS: tuple[Check, ...] = (
    entries_come_back_as_written,
    values_come_back_as_written,
    stored_values_are_not_shared,
    what_is_not_json_is_refused,
    ids_obey_the_rules_of_key_parts,
    ids_never_meet,
    lists_are_newest_first,
    a_replaced_entry_keeps_its_place,
    paging_is_stable_while_others_write,
    put_many_is_all_or_nothing,
    expected_names_the_version_to_replace,
    versions_are_never_reused,
    one_of_many_writers_wins,
    concurrent_puts_are_all_kept,
    none_is_not_absent,
    bad_pages_are_refused,
    tenants_never_meet,
    forget_reaches_exactly_whom_it_names,
    a_closed_store_refuses,
)
"""Independent checks: each is awaited with a store and raises AssertionError saying what is wrong."""

TTL_CHECKS: tuple[TTLCheck, ...] = (expired_entries_are_absent,)
"""Checks that also take a callable which moves the store's time on."""
