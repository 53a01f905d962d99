"""State and memory stores on real servers, by name: for tests whose processes share one."""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agentfootprint.memory import DynamoDBStore, PostgresStore, RedisStore, SQLiteStore
from agentfootprint.state import DynamoDBState, PostgresState, RedisState, SQLiteState

from .databases import dynamodb_url, pgvector_dsn, postgres_dsn, redis_url

__all__ = ["SHARED", "Place", "clients", "memory_at", "place", "state_at"]

SHARED = ("redis", "postgres", "dynamodb", "sqlite")
"""What several processes can share."""

Place = tuple[str, str, str]
"""Kind, address, and a name that sets it apart from other tests' data."""


@functools.cache
def _dynamodb(address: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "dynamodb",
        region_name="eu-west-1",
        endpoint_url=address,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=50),
    )


def clients(kind: str, address: str) -> dict[str, Any]:
    """What a store of that kind takes instead of a client of its own, where one is dear to make: boto3's take
    a tenth of a second."""
    return {"client": _dynamodb(address)} if kind == "dynamodb" else {}


def state_at(kind: str, address: str, name: str, **options: Any) -> Any:
    if kind == "redis":
        return RedisState(address, prefix=name, **options)
    if kind == "postgres":
        return PostgresState(address, schema=name, **options)
    if kind == "dynamodb":
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ.setdefault(key, "test")
        return DynamoDBState(name, endpoint_url=address, region="eu-west-1", **options)
    return SQLiteState(address, **options)


def memory_at(kind: str, address: str, name: str, **options: Any) -> Any:
    if kind == "redis":
        return RedisStore(address, prefix=name, **options)
    if kind == "dynamodb":
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ.setdefault(key, "test")
        return DynamoDBStore(name, endpoint_url=address, region="eu-west-1", **options)
    if kind in ("postgres", "pgvector"):
        return PostgresStore(address, schema=name, **options)
    return SQLiteStore(address, **options)


@contextlib.asynccontextmanager
async def place(kind: str, folder: Path) -> AsyncIterator[Place]:
    """A place for one test's data, which is gone afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    servers = {
        "redis": redis_url,
        "postgres": postgres_dsn,
        "pgvector": pgvector_dsn,
        "dynamodb": dynamodb_url,
    }
    address = servers[kind]() if kind in servers else str(folder / "state.db")
    if kind == "dynamodb":
        async with state_at(kind, address, name, **clients(kind, address)) as state:
            await state.create_table()
    yield kind, address, name
    if kind == "redis":
        import redis.asyncio

        async with redis.asyncio.Redis.from_url(address) as client:
            async for key in client.scan_iter(match=f"{name}:*"):
                await client.delete(key)
    elif kind in ("postgres", "pgvector"):
        import psycopg

        async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
            await connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())
