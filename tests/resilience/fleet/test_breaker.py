"""One breaker for a fleet: all leave a dead backend alone, and one at a time finds out whether it is back."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.providers.server import Exchange, Script, ScriptedServer, says
from tests.servers.databases import free_port, start_redis
from tests.servers.stores import SHARED, place

from .support import ANSWER, DOWN, fleet, until

COOLDOWN = 0.8
RULES: dict[str, Any] = {"failure_threshold": 5, "cooldown": COOLDOWN}

OPENING = range(5, 5 + 3 + 1)
"""Failures that open it: five, and the three that were under way then."""


def silences(server: ScriptedServer) -> int:
    """How often the backend was left alone for about a cooldown."""
    at = [exchange.at for exchange in server.seen]
    return sum(after - before > 0.75 * COOLDOWN for before, after in itertools.pairwise(at))


@pytest.mark.parametrize("store", ["redis", "postgres"])
async def test_four_processes_ask_a_dead_backend_hardly_more_often_than_one(
    store: str, tmp_path: Path
) -> None:
    async with (
        place(store, tmp_path) as where,
        ScriptedServer([says(DOWN, 503)]) as server,
        fleet(where, server, "breaker", **RULES) as callers,
    ):
        callers.go()
        await until(lambda: silences(server) >= 2)
        told = await callers.told()
    assert len(server.seen) - told["events"]["circuit.probed"] in OPENING
    assert told["answers"].keys() == {"overloaded", "circuit_open"}
    assert told["answers"]["overloaded"] == len(server.seen)
    assert told["events"]["circuit.probed"] == told["events"]["circuit.opened"] - 1
    probes = [exchange.at for exchange in server.seen[-told["events"]["circuit.probed"] :]]
    # The clocks that count the cooldown are those of the processes, the backend's is another.
    assert len(probes) >= 2
    assert all(after - before > 0.9 * COOLDOWN for before, after in itertools.pairwise(probes))


class Backend:
    """Fails at once until it was left alone for a while; what comes then is a probe, answered by `probed`."""

    SILENCE = 0.75 * COOLDOWN

    def __init__(self, probed: list[Script]) -> None:
        self.probed = probed
        self.probes: list[Exchange] = []
        self.last: float | None = None

    async def __call__(self, exchange: Exchange) -> None:
        silent = self.last is not None and exchange.at - self.last > self.SILENCE
        self.last = exchange.at
        if not silent and not self.probes:
            await says(DOWN, 503)(exchange)
            return
        self.probes.append(exchange)
        await self.probed[min(len(self.probes), len(self.probed)) - 1](exchange)
        self.last = asyncio.get_running_loop().time()


@pytest.mark.parametrize("store", SHARED)
async def test_one_process_at_a_time_probes_and_all_come_back(store: str, tmp_path: Path) -> None:
    at_once: list[int] = []
    probing: set[int] = set()

    async def slow(exchange: Exchange) -> None:
        probing.add(id(exchange))
        at_once.append(len(probing))
        await asyncio.sleep(0.3)
        probing.discard(id(exchange))
        await says(DOWN, 503)(exchange)

    backend = Backend([slow, slow, says(ANSWER)])
    async with (
        place(store, tmp_path) as where,
        ScriptedServer([backend]) as server,
        fleet(where, server, "breaker", size=3, **RULES) as callers,
    ):
        callers.go()
        await until(lambda: len(backend.probes) > 20)
        told = await callers.told()
    assert at_once == [1, 1]
    assert told["events"]["circuit.closed"] == 1
    assert told["answers"]["ok"] > 10


@pytest.mark.parametrize("store", ["redis", "postgres"])
async def test_a_prober_that_is_killed_does_not_block_recovery(store: str, tmp_path: Path) -> None:
    async def kills_its_caller(exchange: Exchange) -> None:
        os.kill(int(exchange.body["model"]), signal.SIGKILL)

    backend = Backend([kills_its_caller, says(ANSWER)])
    async with (
        place(store, tmp_path) as where,
        ScriptedServer([backend]) as server,
        fleet(where, server, "breaker", size=3, probe_timeout=1.0, **RULES) as callers,
    ):
        callers.go()
        await until(lambda: len(backend.probes) > 20)
        told = await callers.told()
    lost, found = backend.probes[:2]
    assert found.body["model"] != lost.body["model"]
    assert found.at - lost.at > 0.9, "the place of the lost probe was not kept for its time"
    assert told["answers"]["ok"] > 10


async def test_while_redis_is_away_each_goes_on_alone_and_then_together_again() -> None:
    port = free_port()
    redis = start_redis(port)
    where = ("redis", f"redis://127.0.0.1:{port}", "fleet")
    async with (
        ScriptedServer([says(DOWN, 503)]) as server,
        fleet(where, server, "breaker", **RULES) as callers,
    ):
        clock = asyncio.get_running_loop().time
        callers.go()
        await until(lambda: silences(server) >= 1)
        redis.kill()
        redis.wait()
        begun, together = clock(), len(server.seen)
        await callers.heard("state.degraded")
        await asyncio.sleep(2 * COOLDOWN)
        redis = start_redis(port)
        await callers.heard("state.recovered")
        away, alone = clock() - begun, len(server.seen) - together
        await asyncio.sleep(2 * COOLDOWN)
        again = clock() - begun - away
        told = await callers.told()
    redis.kill()
    redis.wait()
    assert told["answers"].keys() == {"overloaded", "circuit_open"}, "nobody was told that Redis was away"
    assert told["events"]["state.degraded"] == told["events"]["state.recovered"] == 4
    # Alone, each of four probes once in a cooldown. Redis comes back empty: it takes five failures, and those
    # under way, to open the breaker again, which may be before the last has seen that it is back.
    assert alone <= 4 * (away / COOLDOWN + 1) + OPENING.stop
    assert len(server.seen) - together - alone <= OPENING.stop + again / COOLDOWN + 1
