from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from agentfootprint.errors import ConfigurationError, StoreCorrupt, StoreUnavailable
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import MemoryEntry, SQLiteStore
from agentfootprint.state import SQLiteState, StateKey, StateStore
from agentfootprint.testing import ManualClock

ME = MemoryIdentity("acme", "alice")
KEY = StateKey(ME, "test", "key")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_it_is_a_durable_state_store(path: Path) -> None:
    store = SQLiteState(path)
    assert isinstance(store, StateStore)
    assert store.durable
    assert not path.exists(), "nothing is opened before the first use"


async def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    async with SQLiteState(path) as store:
        record = await store.compare_and_set(KEY, None, {"a": 1})
        await store.increment(KEY, 7)
        sequence = await store.append(KEY, "entry")
    async with SQLiteState(str(path)) as store:
        assert await store.get(KEY) == record
        assert await store.increment(KEY, 0) == 7
        assert [entry.sequence for entry in await store.read(KEY)] == [sequence]


async def test_state_and_memory_share_one_file(path: Path) -> None:
    async with SQLiteState(path) as state, SQLiteStore(path) as memory:
        writes = [state.append(KEY, number) for number in range(50)]
        puts = [memory.put(ME, MemoryEntry(str(number), number)) for number in range(50)]
        await asyncio.gather(*writes, *puts)
        assert await state.forget(ME) == 1
        assert len((await memory.list(ME)).entries) == 50


async def test_what_expired_is_collected_by_later_writes_also_of_others(path: Path) -> None:
    clock = ManualClock()
    async with SQLiteState(path, clock=clock) as store:
        for number in range(100):
            await store.append(KEY, number, ttl=1.0)
            await store.increment(StateKey(ME, "count", str(number)), ttl=1.0)
        clock.advance(2)
        other = StateKey(MemoryIdentity("other"), "test", "key")
        for _ in range(6):
            await store.append(other, "kept")
            await store.increment(other)
        tables = ("agentfootprint_log", "agentfootprint_counter")
        counts = await store._file.read(
            lambda db: [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]  # noqa: S608
        )
    assert counts == [6, 1]


