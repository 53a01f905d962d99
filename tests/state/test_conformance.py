"""Both state stores pass the kit that every adapter must pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentfootprint.state import InMemoryState, SQLiteState
from agentfootprint.testing import ManualClock, state_store

Make = Callable[[Callable[[], float]], InMemoryState | SQLiteState]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "memory":
        return lambda clock: InMemoryState(clock=clock)
    return lambda clock: SQLiteState(tmp_path / "state.db", clock=clock)


@pytest.mark.parametrize("check", state_store.CHECKS)
async def test_conforms(check: state_store.Check, make: Make) -> None:
    async with make(time.time) as store:
        await check(store)


@pytest.mark.parametrize("check", state_store.TTL_CHECKS)
async def test_keeps_time(check: state_store.TTLCheck, make: Make) -> None:
    clock = ManualClock()
    async with make(clock) as store:
        await check(store, clock.advance)
