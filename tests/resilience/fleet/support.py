"""Starts a fleet of callers against a backend of the test's own, and collects what they were told."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.providers.server import ScriptedServer
from tests.servers.stores import Place

__all__ = ["ANSWER", "DOWN", "Fleet", "fleet", "until"]

DOWN = {"error": {"message": "no capacity"}}

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


LIMIT = 40.0
"""Seconds after which callers stop by themselves."""


class Fleet:
    """Callers that are ready."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self.processes = processes
        self._lines: dict[int, list[str]] = {each.pid: [] for each in processes}

    def go(self) -> None:
        for each in self.processes:
            assert each.stdin is not None
            each.stdin.write(b"go\n")

    async def heard(self, event: str) -> None:
        """Waits until every caller has told of that event of the store."""
        for each in self.processes:
            while event not in self._lines[each.pid]:
                assert await self._line(each), "a caller has ended"

    async def told(self) -> dict[str, collections.Counter[str]]:
        """Stops them: what all who live to tell were told, and their events."""
        out = {"answers": collections.Counter[str](), "events": collections.Counter[str]()}
        for each in self.processes:
            assert each.stdin is not None
            each.stdin.write(b"stop\n")
        for each in self.processes:
            while line := await self._line(each):
                if line.startswith("{"):
                    for name, counts in json.loads(line).items():
                        out[name].update(counts)
        return out

    async def _line(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode().strip()
        self._lines[process.pid].append(line)
        return line


async def until(true: Callable[[], bool]) -> None:
    """Waits for what the backend sees."""
    for _ in range(int(LIMIT / 0.02)):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {LIMIT:g} s")


@contextlib.asynccontextmanager
async def fleet(
    where: Place, server: ScriptedServer, how: str, *, size: int = 4, **options: Any
) -> AsyncIterator[Fleet]:
    arguments = [
        "-m",
        "tests.resilience.fleet.caller",
        *where,
        server.url,
        how,
        json.dumps(options),
        str(LIMIT),
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
