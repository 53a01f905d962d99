"""Stores on servers whose connections break: errors are named, nothing is lost in silence."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis.asyncio

from agentfootprint.errors import StoreError, StoreUnavailable
from agentfootprint.identity import MemoryIdentity
from agentfootprint.state import RedisState, StateKey, trying
from tests.servers.databases import free_port, start_redis
from tests.servers.proxy import Proxy
from tests.servers.stores import place, state_at

KEY = StateKey(None, "kind", "name")

ON_SERVERS = ("redis", "postgres", "dynamodb")


@pytest.fixture(params=ON_SERVERS)
async def proxied(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Any, Proxy]]:
    """A store that reaches its server through a proxy."""
    async with place(request.param, tmp_path) as (kind, address, name):
        parts = urlsplit(address)
        assert parts.port is not None
        async with Proxy(parts.port) as proxy:
            user = f"{parts.username}@" if parts.username else ""
            through = urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{proxy.port}"))
            async with state_at(kind, through, name) as store:
                yield store, proxy


async def test_connections_that_were_cut_while_idle_are_made_anew(proxied: tuple[Any, Proxy]) -> None:
    store, proxy = proxied
    record = await store.compare_and_set(KEY, None, "one")
    for _ in range(3):
        proxy.cut()
        await asyncio.sleep(0)
        assert await store.get(KEY) == record


async def test_a_write_whose_answer_is_lost_happened_once_and_says_so(
    proxied: tuple[Any, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "TRYING_SECONDS", 0.3)  # Every answer is lost: to try for longer is in vain.
    store, proxy = proxied
    record = await store.compare_and_set(KEY, None, "before")
    assert record is not None
    proxy.swallow_answers()
    with pytest.raises(StoreUnavailable):
        await store.compare_and_set(KEY, record.version, "after")
    with pytest.raises(StoreUnavailable):
        await store.increment(KEY, 5)
    proxy.heal()
    found = await store.get(KEY)
    assert found is not None
    assert found.value in ("before", "after")
    assert await store.increment(KEY, 0) in (0, 5)


async def test_the_outcome_of_a_compare_and_set_is_found_out_when_one_answer_is_lost(
    proxied: tuple[Any, Proxy],
) -> None:
    store, proxy = proxied
    record = await store.compare_and_set(KEY, None, "before")
    assert record is not None
    proxy.swallow_answers(times=1)
    written = await store.compare_and_set(KEY, record.version, "after")
    assert written is not None
    found = await store.get(KEY)
    assert found is not None
    assert (found.value, found.version) == ("after", written.version)


async def test_a_server_that_is_away_is_named_at_once_and_used_again_when_it_is_back(
    proxied: tuple[Any, Proxy],
) -> None:
    store, proxy = proxied
    record = await store.compare_and_set(KEY, None, "one")
    await proxy.close()
    with pytest.raises(StoreUnavailable, match=rf"127\.0\.0\.1:{proxy.port}"):
        async with asyncio.timeout(20):
            await store.get(KEY)
    await proxy.listen()
    found = None
    async with asyncio.timeout(20):
        while found is None:
            with contextlib.suppress(StoreUnavailable):
                found = await store.get(KEY)
    assert found == record


async def test_a_server_that_says_nothing_does_not_hold_a_cancelled_call(proxied: tuple[Any, Proxy]) -> None:
    store, proxy = proxied
    await store.compare_and_set(KEY, None, "one")
    proxy.stall()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await store.get(KEY)
    proxy.heal()
    found = await store.get(KEY)
    assert found is not None
    assert found.value == "one"


@pytest.mark.parametrize("kind", ON_SERVERS)
async def test_one_store_serves_several_event_loops(kind: str, tmp_path: Path) -> None:
    async with place(kind, tmp_path) as where, state_at(*where) as store:
        await store.increment(KEY)
        totals: list[int | None] = []

        async def elsewhere() -> None:
            totals.append(await store.increment(KEY))

        for _ in range(2):
            thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
            thread.start()
            await asyncio.to_thread(thread.join)
        assert totals == [2, 3]
        assert await store.increment(KEY) == 4


@pytest.mark.parametrize("kind", ON_SERVERS)
async def test_nothing_that_is_left_to_a_server_stays_for_ever(kind: str, tmp_path: Path) -> None:
    """What has a time to live is collected by the server itself, some time after its deadline."""
    async with place(kind, tmp_path) as (kind, address, name), state_at(kind, address, name) as store:
        if kind == "postgres":
            store._clock = lambda: time.time() - 1000
        await store.compare_and_set(KEY, None, 1, ttl=5)
        await store.increment(KEY, ttl=5)
        await store.append(KEY, 1, ttl=5)
        if kind == "redis":
            import redis.asyncio

            async with redis.asyncio.Redis.from_url(address) as client:
                left = [await client.pttl(key) async for key in client.scan_iter(match=f"{name}:*")]
            assert len(left) == 4
            assert all(0 < each <= 120_000 for each in left)
        elif kind == "dynamodb":
            client = store._table._client
            items = client.scan(TableName=name)["Items"]
            assert len(items) == 4
            assert all("expiresAt" in item for item in items)
            told = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            assert (told["TimeToLiveStatus"], told["AttributeName"]) == ("ENABLED", "expiresAt")
        else:
            import psycopg

            store._clock = time.time
            for _ in range(100):  # Writes collect what has expired, whosever it was.
                await store.increment(StateKey(MemoryIdentity("acme"), "kind", "other"))
            async with await psycopg.AsyncConnection.connect(address) as connection:
                for table in ("record", "counter", "log"):
                    query = psycopg.sql.SQL("SELECT count(*) FROM {} WHERE expires IS NOT NULL")
                    where = psycopg.sql.Identifier(name, f"agentfootprint_{table}")
                    cursor = await connection.execute(query.format(where))
                    assert await cursor.fetchone() == (0,)


async def test_a_table_that_is_not_there_is_told_with_what_to_do() -> None:
    from tests.servers.databases import dynamodb_url

    async with state_at("dynamodb", dynamodb_url(), "nowhere") as store:
        with pytest.raises(StoreError, match="create_table"):
            await store.get(KEY)


async def test_a_table_is_made_once() -> None:
    from tests.servers.databases import dynamodb_url

    async with state_at("dynamodb", dynamodb_url(), "made-twice") as store:
        await store.create_table()
        await store.increment(KEY)
        await store.create_table()
        assert await store.increment(KEY) == 2


async def test_a_redis_that_takes_no_writes_is_away_and_not_corrupt() -> None:
    port = free_port()
    server = start_redis(port)
    admin: Any = redis.asyncio.Redis(port=port)
    store = RedisState(f"redis://127.0.0.1:{port}")
    try:
        record = await store.compare_and_set(KEY, None, "one")
        assert record is not None
        assert await store.increment(KEY) == 1
        for unwell, well in (
            (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
            (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
            (
                ("CONFIG", "SET", "min-replicas-to-write", "3"),
                ("CONFIG", "SET", "min-replicas-to-write", "0"),
            ),
        ):
            await admin.execute_command(*unwell)
            with pytest.raises(StoreUnavailable):
                await store.compare_and_set(KEY, record.version, "two")
            with pytest.raises(StoreUnavailable):
                await store.increment(KEY)
            await admin.execute_command(*well)
            assert await store.increment(KEY, 0) == 1
    finally:
        await store.aclose()
        await admin.aclose()
        server.kill()


async def test_a_postgres_that_only_reads_is_away(tmp_path: Path) -> None:
    async with place("postgres", tmp_path) as (kind, address, name):
        parts = urlsplit(address)
        reader = urlunsplit(parts._replace(netloc=f"{name}@{parts.hostname}:{parts.port}"))
        async with await psycopg.AsyncConnection.connect(address, autocommit=True) as admin:
            await admin.execute(f"CREATE ROLE {name} LOGIN SUPERUSER".encode())
            try:
                async with state_at(kind, reader, name) as store:
                    await store.increment(KEY)
                await admin.execute(f"ALTER ROLE {name} SET default_transaction_read_only = on".encode())
                async with state_at(kind, reader, name) as store:
                    with pytest.raises(StoreUnavailable):
                        await store.increment(KEY)
            finally:
                await admin.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())
                await admin.execute(f"DROP ROLE {name}".encode())
