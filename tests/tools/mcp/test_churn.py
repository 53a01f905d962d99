"""A hundred connects, drops and restarts while agents run: no hang, nothing left, one result a call."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import MemoryIdentity
from agentfootprint.retry import RetryPolicy
from agentfootprint.tools import MCPClient
from tests.servers.databases import free_port
from tests.servers.proxy import Proxy
from tests.tools.mcp.calling import caller, until
from tests.tools.mcp.conftest import PROGRAM, PYTHON
from tests.tools.mcp.test_broken import processes

WARM_UP = 20
TIMES = 100
MOST_KEPT = 30
"""Blocks of memory for each time: a session, or a task of one, that is left is hundreds of them."""

pytestmark = pytest.mark.timeout(600)
PATIENT = RetryPolicy(max_attempts=200, initial_delay=0.01, max_delay=0.1)
TINY = Path(__file__).with_name("tiny_server.py")


def sockets() -> int:
    """Open files of this process that are sockets or pipes."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += os.readlink(entry).startswith(("socket:", "pipe:"))
        except OSError:
            pass
    return count


def kept() -> int:
    """Blocks of memory that this process holds."""
    gc.collect()
    return sys.getallocatedblocks()


def ours() -> list[str]:
    """Tasks of clients that still run."""
    names = [task.get_name() for task in asyncio.all_tasks()]
    return [
        name for name in names if name.startswith(("MCP session", "lifetime of", "mcp.client", "mcp.shared"))
    ]


async def churned(
    mcp: MCPClient,
    call: Callable[[int], tuple[str, dict[str, Any]]],
    disturb: Callable[[int], Awaitable[None]],
    times: int,
) -> tuple[int, int]:
    """Runs agents of three tenants until the server was disturbed so often; how many calls answered rightly,
    and how many ended with the word that nobody knows."""
    over = False
    right = unknown = 0
    turns = 0

    async def work(tenant: str) -> None:
        nonlocal right, unknown, turns
        while not over:
            turns += 1
            at = turns
            agent = caller(mcp, calls=[call(at), call(at + 1)])
            result = await agent.run("Go.", identity=MemoryIdentity(tenant, "p", "c"))
            asked = [part.id for m in result.messages for part in m.parts if part.kind == "tool_call"]
            answers = [m for m in result.messages if m.role == "tool"]
            assert [m.call_id for m in answers] == asked, "a call without its one result"
            for number, answer in zip((at, at + 1), answers, strict=True):
                if answer.is_error:
                    assert "whether it took effect is not known" in answer.text, answer.text
                    unknown += 1
                else:
                    assert answer.text == str(2 * number)
                    right += 1

    workers = [asyncio.create_task(work(tenant)) for tenant in ("a", "b", "c")]
    for time in range(times):
        before = right
        await disturb(time)
        # Each time something runs in between.
        await until(lambda before=before: right > before or any(w.done() for w in workers))  # type: ignore[misc]
    over = True
    await asyncio.gather(*workers)
    return right, unknown


def add(number: int) -> tuple[str, dict[str, Any]]:
    return "add", {"a": number, "b": number}


@pytest.fixture
def silent() -> Iterator[None]:
    """What is logged is kept for the report, and is none of ours."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def restarting() -> Iterator[tuple[int, Callable[[], None]]]:
    """The port of a server that is a process of its own, and what kills it and starts it again."""
    port = free_port()
    command = [PYTHON, str(PROGRAM), "http", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        lines = process.stdin

        def restart() -> None:
            lines.write(b"again\n")
            lines.flush()

        yield port, restart
        lines.close()
        process.wait(60)


async def test_over_http(restarting: tuple[int, Callable[[], None]], silent: None) -> None:
    port, restart = restarting
    gc.collect()
    open_before = sockets()
    chance = random.Random(1)
    unknown, held = 0, []
    async with Proxy(port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/mcp"
        mcp = MCPClient.http(url, protocol="2025-11-25", retry=PATIENT)

        async def disturb(time: int) -> None:
            match chance.choice(("cut", "cut", "session", "away", "restart")):
                case "cut":
                    proxy.cut()
                case "session":
                    await mcp.aclose()  # What runs goes on in another one.
                case "away":
                    await proxy.close()
                    await asyncio.sleep(0.01)
                    await proxy.listen()
                case "restart":
                    restart()

        for times in (WARM_UP, TIMES):
            async with mcp:
                right, cut_off = await churned(mcp, add, disturb, times)
            unknown += cut_off
            assert right >= times
            await until(lambda: not ours())
            held.append(kept())
    assert unknown
    assert held[1] - held[0] < TIMES * MOST_KEPT, held
    await until(lambda: sockets() <= open_before)


async def test_over_standard_input(tmp_path: Path, silent: None) -> None:
    (pids := tmp_path / "pids").touch()
    gc.collect()
    open_before = sockets()
    held = []
    mcp = MCPClient.stdio(PYTHON, str(TINY), str(pids), protocol="2025-11-25", retry=PATIENT)

    async def disturb(time: int) -> None:
        for pid in pids.read_text().split()[-3:]:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time % 10 == 0:
            await mcp.aclose()

    for times in (WARM_UP, TIMES):
        async with mcp:
            right, _ = await churned(mcp, lambda n: ("double", {"n": n}), disturb, times)
        assert right >= times
        await until(lambda: not ours())
        held.append(kept())
    assert len(pids.read_text().split()) >= WARM_UP + TIMES
    assert processes(pids) == []
    assert held[1] - held[0] < TIMES * MOST_KEPT, held
    await until(lambda: sockets() <= open_before)
