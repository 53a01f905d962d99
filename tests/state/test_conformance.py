"""All state stores pass the kit that every adapter must pass, on their real servers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.state import InMemoryState
from agentfootprint.testing import ManualClock, state_store
from tests.servers.stores import SHARED, clients, place, state_at

Make = Callable[..., Any]
"""Takes the store's clock, by name."""


@pytest.fixture(params=["memory", *SHARED])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    if request.param == "memory":
        yield InMemoryState
    else:
        async with place(request.param, tmp_path) as (kind, address, name):
            yield partial(state_at, kind, address, name, **clients(kind, address))


@pytest.mark.parametrize("check", state_store.CHECKS)
async def test_conforms(check: state_store.Check, make: Make) -> None:
    async with make(clock=time.time) as store:
        await check(store)


@pytest.mark.parametrize("check", state_store.TTL_CHECKS)
async def test_keeps_time(check: state_store.TTLCheck, make: Make) -> None:
    clock = ManualClock()
    async with make(clock=clock) as store:
        await check(store, clock.advance)
