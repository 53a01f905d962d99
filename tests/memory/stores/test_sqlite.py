from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from agentfootprint.errors import StoreCorrupt, StoreUnavailable
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import MemoryEntry, MemoryStore, SQLiteStore
from agentfootprint.testing import ManualClock

ME = MemoryIdentity("acme", "alice")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.db"


def test_it_is_a_durable_memory_store(path: Path) -> None:
    store = SQLiteStore(path)
    assert isinstance(store, MemoryStore)
    assert store.durable


async def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    async with SQLiteStore(path) as store:
        stored = await store.put_many(ME, [MemoryEntry(str(number), number) for number in range(5)])
    async with SQLiteStore(path) as store:
        assert list((await store.list(ME)).entries) == stored[::-1]


async def test_a_cursor_is_good_for_another_process(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.put_many(ME, [MemoryEntry(str(number), number) for number in range(5)])
        page = await store.list(ME, limit=2)
    async with SQLiteStore(path) as store:
        rest = await store.list(ME, cursor=page.cursor)
    assert [entry.value for entry in (*page.entries, *rest.entries)] == [4, 3, 2, 1, 0]


async def test_listing_reads_an_index_and_sorts_nothing(path: Path) -> None:
    from agentfootprint.memory.stores import sqlite

    async with SQLiteStore(path) as store:
        for statement, values in ((sqlite._LIST, ("a", 0, 9)), (sqlite._LIST_BEFORE, ("a", 0, 0, 0, 9))):
            plan = await store._file.read(
                lambda db, sql=statement, values=values: db.execute(
                    f"EXPLAIN QUERY PLAN {sql}", values
                ).fetchall()  # type: ignore[misc]
            )
            assert "USING INDEX agentfootprint_memory_newest" in plan[0][3]
            assert all("USING" in each[3] and "B-TREE" not in each[3] for each in plan)


async def test_what_expired_is_collected_by_later_writes_also_of_others(path: Path) -> None:
    clock = ManualClock()
    async with SQLiteStore(path, clock=clock) as store:
        await store.put_many(ME, [MemoryEntry(str(n), n, expires=clock.now + 1) for n in range(100)])
        clock.advance(2)
        for number in range(6):
            await store.put(MemoryIdentity("other"), MemoryEntry(f"kept {number}", 1))
        count = "SELECT count(*) FROM agentfootprint_memory"
        assert await store._file.read(lambda db: db.execute(count).fetchone()) == (6,)


async def test_put_many_that_fails_midway_leaves_nothing(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.put(ME, MemoryEntry("before", 1))
        await store._file.read(lambda db: db.execute("PRAGMA max_page_count = 30").fetchone())
        entries = [MemoryEntry(str(number), "x" * 10_000) for number in range(30)]
        with pytest.raises(StoreUnavailable, match="no space left"):
            await store.put_many(ME, entries)
        assert [entry.id for entry in (await store.list(ME)).entries] == ["before"]


async def test_a_row_changed_by_others_is_corrupt_and_the_rest_reads(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.put_many(ME, [MemoryEntry("bad", 1), MemoryEntry("good", 2)])
        with sqlite3.connect(path) as raw:
            raw.execute("UPDATE agentfootprint_memory SET value = '{' WHERE id = 'bad'")
        raw.close()
        with pytest.raises(StoreCorrupt, match="row 1 of agentfootprint_memory"):
            await store.get(ME, "bad")
        good = await store.get(ME, "good")
        assert good is not None
        assert good.value == 2


async def test_a_locked_file_is_unavailable_for_writers(path: Path) -> None:
    async with SQLiteStore(path, timeout=0.05) as store:
        await store.put(ME, MemoryEntry("one", 1))
        locker = sqlite3.connect(path, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another writer"):
            await store.put(ME, MemoryEntry("two", 2))
        assert [entry.id for entry in (await store.list(ME)).entries] == ["one"]
        locker.close()
        await store.put(ME, MemoryEntry("two", 2))


def test_two_stores_on_one_file_race_fairly(path: Path) -> None:
    async def race() -> list[MemoryEntry | None]:
        async with SQLiteStore(path) as first, SQLiteStore(path) as second:
            entries = [MemoryEntry("one", number) for number in range(20)]
            puts = [
                (first, second)[index % 2].put(ME, entry, expected="") for index, entry in enumerate(entries)
            ]
            return await asyncio.gather(*puts)

    assert sum(stored is not None for stored in asyncio.run(race())) == 1
