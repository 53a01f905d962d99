"""The Pinecone store passes the kit of its profile, through the official SDK, with and without lag."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from agentfootprint.memory import PineconeStore
from agentfootprint.testing import ManualClock, memory_profiles
from tests.servers.pinecone import KEY, PineconeIndex

LAGGING = pytest.param(3, id="lagging", marks=pytest.mark.one_python)  # It is the server that lags.


@pytest.fixture(params=[pytest.param(0, id="at once"), LAGGING])
async def index(request: pytest.FixtureRequest) -> AsyncIterator[PineconeIndex]:
    async with PineconeIndex(lag=request.param) as each:
        yield each


@pytest.mark.parametrize("check", memory_profiles.checks("eventual"))
async def test_conforms(check: memory_profiles.Check, index: PineconeIndex) -> None:
    async with PineconeStore(index.url, api_key=KEY, clock=time.time) as store:
        await check(store)


@pytest.mark.parametrize("check", memory_profiles.search_checks("eventual"))
async def test_searches(check: memory_profiles.Check, index: PineconeIndex) -> None:
    async with PineconeStore(index.url, api_key=KEY) as store:
        await check(store)


@pytest.mark.parametrize("check", memory_profiles.ttl_checks("eventual"))
async def test_keeps_time(check: memory_profiles.TTLCheck, index: PineconeIndex) -> None:
    clock = ManualClock()
    async with PineconeStore(index.url, api_key=KEY, clock=clock) as store:
        await check(store, clock.advance)


@pytest.mark.parametrize("check", memory_profiles.search_ttl_checks("eventual"))
async def test_finds_nothing_that_expired(check: memory_profiles.TTLCheck, index: PineconeIndex) -> None:
    clock = ManualClock()
    async with PineconeStore(index.url, api_key=KEY, clock=clock) as store:
        await check(store, clock.advance)
