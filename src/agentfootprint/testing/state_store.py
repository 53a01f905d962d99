"""The conformance kit of `StateStore`: what every adapter, also one of your own, must do.

    import pytest
    from agentfootprint.testing import ManualClock, state_store

    @pytest.mark.parametrize("check", state_store.CHECKS)
    async def test_my_state(check):
        async with MyState(...) as store:
            await check(store)

    @pytest.mark.parametrize("check", state_store.TTL_CHECKS)
    async def test_my_state_forgets_in_time(check):
        clock = ManualClock()
        async with MyState(..., clock=clock) as store:
            await check(store, clock.advance)       # without a clock to move: asyncio.sleep

Each check wants a store that holds nothing of the identities it makes up. Needs the extra
`agentfootprint[testing]`, for hypothesis.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from ..errors import StoreUnavailable, UnsupportedValue
from ..state.base import CheckedStore, StateKey, StateStore
from .identities import different_keys
from .kit import NOT_JSON, VALUES, Advance, for_all, move, must_raise, same
from .state_tenancy import (
    ME,
    fill,
    forget_reaches_exactly_whom_it_names,
    guessed_keys_reach_nothing,
    key_of,
    set_record,
    tenants_never_meet,
    the_operators_own_is_nobodys,
    view,
)

__all__ = [
    "CHECKS",
    "TTL_CHECKS",
    "Check",
    "TTLCheck",
    "forget_reaches_exactly_whom_it_names",
    "guessed_keys_reach_nothing",
    "tenants_never_meet",
    "the_operators_own_is_nobodys",
]

Check: TypeAlias = Callable[[StateStore], Awaitable[None]]
TTLCheck: TypeAlias = Callable[[StateStore, Advance], Awaitable[None]]


async def values_come_back_as_written(store: StateStore) -> None:
    for number, value in enumerate(VALUES):
        key = key_of(f"value {number}")
        written = await set_record(store, key, None, value)
        assert same(written.value, value), "compare_and_set must return the value it wrote"
        read = await store.get(key)
        assert read is not None, "what was written is absent"
        assert same(read.value, value), f"value {number} came back as something else"
        assert read.version == written.version, "get must return the version that compare_and_set returned"
        await store.append(key, value)
        assert same([entry.value for entry in await store.read(key)], [value]), "a log changed a value"


async def stored_values_are_not_shared(store: StateStore) -> None:
    key, value = key_of("shared"), {"items": [1]}
    written = await set_record(store, key, None, value)
    await store.append(key, value)
    value["items"].append(2)
    written.value["items"].append(3)
    for _ in range(2):
        read = await store.get(key)
        assert read is not None
        assert read.value == {"items": [1]}, "a caller changed what is stored without writing it"
        read.value["items"].append(4)
        entries = await store.read(key)
        assert entries[0].value == {"items": [1]}, "a caller changed a log entry without writing it"
        entries[0].value["items"].append(5)


async def what_is_not_json_is_refused(store: StateStore) -> None:
    key = key_of("not json")
    for value in NOT_JSON:
        why = f"a {type(value).__name__} is no JSON value"
        await must_raise(UnsupportedValue, partial(store.compare_and_set, key, None, value), why)
        await must_raise(UnsupportedValue, partial(store.append, key, value), why)
    assert await store.get(key) is None, "a refused value was written"
    assert not await store.read(key), "a refused value was appended"


async def none_is_not_absent(store: StateStore) -> None:
    key = key_of("none")
    assert await store.get(key) is None, "an absent record must read as None"
    await set_record(store, key, None, None)
    read = await store.get(key)
    assert read is not None, "a record whose value is None must not read as absent"
    assert read.value is None
    lost = await store.compare_and_set(key, None, "again")
    assert lost is None, "expected=None means absent, not a value of None"


async def compare_and_set_needs_the_current_version(store: StateStore) -> None:
    key = key_of("versions")
    assert await store.compare_and_set(key, "never", 1) is None, "there is no version 'never' to replace"
    first = await set_record(store, key, None, 1)
    assert await store.compare_and_set(key, None, 2) is None, "expected=None must not replace a record"
    second = await set_record(store, key, first.version, 2)
    assert second.version != first.version, "every write has a version of its own"
    assert await store.compare_and_set(key, first.version, 3) is None, (
        "an old version must not replace a newer"
    )
    read = await store.get(key)
    assert read == second, "a compare_and_set that lost has written all the same"


async def versions_are_never_reused(store: StateStore) -> None:
    key, seen = key_of("reuse"), set()
    for _ in range(5):
        record = await set_record(store, key, None, "same")
        assert record.version not in seen, "after a delete a version came back: old writers would win"
        seen.add(record.version)
        await store.delete(key)


async def one_of_many_writers_wins(store: StateStore) -> None:
    key = key_of("race")
    current = None
    for _ in range(3):
        results = await asyncio.gather(*(store.compare_and_set(key, current, number) for number in range(20)))
        winners = [record for record in results if record is not None]
        assert len(winners) == 1, f"{len(winners)} of 20 writers with one expected version have won"
        assert await store.get(key) == winners[0], "what is stored is not what the winner wrote"
        current = winners[0].version


async def retried_updates_are_not_lost(store: StateStore) -> None:
    key = key_of("updates")
    await set_record(store, key, None, 0)

    async def add_one() -> None:
        while True:
            record = await store.get(key)
            assert record is not None
            if await store.compare_and_set(key, record.version, record.value + 1):
                return

    await asyncio.gather(*(add_one() for _ in range(10)))
    total = await store.get(key)
    assert total is not None
    assert total.value == 10, "an update that compare_and_set confirmed was overwritten"


async def counters_count(store: StateStore) -> None:
    key = key_of("counter")
    assert await store.increment(key, 0) == 0, "an absent counter counts as 0"
    assert await store.increment(key) == 1
    assert await store.increment(key, 41) == 42
    assert await store.increment(key, -2) == 40
    assert await store.increment(key, 3, limit=42) is None, "a total above the limit must be refused"
    assert await store.increment(key, 2, limit=42) == 42, (
        "a total at the limit is allowed; a refusal adds nothing"
    )
    large = 5_000_000_000_000_000_000
    assert await store.increment(key, large) == large + 42, "totals are exact to 64 bits"
    await must_raise(UnsupportedValue, partial(store.increment, key, large), "the total is beyond 64 bits")
    assert await store.increment(key, 0) == large + 42, "a refused increment was added"


async def limits_hold_under_concurrency(store: StateStore) -> None:
    key = key_of("limit")
    results = await asyncio.gather(*(store.increment(key, limit=7) for _ in range(20)))
    granted = sorted(total for total in results if total is not None)
    assert granted == list(range(1, 8)), f"20 increments up to a limit of 7 returned {granted}"


async def logs_keep_order(store: StateStore) -> None:
    key = key_of("log")
    assert list(await store.read(key)) == [], "an absent log reads as empty"
    sequences = [await store.append(key, number) for number in range(10)]
    assert sequences == sorted(set(sequences)), (
        "each append to a key has a greater sequence than the one before"
    )
    assert sequences[0] > 0, "after=0 reads from the start: sequences begin above 0"
    entries = await store.read(key)
    assert [entry.sequence for entry in entries] == sequences, (
        "read must return the sequences append returned"
    )
    assert [entry.value for entry in entries] == list(range(10)), "a log must be read oldest first"
    later = await store.read(key, after=sequences[6])
    assert [entry.value for entry in later] == [7, 8, 9], "`after` must leave out that entry and those before"
    some = await store.read(key, after=sequences[1], limit=3)
    assert [entry.value for entry in some] == [2, 3, 4], "`limit` must keep the oldest"
    assert not await store.read(key, after=sequences[-1])


async def concurrent_appends_are_all_kept(store: StateStore) -> None:
    key = key_of("appends")
    sequences = await asyncio.gather(*(store.append(key, number) for number in range(50)))
    entries = await store.read(key)
    assert len(set(sequences)) == 50, "two appends returned one sequence"
    assert [entry.sequence for entry in entries] == sorted(sequences), (
        "a log must be read in order, and whole"
    )
    written = dict(zip(sequences, range(50), strict=True))
    assert {entry.sequence: entry.value for entry in entries} == written, "an append has another's sequence"


async def record_counter_and_log_share_a_key(store: StateStore) -> None:
    key, other = key_of("three"), key_of("three more")
    for each in (key, other):
        await store.increment(each, 3)
        await store.append(each, "entry")
        assert await store.get(each) is None, "a counter or a log must not show as a record"
        await set_record(store, each, None, "record")
    assert await view(store, key) == ("record", 3, ["entry"])
    await store.delete(key)
    assert await view(store, key) == (None, 0, []), "delete removes a key's record, counter and log"
    assert await view(store, other) == ("record", 3, ["entry"]), "delete touched another key"
    await store.delete(key_of("never written"))


async def keys_never_meet(store: StateStore) -> None:
    async def meet(pair: tuple[tuple[str, str], tuple[str, str]]) -> None:
        mine, theirs = (StateKey(ME, kind, name) for kind, name in pair)
        await store.delete(mine)
        await store.delete(theirs)
        await fill(store, mine, "mine", 5)
        assert await view(store, theirs) == (None, 0, []), f"{pair[1]} shows what {pair[0]} holds"
        await fill(store, theirs, "theirs", 1)
        await store.delete(theirs)
        assert await view(store, mine) == ("mine", 5, ["mine"]), f"{pair[1]} changed what {pair[0]} holds"
        await store.delete(mine)

    await for_all(different_keys(), meet, examples=25)


async def forget_counts_keys(store: StateStore) -> None:
    assert await store.forget(ME) == 0, "there was nothing to forget"
    for name in ("one", "two"):
        await fill(store, key_of(name), "mine", 1)
        await store.append(key_of(name), "second entry")
    assert await store.forget(ME) == 2, "forget counts keys, however much each of them holds"
    assert await store.get(key_of("one")) is None


async def a_closed_store_refuses(store: StateStore) -> None:
    key = key_of("closed")
    await set_record(store, key, None, 1)
    await store.aclose()
    await store.aclose()
    for call in (
        partial(store.get, key),
        partial(store.compare_and_set, key, None, 1),
        partial(store.increment, key),
        partial(store.append, key, 1),
        partial(store.read, key),
        partial(store.delete, key),
        partial(store.forget, ME),
    ):
        await must_raise(StoreUnavailable, call, f"{call.func.__name__} on a closed store")
    if isinstance(store, CheckedStore):
        await must_raise(StoreUnavailable, store.check, "check on a closed store")


async def expired_records_are_absent(store: StateStore, advance: Advance) -> None:
    key = key_of("record ttl")
    first = await set_record(store, key, None, "short", ttl=1.0)
    kept = await set_record(store, key_of("kept"), None, "long", ttl=1000.0)
    assert await store.get(key) == first, "a record is there until its ttl is over"
    await move(advance, 1.1)
    assert await store.get(key) is None, "an expired record must read as absent"
    assert await store.compare_and_set(key, first.version, 1) is None, "an expired version is no version"
    second = await set_record(store, key, None, "again")
    assert second.version != first.version, "the version of an expired record came back"
    await move(advance, 1.1)
    assert await store.get(key) == second, "without ttl a record stays, whatever the one before had"
    assert await store.get(key_of("kept")) == kept


async def a_write_renews_the_ttl(store: StateStore, advance: Advance) -> None:
    key = key_of("renewed")
    record = await set_record(store, key, None, 1, ttl=1.0)
    await move(advance, 0.7)
    record = await set_record(store, key, record.version, 2, ttl=1.0)
    await move(advance, 0.7)
    assert await store.get(key) == record, "a record lives for the ttl of its last write"


async def expired_counters_start_again(store: StateStore, advance: Advance) -> None:
    key = key_of("counter ttl")
    assert await store.increment(key, 5, ttl=1.0, limit=7) == 5
    await move(advance, 0.7)
    assert await store.increment(key, 2, ttl=1.0, limit=7) == 7
    await move(advance, 0.7)
    assert await store.increment(key, 1, ttl=1.0, limit=7) == 1, (
        "a counter's ttl counts from its first increment"
    )


async def expired_log_entries_are_absent(store: StateStore, advance: Advance) -> None:
    key = key_of("log ttl")
    await store.append(key, "short", ttl=1.0)
    await store.append(key, "long")
    last = await store.append(key, "short too", ttl=1.0)
    await move(advance, 1.1)
    assert [entry.value for entry in await store.read(key, limit=2)] == ["long"], "each entry has its own ttl"
    gone = key_of("gone")
    for _ in range(30):  # enough for a store that collects what expired to do so
        last = await store.append(gone, "short", ttl=1.0)
    await move(advance, 1.1)
    assert not await store.read(gone)
    assert await store.append(gone, "next") > last, "a log goes on counting when all its entries expired"


async def the_expired_is_not_counted(store: StateStore, advance: Advance) -> None:
    await set_record(store, key_of("dead record"), None, 1, ttl=1.0)
    await store.increment(key_of("dead counter"), ttl=1.0)
    await store.append(key_of("dead log"), 1, ttl=1.0)
    await set_record(store, key_of("alive"), None, 1)
    await move(advance, 1.1)
    assert await store.forget(ME) == 1, "forget counts what was there, not what had expired"


CHECKS: tuple[Check, ...] = (
    values_come_back_as_written,
    stored_values_are_not_shared,
    what_is_not_json_is_refused,
    none_is_not_absent,
    compare_and_set_needs_the_current_version,
    versions_are_never_reused,
    one_of_many_writers_wins,
    retried_updates_are_not_lost,
    counters_count,
    limits_hold_under_concurrency,
    logs_keep_order,
    concurrent_appends_are_all_kept,
    record_counter_and_log_share_a_key,
    keys_never_meet,
    tenants_never_meet,
    guessed_keys_reach_nothing,
    the_operators_own_is_nobodys,
    forget_reaches_exactly_whom_it_names,
    forget_counts_keys,
    a_closed_store_refuses,
)
"""Independent checks: each is awaited with a store and raises AssertionError saying what is wrong."""

TTL_CHECKS: tuple[TTLCheck, ...] = (
    expired_records_are_absent,
    a_write_renews_the_ttl,
    expired_counters_start_again,
    expired_log_entries_are_absent,
    the_expired_is_not_counted,
)
"""Checks that also take a callable which moves the store's time on."""
