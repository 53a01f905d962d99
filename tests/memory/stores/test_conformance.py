"""All memory stores pass the kits that every adapter must pass, on their real servers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.memory import InMemoryStore, SearchableStore
from agentfootprint.testing import ManualClock, memory_search, memory_store
from tests.servers.stores import clients, memory_at, place

Make = Callable[..., Any]
"""Takes the store's clock, by name."""

SEARCHING = ("memory", "sqlite", "postgres", "pgvector")
"""Those that find entries by what they mean; the others only keep what they are found by."""


@pytest.fixture
async def make(kind: str, tmp_path: Path) -> AsyncIterator[Make]:
    if kind == "memory":
        yield InMemoryStore
    else:
        async with place(kind, tmp_path) as (_, address, name):
            yield partial(memory_at, kind, address, name, **clients(kind, address))


every = pytest.mark.parametrize("kind", [*SEARCHING, "redis", "dynamodb"])
searching = pytest.mark.parametrize("kind", SEARCHING)


@every
@pytest.mark.parametrize("check", memory_store.CHECKS)
async def test_conforms(check: memory_store.Check, make: Make) -> None:
    async with make(clock=time.time) as store:
        await check(store)


@searching
@pytest.mark.parametrize("check", memory_search.CHECKS)
async def test_searches(check: memory_search.Check, make: Make) -> None:
    async with make(clock=time.time) as store:
        await check(store)


@every
async def test_what_cannot_search_does_not_say_so(kind: str, make: Make) -> None:
    async with make(clock=time.time) as store:
        assert isinstance(store, SearchableStore) == (kind in SEARCHING)


@every
@pytest.mark.parametrize("check", memory_store.TTL_CHECKS)
async def test_keeps_time(check: memory_store.TTLCheck, make: Make) -> None:
    clock = ManualClock()
    async with make(clock=clock) as store:
        await check(store, clock.advance)


@searching
@pytest.mark.parametrize("check", memory_search.TTL_CHECKS)
async def test_finds_nothing_that_expired(check: memory_search.TTLCheck, make: Make) -> None:
    clock = ManualClock()
    async with make(clock=clock) as store:
        await check(store, clock.advance)
