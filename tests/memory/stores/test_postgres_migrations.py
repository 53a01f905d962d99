"""The tables of memory in PostgreSQL: made once, by whoever may, and never of two releases."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from agentfootprint.embedders import Embedding
from agentfootprint.errors import StoreError, StoreUnavailable
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import MemoryEntry
from agentfootprint.memory.stores.postgres_migrations import VERSION
from tests.servers.stores import Place, memory_at, place

from .support import ask

ME = MemoryIdentity("acme", "alice", "t-1")


@pytest.fixture(params=["postgres", "pgvector"])
async def where(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(request.param, tmp_path) as found:
        yield found


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Place]:
    async with place("postgres", tmp_path) as found:
        yield found


@pytest.fixture
async def application(plain: Place) -> AsyncIterator[Place]:
    """The same place for a role that may log in, and nothing else."""
    kind, address, schema = plain
    role = f"app_{uuid.uuid4().hex}"
    await ask(plain, f"CREATE ROLE {role} LOGIN")
    try:
        host = urlsplit(address).netloc.rpartition("@")[2]
        yield kind, urlunsplit(urlsplit(address)._replace(netloc=f"{role}@{host}")), schema
    finally:
        await ask(plain, f"DROP OWNED BY {role}")
        await ask(plain, f"DROP ROLE {role}")


async def test_ten_instances_that_start_at_once_make_the_tables_once(where: Place) -> None:
    stores = [memory_at(*where) for _ in range(10)]
    await asyncio.gather(*(store.put(ME, MemoryEntry(str(at), at)) for at, store in enumerate(stores)))
    assert len((await stores[0].list(ME)).entries) == 10
    await asyncio.gather(*(store.aclose() for store in stores))
    found = await ask(where, "SELECT version FROM agentfootprint_memory_migration ORDER BY version")
    assert found == [(number,) for number in range(1, VERSION + 1)]


async def test_tables_of_a_newer_release_are_refused_by_name(plain: Place) -> None:
    async with memory_at(*plain):
        pass
    await ask(plain, "INSERT INTO agentfootprint_memory_migration (version) VALUES (99)")
    for create_tables in (True, False):
        store = memory_at(*plain, create_tables=create_tables)
        with pytest.raises(StoreUnavailable, match="version 99"):
            await store.get(ME, "one")
        await store.aclose()
    with pytest.raises(StoreUnavailable, match="version 99"):
        await memory_at(*plain).migrate()


async def test_a_role_that_may_log_in_and_nothing_else_is_enough(plain: Place, application: Place) -> None:
    role = urlsplit(application[1]).username
    least = memory_at(*application, create_tables=False)
    with pytest.raises(StoreError, match="agentfootprint migrate"):
        await least.get(ME, "one")
    with pytest.raises(StoreError, match="may not make the memory tables"):
        await least.migrate()
    assert await memory_at(*plain).migrate()
    with pytest.raises(StoreError, match="grant agentfootprint_memory"):
        await least.get(ME, "one")
    await ask(plain, f"GRANT agentfootprint_memory TO {role}")
    async with least:
        embedding = Embedding.of([1.0, 0.0], "test@2")
        stored = await least.put(ME, MemoryEntry("one", 1, embedding=embedding))
        assert await least.get(ME, "one") == stored
        assert [match.entry for match in await least.search(ME, embedding)] == [stored]
        assert await least.forget(ME) == 1


async def test_who_owns_the_tables_is_no_superuser_and_sees_one_tenant_too(
    plain: Place, application: Place
) -> None:
    role = urlsplit(application[1]).username
    await ask(plain, f"CREATE SCHEMA {plain[2]} AUTHORIZATION {role}")
    async with memory_at(*plain):  # The role of all databases of the server exists then.
        pass
    await ask(plain, f"DROP SCHEMA {plain[2]} CASCADE")
    await ask(plain, f"CREATE SCHEMA {plain[2]} AUTHORIZATION {role}")
    await ask(plain, f"GRANT agentfootprint_memory TO {role}")
    async with memory_at(*application) as store:
        await store.put(ME, MemoryEntry("one", 1, embedding=Embedding.of([1.0, 0.0], "test@2")))
        assert await ask(application, "SELECT * FROM agentfootprint_memory") == []
        assert await store.forget(ME) == 1


def migrated(where: Place, *more: str) -> subprocess.CompletedProcess[str]:
    _, address, schema = where
    command = [sys.executable, "-m", "agentfootprint.cli", "migrate", "--schema", schema, *more]
    env = {**os.environ, "AGENTFOOTPRINT_DSN": address}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


async def test_the_command_tells_what_it_did(where: Place) -> None:
    first = await asyncio.to_thread(migrated, where)
    assert (first.returncode, first.stderr) == (0, "")
    assert f"made the schema {where[2]}" in first.stdout
    assert "brought the memory tables to version 1" in first.stdout
    async with memory_at(*where, create_tables=False) as store:
        assert await store.put(ME, MemoryEntry("one", 1))
    second = await asyncio.to_thread(migrated, where)
    assert (second.returncode, second.stdout.startswith("nothing to do")) == (0, True)
    third = await asyncio.to_thread(migrated, where, "--vector-index", "test@4")
    assert ("made the index" in third.stdout, third.returncode) == (
        (True, 0) if where[0] == "pgvector" else (False, 1)
    )