def test_event_loops_of_many_threads_share_a_store(path: Path) -> None:
    store = SQLiteState(path)

    async def count() -> None:
        for _ in range(20):
            await store.increment(KEY)

    threads = [threading.Thread(target=lambda: asyncio.run(count())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asyncio.run(store.increment(KEY, 0)) == 80
    asyncio.run(store.aclose())


async def test_a_cancelled_caller_leaves_the_store_whole(path: Path) -> None:
    async with SQLiteState(path) as store:
        await store.append(KEY, "before")
        for rounds in range(3):
            tasks = [asyncio.create_task(store.append(KEY, number)) for number in range(20)]
            for _ in range(rounds):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert any(isinstance(result, asyncio.CancelledError) for result in results)
        sequence = await store.append(KEY, "after")
        entries = await store.read(KEY)
        assert entries[0].value == "before"
        assert (entries[-1].sequence, entries[-1].value) == (sequence, "after")


async def test_cancelled_work_that_had_not_begun_is_taken_back(path: Path) -> None:
    async with SQLiteState(path) as store:
        go_on = threading.Event()
        blocking = asyncio.create_task(store._file.read(lambda db: go_on.wait(30)))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(store.append(KEY, "never"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        await blocking
        assert await store.read(KEY) == []


def test_a_loop_that_ended_while_work_ran_takes_nothing_with_it(path: Path) -> None:
    store = SQLiteState(path)
    go_on = threading.Event()

    async def give_up() -> None:
        blocking = asyncio.create_task(store._file.read(lambda db: go_on.wait(30)))
        await asyncio.sleep(0)
        blocking.cancel()

    asyncio.run(give_up())
    go_on.set()
    assert asyncio.run(store.increment(KEY)) == 1
    asyncio.run(store.aclose())


async def test_closing_finishes_what_was_asked_before(path: Path) -> None:
    store = SQLiteState(path)
    writes = [asyncio.create_task(store.append(KEY, number)) for number in range(20)]
    await asyncio.sleep(0)
    await store.aclose()
    await asyncio.gather(*writes)
    assert not path.with_name("state.db-wal").exists(), "the last to close leaves one file"
    async with SQLiteState(path) as again:
        assert len(await again.read(KEY)) == 20


async def test_a_store_that_was_dropped_lets_its_thread_go(path: Path) -> None:
    store = SQLiteState(path)
    await store.increment(KEY)
    thread = next(t for t in threading.enumerate() if t.name == "agentfootprint-sqlite" and _serves(t, store))
    del store
    thread.join(10)
    assert not thread.is_alive()


def _serves(thread: threading.Thread, store: SQLiteState) -> bool:
    return store._file._jobs in thread._args  # type: ignore[attr-defined]


async def test_the_path_is_the_one_at_construction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = SQLiteState("state.db")
    monkeypatch.chdir(tmp_path / "elsewhere")
    await store.increment(KEY)
    await store.aclose()
    assert (tmp_path / "state.db").exists()


@pytest.mark.parametrize("path", [":memory:", "", "a\x00b"])
def test_a_path_that_is_no_file_is_refused_when_it_is_built(path: str) -> None:
    with pytest.raises(ConfigurationError, match="use the in-memory store"):
        SQLiteState(path)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "state.db"
    with pytest.raises(StoreUnavailable, match="its folder must exist and be writable") as failed:
        async with SQLiteState(path):
            pass
    assert str(path) in str(failed.value)
    path.parent.mkdir()
    async with SQLiteState(path) as store:
        assert await store.increment(KEY) == 1


async def test_a_store_recovers_when_its_folder_appears(tmp_path: Path) -> None:
    path = tmp_path / "later" / "state.db"
    store = SQLiteState(path)
    with pytest.raises(StoreUnavailable):
        await store.increment(KEY)
    path.parent.mkdir()
    assert await store.increment(KEY) == 1
    await store.aclose()


async def test_a_file_that_is_no_database_is_left_as_it_is(path: Path) -> None:
    content = b"my diary\n" * 1000
    path.write_bytes(content)
    store = SQLiteState(path)
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="not a SQLite database"):
            await store.get(KEY)
    await store.aclose()
    assert path.read_bytes() == content


async def test_a_damaged_file_is_named(path: Path) -> None:
    async with SQLiteState(path) as store:
        for number in range(200):
            await store.append(KEY, "x" * 500 + str(number))
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 20] = os.urandom(4096 * 17)
    path.write_bytes(content)
    async with SQLiteState(path) as store:
        with pytest.raises(StoreCorrupt, match="restore"):
            await store.read(KEY)


@pytest.mark.parametrize("damage", ["'{not json'", "CAST(x'FFFE' AS TEXT)", "x'00'"])
async def test_a_row_changed_by_others_is_corrupt_and_the_rest_reads(path: Path, damage: str) -> None:
    other = StateKey(ME, "test", "other")
    async with SQLiteState(path) as store:
        await store.compare_and_set(KEY, None, "fine")
        await store.compare_and_set(other, None, "fine")
        with sqlite3.connect(path) as raw:
            statement = f"UPDATE agentfootprint_record SET value = {damage} WHERE key = ?"  # noqa: S608
            raw.execute(statement, (KEY.encoded,))
        raw.close()
        with pytest.raises(StoreCorrupt) as failed:
            await store.get(KEY)
        assert "alice" not in str(failed.value), "another tenant's operator may read the message"
        read = await store.get(other)
        assert read is not None
        assert read.value == "fine"


async def test_missing_tables_are_named(path: Path) -> None:
    async with SQLiteState(path) as store:
        await store.increment(KEY)
        with sqlite3.connect(path) as raw:
            raw.execute("DROP TABLE agentfootprint_counter")
        raw.close()
        with pytest.raises(StoreCorrupt, match="tables are not those of this library"):
            await store.increment(KEY)


async def test_tables_of_a_newer_release_are_refused_and_untouched(path: Path) -> None:
    async with SQLiteState(path) as store:
        await store.increment(KEY)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE agentfootprint_schema SET version = 99 WHERE name = 'state'")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match=r"state tables in version 99, .* knows version 1"):
        async with SQLiteState(path):
            pass
    assert path.read_bytes() == before
    async with SQLiteStore(path) as memory:
        assert (await memory.list(ME)).entries == (), "the version of one kind of store is not the other's"


async def test_a_locked_file_is_unavailable_and_usable_afterwards(path: Path) -> None:
    async with SQLiteState(path, timeout=0.05) as store:
        record = await store.compare_and_set(KEY, None, 1)
        assert record is not None
        locker = sqlite3.connect(path, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"another writer held the file for longer than 0.05 s"):
            await store.compare_and_set(KEY, record.version, 2)
        assert await store.get(KEY) == record, "readers do not wait for writers"
        locker.execute("ROLLBACK")
        locker.close()
        assert await store.compare_and_set(KEY, record.version, 3) is not None


async def test_opening_waits_for_a_writer_that_has_not_switched_to_wal(path: Path) -> None:
    locker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    locker.execute("CREATE TABLE somebody_elses (a)")
    locker.execute("BEGIN IMMEDIATE")
    threading.Timer(0.1, locker.execute, ("COMMIT",)).start()
    async with SQLiteState(path, timeout=60) as store:
        assert await store.increment(KEY) == 1
    locker.close()


async def test_a_sequence_is_not_reused_after_a_delete(path: Path) -> None:
    async with SQLiteState(path) as store:
        first = await store.append(KEY, "old")
        await store.delete(KEY)
        assert await store.append(KEY, "new") > first, "a reader that saw the old log would miss it"


async def test_a_full_database_keeps_what_it_has(path: Path) -> None:
    async with SQLiteState(path) as store:
        record = await store.compare_and_set(KEY, None, "small")
        assert record is not None
        await store._file.read(lambda db: db.execute("PRAGMA max_page_count = 20").fetchone())
        with pytest.raises(StoreUnavailable, match=r"no space left .* nothing was stored"):
            await store.compare_and_set(KEY, record.version, "x" * 400_000)
        with pytest.raises(StoreUnavailable, match="no space left"):
            await store.append(KEY, "x" * 400_000)
        assert await store.get(KEY) == record
        await store._file.read(lambda db: db.execute("PRAGMA max_page_count = 100000").fetchone())
        assert await store.compare_and_set(KEY, record.version, "x" * 400_000) is not None
