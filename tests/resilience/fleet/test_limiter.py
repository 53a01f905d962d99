"""One rate limit for a fleet: together its processes ask no more often than one may."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.providers.server import ScriptedServer, says
from tests.servers.stores import place

from .support import ANSWER, fleet, until


@pytest.mark.parametrize("store", ["redis", "postgres", "sqlite"])
async def test_three_processes_share_one_rate(store: str, tmp_path: Path) -> None:
    async with (
        place(store, tmp_path) as where,
        ScriptedServer([says(ANSWER)]) as server,
        fleet(where, server, "limiter", size=3, requests=10, per=1.0, max_wait=0.05) as callers,
    ):
        begun = asyncio.get_running_loop().time()  # The server's own clock.
        callers.go()
        await until(lambda: len(server.seen) > 10 + 10)
        told = await callers.told()
    for exchange in server.seen:
        # What a full bucket holds, what came in since, and one each for clocks and for who was waiting.
        since = exchange.at - begun
        allowed = 10 + 10 * since + 3
        asked = sum(other.at <= exchange.at for other in server.seen)
        assert asked <= allowed, f"{asked} requests in {since:.2f} s"
    assert told["answers"].keys() <= {"ok", "rate_limit_exceeded"}
