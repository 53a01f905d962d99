"""The AgentCore store passes the kit of its profile through boto3: all of it on our own server, which has
sessions, actors and pages, and what needs none of those on moto's too."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agentfootprint.memory import AgentCoreStore
from agentfootprint.testing import ManualClock, memory_profiles, memory_store
from tests.servers.agentcore import MEMORY, AgentCore
from tests.servers.databases import dynamodb_url as moto_url

Make = Callable[[Callable[[], float]], AgentCoreStore]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


SERVERS = ("ours", "ours in small pages", "moto")

# Moto lists no actors and no sessions, so it knows no descendants.
NEEDS_SESSIONS = {memory_store.forget_reaches_exactly_whom_it_names.__name__}


def on(server: str, *more: object) -> Any:
    """One of the servers. Each is asked by the same client: one is enough for another Python."""
    return pytest.param(server, *more, marks=pytest.mark.one_python if server != SERVERS[1] else ())


@pytest.fixture
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    store = functools.partial(AgentCoreStore, region="eu-west-1")
    if request.param == "moto":
        memory = f"kit_{uuid.uuid4().hex}-0123456789"
        yield lambda clock: store(memory, endpoint_url=moto_url(), clock=clock)
        return
    async with AgentCore(page=7 if "small" in request.param else 100) as server:
        yield lambda clock: store(MEMORY, endpoint_url=server.url, clock=clock)


@pytest.mark.parametrize(
    ("make", "check"),
    [
        on(server, check)
        for server in SERVERS
        for check in memory_profiles.checks("log")
        if server != "moto" or check.__name__ not in NEEDS_SESSIONS
    ],
    indirect=["make"],
)
async def test_conforms(check: memory_profiles.Check, make: Make) -> None:
    async with make(time.time) as store:
        await check(store)


@pytest.mark.parametrize("make", [on(server) for server in SERVERS], indirect=True)
@pytest.mark.parametrize("check", memory_profiles.ttl_checks("log"))
async def test_keeps_time(check: memory_profiles.TTLCheck, make: Make) -> None:
    clock = ManualClock()
    async with make(clock) as store:
        await check(store, clock.advance)
