"""The stores of this project, as `stored.py` measures them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from keeping import DIMENSIONS, LONG, SHORT, Keeper, postgres_dsn, redis_url, turn

from agentfootprint import MemoryIdentity
from agentfootprint.embedders import Embedding
from agentfootprint.identity import namespace_prefix
from agentfootprint.memory import (
    InMemoryStore,
    Memory,
    MemoryEntry,
    PostgresStore,
    RedisStore,
    SQLiteStore,
    Window,
)

CORPUS = MemoryIdentity("acme", "corpus")
FINGERPRINT = f"bench@{DIMENSIONS}"
PART = 1000
"""Entries that are written at once."""

# What a put of the store does, said by hand: as the tenant's role, one row over any that has its id.
AS_TENANT = (
    "SELECT set_config('role', 'agentfootprint_memory', true), set_config('agentfootprint.tenant', %s, true)"
)
INSERT = (
    "INSERT INTO agentfootprint_memory (namespace, id, value, metadata, created, version)"
    " VALUES (%s, %s, %s, '{}', 1, %s) ON CONFLICT (namespace, id) DO UPDATE SET value = excluded.value,"
    " version = excluded.version RETURNING created"
)


def keeper_of(store: Any, **more: Any) -> Keeper:
    whose = {name: MemoryIdentity("acme", "alice", name) for name in (LONG, SHORT)}
    value = turn(0)

    def entry(n: int) -> MemoryEntry:
        return MemoryEntry(f"orders/{n}", value)

    async def fill(name: str, count: int) -> None:
        for start in range(0, count, PART):
            numbers = range(start, min(start + PART, count))
            await store.put_many(whose[name], [entry(n) for n in numbers])

    async def put(name: str, n: int) -> Any:
        return await store.put(whose[name], entry(n))

    async def get(name: str, n: int) -> Any:
        return await store.get(whose[name], f"orders/{n}")

    async def last(name: str, k: int) -> int:
        return len((await store.list(whose[name], limit=k)).entries)

    memories = {k: Memory("orders", strategy=Window(k), store=store) for k in (10, 20)}

    async def recall(name: str, k: int) -> int:
        return len((await memories[k].recall(whose[name], "Where is it?")).messages)

    return Keeper(fill, put, get, last, recall, **more)


def searching(store: Any) -> dict[str, Any]:
    async def index(vectors: Any) -> None:
        for start in range(0, len(vectors), PART):
            part = enumerate(vectors[start : start + PART], start)
            await store.put_many(
                CORPUS,
                [MemoryEntry(f"{n}", n, embedding=Embedding(FINGERPRINT, v.tobytes())) for n, v in part],
            )
        if isinstance(store, PostgresStore):
            await store.create_vector_index(FINGERPRINT)

    async def search(query: Any) -> Sequence[int]:
        found = await store.search(CORPUS, Embedding(FINGERPRINT, query.tobytes()), k=10)
        return [match.entry.value for match in found]

    return {"index": index, "search": search}


@asynccontextmanager
async def keeper(kind: str, folder: str) -> AsyncIterator[Keeper]:
    if kind == "redis":
        async with in_redis() as kept:
            yield kept
    elif kind == "postgres":
        async with in_postgres() as kept:
            yield kept
    else:
        store: Any = InMemoryStore() if kind == "memory" else SQLiteStore(Path(folder) / "memory.sqlite")
        async with store:
            yield keeper_of(store, **searching(store))


@asynccontextmanager
async def in_redis() -> AsyncIterator[Keeper]:
    """The bare client is the one that the store uses too."""
    import redis.asyncio

    text, asked = json.dumps(turn(0)), 0

    class Counting(redis.asyncio.Redis):
        async def execute_command(self, *given: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            return await super().execute_command(*given, **options)

    async def bare(n: int) -> None:
        await client.set(f"bare/{n}", text)

    def trips() -> int:
        nonlocal asked
        before, asked = asked, 0
        return before

    async with Counting.from_url(redis_url()) as client, RedisStore(client=client) as store:
        yield keeper_of(store, bare={"bare": bare}, trips=trips)


@asynccontextmanager
async def in_postgres() -> AsyncIterator[Keeper]:
    import psycopg

    dsn, text = postgres_dsn(), json.dumps(turn(0))
    tenant = (namespace_prefix(MemoryIdentity("acme")),)

    async def bare(n: int) -> None:
        async with connection.transaction():
            await connection.execute(AS_TENANT, tenant)
            await connection.execute(INSERT, (f"{tenant[0]}bare/", f"{n}", text, f"{n}"))

    async def pipelined(n: int) -> None:
        async with connection.pipeline():
            await connection.execute(AS_TENANT, tenant)
            await connection.execute(INSERT, (f"{tenant[0]}pipelined/", f"{n}", text, f"{n}"))

    async with (
        PostgresStore(dsn) as store,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection,
    ):
        calls: dict[str, Callable[[int], Awaitable[Any]]] = {"bare": bare, "pipelined": pipelined}
        yield keeper_of(store, bare=calls, **searching(store))
