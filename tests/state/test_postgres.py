"""Shared state in PostgreSQL, beyond the kit: tenants behind row-level security, who may make the tables."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from agentfootprint.errors import StoreError, StoreUnavailable
from agentfootprint.identity import MemoryIdentity
from agentfootprint.state import PostgresState, StateKey, postgres
from tests.servers.stores import Place, place, state_at

ACME = StateKey(MemoryIdentity("acme", "alice", "t-1"), "kind", "name")
OTHER = StateKey(MemoryIdentity("other", "bob", "t-1"), "kind", "name")
OPERATOR = StateKey(None, "kind", "name")
NOBODY = StateKey(MemoryIdentity(), "kind", "name")
EMPTY = StateKey(MemoryIdentity(""), "kind", "name")
KEYS = (ACME, OTHER, OPERATOR, NOBODY, EMPTY)
COUNTS = (
    "SELECT count(*) FROM agentfootprint_record",
    "SELECT count(*) FROM agentfootprint_counter",
    "SELECT count(*) FROM agentfootprint_log",
)


@pytest.fixture
async def where(tmp_path: Path) -> AsyncIterator[Place]:
    async with place("postgres", tmp_path) as found:
        yield found


@pytest.fixture
async def application(where: Place) -> AsyncIterator[Place]:
    """The same place for a role that may log in, and nothing else."""
    kind, address, schema = where
    role = f"app_{uuid.uuid4().hex}"
    await ask(where, f"CREATE ROLE {role} LOGIN")
    try:
        host = urlsplit(address).netloc.rpartition("@")[2]
        yield kind, urlunsplit(urlsplit(address)._replace(netloc=f"{role}@{host}")), schema
    finally:
        await ask(where, f"DROP OWNED BY {role} CASCADE")
        await ask(where, f"DROP ROLE {role}")


async def ask(where: Place, statement: str, *given: Any) -> list[Any]:
    _, address, schema = where
    options = {"options": f"-c search_path={schema}"}
    async with await psycopg.AsyncConnection.connect(address, autocommit=True, **options) as connection:  # type: ignore[arg-type]
        cursor = await connection.execute(statement.encode(), given)
        return await cursor.fetchall() if cursor.description else []


async def fill(state: PostgresState, key: StateKey, ttl: float | None = None) -> None:
    await state.compare_and_set(key, None, key.encoded, ttl=ttl)
    await state.increment(key, 5, ttl=ttl)
    await state.append(key, key.encoded, ttl=ttl)


async def left(where: Place) -> list[int]:
    """How many records, counters and log entries there are."""
    return [(await ask(where, each))[0][0] for each in COUNTS]


@pytest.mark.parametrize("key", KEYS)
async def test_a_statement_without_its_condition_reaches_nothing_of_another_tenant(
    where: Place, key: StateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with state_at(*where) as state:
        assert await ask(where, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(True,)]
        for each in KEYS:
            await fill(state, each)
        for name in ("_GET", "_READ"):
            changed = getattr(postgres, name).replace("key = %(key)s", "%(key)s::text IS NOT NULL")
            assert changed != getattr(postgres, name)
            monkeypatch.setattr(postgres, name, changed)
        found = await state.get(key)
        assert found is not None
        assert found.value == key.encoded
        assert [entry.value for entry in await state.read(key)] == [key.encoded]
        condition = "key >= %(low)s AND key < %(high)s"
        assert postgres._DELETE.count(condition) == 3
        monkeypatch.setattr(
            postgres, "_DELETE", postgres._DELETE.replace(condition, "%(low)s::text < %(high)s::text")
        )
        await state.delete(key)
        assert await left(where) == [len(KEYS) - 1] * 3
        adding = postgres._ADD.replace("c.key = %(key)s", "%(key)s::text IS NOT NULL")
        assert adding != postgres._ADD
        monkeypatch.setattr(postgres, "_ADD_OR_BEGIN", adding)
        assert await state.increment(key, 1) is None
        assert set(await ask(where, "SELECT total FROM agentfootprint_counter")) == {(5,)}


async def test_a_row_of_another_tenant_cannot_be_written(
    where: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with state_at(*where) as state:
        monkeypatch.setattr(StateKey, "encoded", "other/bob/t-1/|kind/name")
        for call in (
            state.compare_and_set(ACME, None, 1),
            state.increment(ACME),
            state.append(ACME, 1),
        ):
            with pytest.raises(StoreError, match="InsufficientPrivilege"):
                await call
        assert await left(where) == [0, 0, 0]


async def test_tables_that_do_not_keep_tenants_apart_are_refused(where: Place) -> None:
    async with state_at(*where) as state:
        await state.check()
        await ask(where, "ALTER TABLE agentfootprint_counter NO FORCE ROW LEVEL SECURITY")
        with pytest.raises(StoreUnavailable, match="tenants apart"):
            await state.check()


async def test_tables_that_were_made_before_are_taken_over_with_what_they_hold(where: Place) -> None:
    await ask(where, f"CREATE SCHEMA {where[2]}")
    await ask(
        where,
        'CREATE TABLE agentfootprint_record (key text COLLATE "C" PRIMARY KEY, value text NOT NULL,'
        " version text NOT NULL, expires double precision)",
    )
    await ask(where, "INSERT INTO agentfootprint_record VALUES (%s, '7', 'v', NULL)", ACME.encoded)
    async with state_at(*where) as state:
        found = await state.get(ACME)
        assert found is not None
        assert found.value == 7
        assert await state.compare_and_set(ACME, found.version, 8)


async def test_a_role_that_may_log_in_and_nothing_else_is_enough(where: Place, application: Place) -> None:
    role = urlsplit(application[1]).username
    least = state_at(*application, create_tables=False)
    with pytest.raises(StoreError, match="agentfootprint migrate"):
        await least.get(ACME)
    with pytest.raises(StoreError, match="may not make the state tables"):
        await state_at(*application).get(ACME)
    async with state_at(*where) as maker:
        assert await maker.migrate()
        assert not await maker.migrate()
    with pytest.raises(StoreError, match="grant agentfootprint_state"):
        await least.get(ACME)
    await ask(where, f"GRANT agentfootprint_state TO {role}")
    async with least:
        await fill(least, ACME)
        await fill(least, OPERATOR)
        assert await least.forget(MemoryIdentity("acme"), descendants=True) == 1
        assert await left(where) == [1, 1, 1]


async def test_ten_instances_that_start_at_once_make_the_tables_once(where: Place) -> None:
    stores = [state_at(*where) for _ in range(10)]
    await asyncio.gather(*(store.increment(ACME) for store in stores))
    assert await stores[0].increment(ACME, 0) == 10
    await asyncio.gather(*(store.aclose() for store in stores))
    assert await ask(where, "SELECT version FROM agentfootprint_state_migration") == [(1,)]


@pytest.mark.parametrize("owned", [False, True])
async def test_what_has_expired_of_tenants_that_are_silent_is_collected(
    where: Place, application: Place, owned: bool
) -> None:
    """Also when who owns the tables, and so the function that collects, is no superuser."""
    if owned:
        role = urlsplit(application[1]).username
        async with state_at(*where):  # The role of all databases of the server exists then.
            pass
        await ask(where, f"DROP SCHEMA IF EXISTS {where[2]} CASCADE")
        await ask(where, f"CREATE SCHEMA {where[2]} AUTHORIZATION {role}")
        await ask(where, f"GRANT agentfootprint_state TO {role}")
    async with state_at(*(application if owned else where)) as state:
        state._clock = lambda: time.time() - 1000
        for key in KEYS[1:]:
            await fill(state, key, ttl=5)
        await fill(state, StateKey(OTHER.identity, "kind", "kept"))
        await fill(state, StateKey(OTHER.identity, "kind", "not yet"), ttl=2000)
        await fill(
            state, StateKey(OTHER.identity, "kind", "just now"), ttl=990
        )  # Within the minute of grace.
        state._clock = time.time
        for _ in range(postgres.COLLECT_EVERY):
            await state.increment(ACME)
        assert await left(where) == [3, 4, 3]


async def test_a_clock_that_is_ahead_collects_nothing_that_others_still_see(where: Place) -> None:
    async with state_at(*where, clock=lambda: time.time() + 10**6) as ahead, state_at(*where) as state:
        await fill(state, OTHER, ttl=100)
        for _ in range(postgres.COLLECT_EVERY):
            await ahead.increment(ACME)
        assert await state.get(OTHER) is not None
        assert await left(where) == [1, 2, 1]
        await ask(
            where, "SET ROLE agentfootprint_state; SELECT agentfootprint_state_collect('Infinity', 1000000)"
        )
        assert await left(where) == [1, 2, 1]
