"""`async with agent` finds out whether its stores can be used, says which cannot, and leaves nothing open."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import pytest

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.agent import opening
from agentfootprint.errors import StoreCorrupt, StoreError, StoreUnavailable
from agentfootprint.memory import (
    AgentCoreStore,
    DynamoDBStore,
    InMemoryStore,
    Memory,
    PineconeStore,
    PostgresStore,
    RedisStore,
    SQLiteStore,
)
from agentfootprint.providers import MockProvider
from agentfootprint.state import DynamoDBState, InMemoryState, PostgresState, RedisState, SQLiteState
from agentfootprint.state.base import CheckedStore
from tests.servers.agentcore import MEMORY, AgentCore
from tests.servers.databases import dynamodb_url, free_port, guarded_postgres_dsn, redis_url
from tests.servers.pinecone import KEY, PineconeIndex
from tests.servers.stores import SHARED, memory_at, place, state_at

from .support import others

SECRET = "s3ntinel-8f21c7"
ALICE = MemoryIdentity("acme", "alice", "c-1")

Case: TypeAlias = tuple[Any, str]
"""A store, and what is told of it."""


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "known")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


def desk(*, store: Any = None, state: Any = None, **options: Any) -> Agent[Any, str]:
    memory = [] if store is None else [Memory("customer", scope="principal", store=store)]
    return Agent(MockProvider(reply="Yes."), name="desk", memory=memory, state=state, **options)


def sockets() -> set[int]:
    found = set()
    for each in map(int, os.listdir("/dev/fd")):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(each).st_mode):
                found.add(each)
    return found


def _dsn(**changes: str) -> str:
    parts = urlsplit(guarded_postgres_dsn())
    user = changes.get("user", parts.username), changes.get("password", parts.password)
    where = f"{user[0]}:{user[1]}@{parts.hostname}:{changes.get('port', parts.port)}"
    return urlunsplit(parts._replace(netloc=where, path=f"/{changes.get('database', 'postgres')}"))


def _away(scheme: str) -> str:
    return f"{scheme}://user:{SECRET}@127.0.0.1:{free_port()}"


def _in_redis(kind: Any) -> list[Case]:
    wrong = redis_url().replace("redis://", f"redis://nobody:{SECRET}@")
    return [
        (kind(_away("redis")), r"Redis at 127\.0\.0\.1:\d+ cannot be reached"),
        (kind(wrong), r"Redis at 127\.0\.0\.1:\d+ does not let this user in: check the user name"),
        (kind(f"{redis_url()}/999999"), r"Redis at 127\.0\.0\.1:\d+ does not take this connection: "),
    ]


def _in_postgres(kind: Any) -> list[Case]:
    where = r"PostgreSQL at 127\.0\.0\.1:\d+/"
    return [
        (kind(f"{_away('postgresql')}/x"), f"{where}x cannot be reached"),
        (kind(_dsn(password=SECRET)), f"{where}postgres does not let this user in: password"),
        (kind(_dsn(user="nobody")), f"{where}postgres does not let this user in: password"),
        (kind(_dsn(database="nowhere")), f'{where}nowhere does not let this user in: database "nowhere"'),
        (kind(_dsn(), schema="nowhere", create_tables=False), f"{where}postgres .*agentfootprint migrate"),
    ]


def _in_dynamodb(kind: Any) -> list[Case]:
    where = r"the DynamoDB table 'nowhere' at http://127\.0\.0\.1:\d+"
    return [
        (kind("nowhere", endpoint_url=f"http://127.0.0.1:{free_port()}"), f"{where} cannot be reached"),
        (kind("nowhere", endpoint_url=dynamodb_url()), f"{where} does not exist: `create_table"),
    ]


def _in_sqlite(kind: Any, folder: Path) -> list[Case]:
    (other := folder / "other.db").write_bytes(b"no database at all, but long enough to be one" * 20)
    return [
        (kind(folder / "nowhere" / "x.db"), r"nowhere/x\.db: it cannot be opened"),
        (kind(other), r"other\.db: it is not a SQLite database"),
    ]


@contextlib.asynccontextmanager
async def stubs() -> AsyncIterator[list[Case]]:
    away = f"http://127.0.0.1:{free_port()}"
    index, core = (
        r"the Pinecone index at http://127\.0\.0\.1:\d+",
        r"the AgentCore memory '.+' at http://.+:\d+",
    )
    async with PineconeIndex() as there, PineconeIndex(metric="euclidean") as other, AgentCore() as memory:
        yield [
            (PineconeStore(away, api_key=SECRET, timeout=0.5), f"{index} cannot be reached"),
            (PineconeStore(f"{there.url}/nowhere", api_key=KEY), f"{index}/nowhere does not exist"),
            (PineconeStore(there.url, api_key=SECRET), f"{index} refused the API key"),
            (PineconeStore(other.url, api_key=KEY), f"{index} has the metric"),
            (AgentCoreStore(MEMORY, endpoint_url=away), f"{core} cannot be reached"),
            (AgentCoreStore("other-0123456789", endpoint_url=memory.url), f"{core} does not exist"),
        ]


async def refuses(agent: Agent[Any, str], told: str) -> StoreError:
    tasks, open_before = others(), sockets()
    with pytest.raises(StoreError, match=told) as caught:
        async with agent:
            pytest.fail("it has started")
    async with asyncio.timeout(10):  # A stub in this process has sockets of its own, until it notices.
        while not (others() <= tasks and sockets() <= open_before):  # noqa: ASYNC110 - sockets tell nobody
            await asyncio.sleep(0.01)
    text = "".join(traceback.format_exception(caught.value))
    assert not any(secret in text for secret in (SECRET, "s3same"))
    return caught.value


@pytest.mark.parametrize("kind", ["redis", "postgres", "dynamodb", "sqlite", "stubs"])
async def test_a_store_that_cannot_be_used_is_told_by_name(kind: str, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        cases = {
            "redis": lambda: _in_redis(RedisStore),
            "postgres": lambda: _in_postgres(PostgresStore),
            "dynamodb": lambda: _in_dynamodb(DynamoDBStore),
            "sqlite": lambda: _in_sqlite(SQLiteStore, tmp_path),
        }
        found = cases[kind]() if kind in cases else await stack.enter_async_context(stubs())
        for store, told in found:
            named = rf"agent 'desk' cannot start: memory 'customer' \({type(store).__name__}\): .*"
            await refuses(desk(store=store), named + told)
            await store.aclose()


@pytest.mark.parametrize("kind", ["redis", "postgres", "dynamodb", "sqlite"])
async def test_a_state_that_cannot_be_used_is_told_by_name(kind: str, tmp_path: Path) -> None:
    cases: dict[str, Callable[[], list[Case]]] = {
        "redis": lambda: _in_redis(RedisState),
        "postgres": lambda: _in_postgres(PostgresState),
        "dynamodb": lambda: _in_dynamodb(DynamoDBState),
        "sqlite": lambda: _in_sqlite(SQLiteState, tmp_path),
    }
    for state, told in cases[kind]():
        await refuses(
            desk(state=state), rf"agent 'desk' cannot start: state= \({type(state).__name__}\): .*{told}"
        )
        await state.aclose()


async def test_what_may_be_there_in_a_moment_is_another_error_than_what_is_missing() -> None:
    away, missing = _in_dynamodb(DynamoDBStore)
    assert type(await refuses(desk(store=away[0]), away[1])) is StoreUnavailable
    assert type(await refuses(desk(store=missing[0]), missing[1])) is StoreError
    other = _in_dynamodb(DynamoDBState)[1]
    both = await refuses(desk(store=away[0], state=other[0]), f"{away[1]}.*; state= .*{other[1]}")
    assert type(both) is StoreError


async def test_all_who_use_a_store_are_named_once() -> None:
    store = RedisStore(_away("redis"))
    memories = [Memory(each, scope="principal", store=store) for each in ("facts", "said")]
    error = await refuses(desk().replace(memory=memories), "memory 'facts' and memory 'said'")
    assert str(error).count("cannot be reached") == 1


@pytest.mark.parametrize("kind", SHARED)
async def test_an_agent_whose_stores_are_there_starts_and_runs(kind: str, tmp_path: Path) -> None:
    async with place(kind, tmp_path) as where:
        store = state = None
        for _ in range(2):  # Whoever was checked can be checked, and used, again.
            open_before = sockets()
            store, state = memory_at(*where), state_at(*where)
            async with store, state, desk(store=store, state=state) as agent:
                if kind in ("redis", "dynamodb"):  # The others open at their own `async with`.
                    assert sockets() <= open_before
                assert (await agent.run("Well?", identity=ALICE)).output == "Yes."
                await store.check()
                await state.check()
        for closed in (store, state):
            assert closed is not None
            with pytest.raises(StoreUnavailable, match="closed"):
                await closed.check()


async def test_without_async_with_it_is_the_first_run_that_finds_out() -> None:
    agent = desk(store=RedisStore(_away("redis")))
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await agent.run("Well?", identity=ALICE)


async def test_stores_of_ones_own_may_have_a_check_and_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(InMemoryStore):
        async def check(self) -> None:
            raise self.error

        error: Exception = OSError(f"no route to {SECRET}")

    assert not isinstance(InMemoryState(), CheckedStore)
    async with desk(store=InMemoryStore(), state=InMemoryState()):
        pass
    await refuses(desk(store=Mine()), r"memory 'customer' \(.*Mine\): it cannot be used \(OSError\)")
    monkeypatch.setattr(Mine, "error", StoreCorrupt("page 7 is torn"))
    await refuses(desk(store=Mine()), "page 7 is torn")

    class Silent(InMemoryState):
        async def check(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(opening, "CHECK_SECONDS", 0.05)
    await refuses(desk(state=Silent()), "it did not answer for 0.05 s")
