"""Starts a fleet of callers against a backend of the test's own, and collects what they were told."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from tests.providers.server import ScriptedServer
from tests.servers.stores import Place

__all__ = ["ANSWER", "DOWN", "Fleet", "fleet"]

DOWN = {"error": {"message": "no capacity"}}

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


class Fleet:
    """Callers that are ready."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self.processes = processes

    def go(self) -> None:
        for each in self.processes:
            assert each.stdin is not None
            each.stdin.write(b"go\n")

    async def told(self) -> dict[str, collections.Counter[str]]:
        """What all who live to tell were told, and their events."""
        out = {"answers": collections.Counter[str](), "events": collections.Counter[str]()}
        for each in self.processes:
            assert each.stdout is not None
            if line := await each.stdout.readline():
                for name, counts in json.loads(line).items():
                    out[name].update(counts)
        return out


@contextlib.asynccontextmanager
async def fleet(
    where: Place, server: ScriptedServer, how: str, seconds: float, *, size: int = 4, **options: Any
) -> AsyncIterator[Fleet]:
    arguments = [
        "-m",
        "tests.resilience.fleet.caller",
        *where,
        server.url,
        how,
        json.dumps(options),
        str(seconds),
    ]
    pipe = asyncio.subprocess.PIPE
    started = [
        await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe)
        for _ in range(size)
    ]
    try:
        for each in started:
            assert each.stdout is not None
            assert await each.stdout.readline() == b"ready\n"
        yield Fleet(started)
    finally:
        for each in started:
            with contextlib.suppress(ProcessLookupError):
                each.kill()
            await each.wait()
