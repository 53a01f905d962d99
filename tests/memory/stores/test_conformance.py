"""All memory stores pass the kit that every adapter must pass."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.memory import InMemoryStore, SearchableStore
from agentfootprint.testing import ManualClock, memory_search, memory_store
from tests.servers.stores import memory_at, place

Make = Callable[[Callable[[], float]], Any]


@pytest.fixture(params=["memory", "sqlite", "postgres", "pgvector"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    if request.param == "memory":
        yield lambda clock: InMemoryStore(clock=clock)
    else:
        async with place(request.param, tmp_path) as (kind, address, name):
            yield lambda clock: memory_at(kind, address, name, clock=clock)


@pytest.mark.parametrize("check", memory_store.CHECKS)
async def test_conforms(check: memory_store.Check, make: Make) -> None:
    async with make(time.time) as store:
        await check(store)


@pytest.mark.parametrize("check", memory_search.CHECKS)
async def test_searches(check: memory_search.Check, make: Make) -> None:
    async with make(time.time) as store:
        assert isinstance(store, SearchableStore)
        await check(store)


@pytest.mark.parametrize("check", memory_store.TTL_CHECKS)
async def test_keeps_time(check: memory_store.TTLCheck, make: Make) -> None:
    clock = ManualClock()
    async with make(clock) as store:
        await check(store, clock.advance)


@pytest.mark.parametrize("check", memory_search.TTL_CHECKS)
async def test_finds_nothing_that_expired(check: memory_search.TTLCheck, make: Make) -> None:
    clock = ManualClock()
    async with make(clock) as store:
        await check(store, clock.advance)
