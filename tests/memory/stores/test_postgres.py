"""Memory in PostgreSQL, beyond the kit: tenants behind row-level security, cut connections, vectors."""

from __future__ import annotations

import asyncio
import time
import traceback
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from agentfootprint.errors import (
    ConfigurationError,
    StoreError,
    StoreUnavailable,
)
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import MemoryEntry, PostgresStore
from agentfootprint.memory.stores import postgres, postgres_search
from agentfootprint.state import StateKey, postgres_connections, postgres_pool
from tests.memory.stores.support import ACME, OTHER, ask, towards
from tests.servers.databases import free_port
from tests.servers.proxy import Proxy
from tests.servers.stores import Place, memory_at, state_at

# ── tenants ─────────────────────────────────────────────────────────────────────────────────────


async def both_write(store: PostgresStore) -> None:
    for identity, name in ((ACME, "mine"), (OTHER, "theirs")):
        await store.put(identity, MemoryEntry(name, name, embedding=towards(1)))


async def test_a_statement_without_its_condition_reads_nothing_of_another_tenant(
    where: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_at(*where) as store:
        assert (await ask(where, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")) == [(True,)]
        await both_write(store)
        assert len(await ask(where, "SELECT * FROM agentfootprint_memory")) == 2
        everything = "ORDER BY created DESC, number DESC LIMIT %(limit)s"
        monkeypatch.setattr(postgres, "_LIST", f"{postgres._ROWS} {everything}")
        monkeypatch.setattr(postgres, "_GET", postgres._ROWS)
        assert [entry.id for entry in (await store.list(ACME)).entries] == ["mine"]
        found = await store.get(ACME, "theirs")
        assert found is not None
        assert found.id == "mine"
        assert (await store.list(MemoryIdentity())).entries == ()


async def test_a_search_without_its_condition_finds_nothing_of_another_tenant(
    where: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_at(*where) as store:
        await both_write(store)
        for name in ("_VECTORS", "_NEAREST"):
            statement = getattr(postgres_search, name)
            assert "namespace = %(space)s" in statement
            monkeypatch.setattr(postgres_search, name, statement.replace("namespace = %(space)s", "true"))
        assert [match.entry.id for match in await store.search(ACME, towards(1))] == ["mine"]


async def test_a_deletion_without_its_condition_deletes_nothing_of_another_tenant(
    where: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_at(*where) as store:
        await both_write(store)
        monkeypatch.setattr(postgres, "_DELETE", "DELETE FROM agentfootprint_memory RETURNING true")
        for name in ("_FORGET", "_FORGET_SPACES"):
            statement = getattr(postgres, name)
            condition = "namespace >= %(low)s AND namespace < %(high)s"
            assert condition in statement
            monkeypatch.setattr(postgres, name, statement.replace(condition, "true"))
        assert await store.delete(ACME, "mine")
        assert await store.forget(ACME) == 0
        assert await ask(where, "SELECT id FROM agentfootprint_memory") == [("theirs",)]
        assert len(await ask(where, "SELECT * FROM agentfootprint_memory_space")) == 1


async def test_a_row_of_another_tenant_cannot_be_written(
    where: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_at(*where) as store:
        monkeypatch.setattr(postgres, "namespace", lambda identity: "other/bob/t-1/")
        with pytest.raises(StoreError):
            await store.put(ACME, MemoryEntry("mine", 1))
        assert await ask(where, "SELECT id FROM agentfootprint_memory") == []


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE agentfootprint_memory DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE agentfootprint_memory_space NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE agentfootprint_memory OWNER TO agentfootprint_memory",
    ],
)
async def test_tables_that_do_not_keep_tenants_apart_are_refused(plain: Place, change: str) -> None:
    async with memory_at(*plain):
        pass
    if "OWNER" in change:
        await ask(plain, f"GRANT CREATE ON SCHEMA {plain[2]} TO agentfootprint_memory")
    await ask(plain, change)
    with pytest.raises(StoreUnavailable, match="tenants apart"):
        async with memory_at(*plain):
            pass


# ── connections ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def proxied(plain: Place) -> AsyncIterator[tuple[PostgresStore, Proxy]]:
    kind, address, name = plain
    parts = urlsplit(address)
    assert parts.port is not None
    async with Proxy(parts.port) as proxy:
        through = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{proxy.port}"))
        async with memory_at(kind, through, name) as store:
            yield store, proxy


async def test_a_connection_that_is_cut_costs_a_retry(proxied: tuple[PostgresStore, Proxy]) -> None:
    store, proxy = proxied
    for number in range(3):
        proxy.swallow_answers(times=1)
        stored = await store.put(ACME, MemoryEntry("one", number, embedding=towards(1)))
        assert stored is not None
        for expected in (stored.version, None):
            proxy.swallow_answers(times=1)
            stored = await store.put(ACME, MemoryEntry("one", number), expected=expected)
            assert stored is not None
        proxy.swallow_answers(times=1)
        assert await store.get(ACME, "one") == stored
        proxy.swallow_answers(times=1)
        assert stored in (await store.list(ACME)).entries
        proxy.swallow_answers(times=1)
        await store.put_many(ACME, [MemoryEntry("many", number, embedding=towards(1)), MemoryEntry("one", 0)])
        proxy.swallow_answers(times=1)
        assert [match.entry.id for match in await store.search(ACME, towards(1))] == ["many"]
    assert [entry.id for entry in (await store.list(ACME)).entries] == ["many", "one"]


async def test_an_entry_that_must_be_new_is_written_once_when_an_answer_is_lost(
    proxied: tuple[PostgresStore, Proxy],
) -> None:
    store, proxy = proxied
    await store.get(ACME, "one")
    proxy.swallow_answers(times=1)
    stored = await store.put(ACME, MemoryEntry("one", 1), expected="")
    assert stored is not None
    assert await store.get(ACME, "one") == stored


async def test_a_deletion_whose_answer_is_lost_says_so(proxied: tuple[PostgresStore, Proxy]) -> None:
    store, proxy = proxied
    await store.put(ACME, MemoryEntry("one", 1))
    proxy.swallow_answers(times=1)
    with pytest.raises(StoreUnavailable):
        await store.delete(ACME, "one")
    assert await store.get(ACME, "one") is None


ENDED = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s"


async def test_backends_that_are_ended_every_50_ms_under_load_lose_no_call(where: Place) -> None:
    _, address, schema = where
    # The name of this test's connections: no other test's are ended.
    named = f"{address}{'&' if '?' in address else '?'}application_name={schema[:60]}"
    async with memory_at("postgres", named, schema) as store, state_at("postgres", named, schema) as state:
        await state.get(StateKey(ACME, "turn", "none"))
        ended: list[int] = []

        async def turn(number: int) -> int:
            each = 0
            while len(ended) < 30:
                each += 1
                written = await store.put(ACME, MemoryEntry(f"{number} {each}", each))
                assert await store.get(ACME, f"{number} {each}") == written
                key = StateKey(ACME, "turn", f"{number} {each}")
                record = await state.compare_and_set(key, None, each)
                assert record is not None
                assert await state.get(key) == record
            return each

        turns = [asyncio.create_task(turn(number)) for number in range(5)]
        async with await psycopg.AsyncConnection.connect(address, autocommit=True) as admin:
            while len(ended) < 30:
                await asyncio.sleep(0.05)
                cursor = await admin.execute(ENDED.encode(), (schema[:60],))
                ended += [row[0] for row in await cursor.fetchall()]
        written = sum(await asyncio.gather(*turns))
        assert sum(ended) > 30
        assert len((await store.list(ACME, limit=5000)).entries) == written


async def test_who_waits_for_a_connection_in_vain_is_told_what_to_do(
    plain: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_pool, "CONNECT_SECONDS", 0.05)
    async with memory_at(*plain, max_connections=1) as store:
        held, done = asyncio.Event(), asyncio.Event()

        async def hold(connection: Any) -> None:
            held.set()
            await done.wait()

        holder = asyncio.create_task(store._pool.run(hold))
        await held.wait()
        with pytest.raises(StoreUnavailable, match="max_connections"):
            await store.get(ACME, "one")
        done.set()
        await holder
        assert await store.get(ACME, "one") is None


async def test_connections_are_kept_bounded_and_closed_when_nobody_needs_them(
    plain: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connections, "IDLE_SECONDS", 0.05)
    kind, address, schema = plain
    named = f"{address}?application_name={schema[:60]}"
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    async with memory_at(kind, named, schema, max_connections=3) as store:
        await asyncio.gather(*(store.get(ACME, str(number)) for number in range(20)))
        assert (await ask(plain, count, schema[:60]))[0][0] <= 3
        async with asyncio.timeout(30):
            while True:
                [(left,)] = await ask(plain, count, schema[:60])
                if not left:
                    break
                await asyncio.sleep(0.01)
        assert await store.get(ACME, "one") is None


async def test_a_server_that_says_nothing_does_not_hold_a_cancelled_call(
    proxied: tuple[PostgresStore, Proxy],
) -> None:
    store, proxy = proxied
    stored = await store.put(ACME, MemoryEntry("one", 1))
    proxy.stall()
    async with asyncio.timeout(30):  # psycopg itself waits for its cancellation to be answered.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await store.get(ACME, "one")
    proxy.heal()
    assert await store.get(ACME, "one") == stored


async def test_a_server_that_is_away_is_named_and_its_password_is_not() -> None:
    port = free_port()
    store = PostgresStore(f"postgresql://user:s3ntinel@127.0.0.1:{port}/x")
    with pytest.raises(StoreUnavailable, match=rf"127\.0\.0\.1:{port}") as caught:
        await store.get(ACME, "one")
    told = [repr(store), *traceback.format_exception(caught.value)]
    error: BaseException | None = caught.value
    while error is not None:
        told.append(repr(error))
        error = error.__cause__ or error.__context__
    assert "s3ntinel" not in "".join(told)
    with pytest.raises(ConfigurationError):
        PostgresStore("postgresql://x", schema='a"b')


async def test_what_has_expired_is_collected_with_later_writes(plain: Place) -> None:
    clock = iter(range(10**6))
    async with memory_at(*plain, clock=lambda: float(next(clock))) as store:
        for number in range(5):
            await store.put(ACME, MemoryEntry(f"short {number}", 1, expires=20.0))
        for _ in range(100):
            await store.put(ACME, MemoryEntry("kept", 1))
        assert await ask(plain, "SELECT id FROM agentfootprint_memory") == [("kept",)]


@pytest.mark.parametrize("owned", [False, True])
async def test_what_has_expired_of_tenants_that_are_silent_is_collected(plain: Place, owned: bool) -> None:
    """Also when who owns the tables, and so the function that collects, is no superuser."""
    kind, address, schema = plain
    role = f"app_{uuid.uuid4().hex}"
    async with memory_at(*plain):
        pass
    await ask(plain, f"CREATE ROLE {role} LOGIN")
    try:
        if owned:
            await ask(plain, f"DROP SCHEMA {schema} CASCADE")
            await ask(plain, f"CREATE SCHEMA {schema} AUTHORIZATION {role}")
            await ask(plain, f"GRANT agentfootprint_memory TO {role}")
            host = urlsplit(address).netloc.rpartition("@")[2]
            address = urlunsplit(urlsplit(address)._replace(netloc=f"{role}@{host}"))
        async with memory_at(kind, address, schema) as store:
            now = time.time()
            for name, expires in (("old", now - 100), ("now", now - 1), ("later", now + 100), ("kept", None)):
                await store.put(OTHER, MemoryEntry(name, 1, expires=expires, embedding=towards(1)))
            for _ in range(postgres.COLLECT_EVERY):
                await store.put(ACME, MemoryEntry("mine", 1))
            found = await ask(plain, "SELECT id FROM agentfootprint_memory ORDER BY number")
            assert found == [("now",), ("later",), ("kept",), ("mine",)]
            collect = (
                "SET ROLE agentfootprint_memory; SELECT agentfootprint_memory_collect('Infinity', 1000000)"
            )
            await ask(plain, collect)
            assert len(await ask(plain, "SELECT id FROM agentfootprint_memory")) == 4
    finally:
        await ask(plain, f"DROP OWNED BY {role} CASCADE")
        await ask(plain, f"DROP ROLE {role}")
