"""What is closed while it is used: each call has a result, and nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.server import MCPServer

from agentfootprint import MemoryIdentity
from agentfootprint.tools import MCPClient
from tests.tools.mcp.calling import called, caller, until
from tests.tools.mcp.conftest import HTTPServer
from tests.tools.mcp.test_asking import agent_for, paused_by
from tests.tools.mcp.test_asking import make_server as airline
from tests.tools.mcp.test_calls import client, everywhere
from tests.tools.mcp.test_churn import ours


@everywhere
async def test_a_client_that_is_closed_during_a_call_gives_it_a_result(
    way: str, protocol: Any, http_server: HTTPServer, journal: Path
) -> None:
    async with client(way, protocol, http_server, journal) as mcp:
        agent = caller(mcp, calls=[("wait", {"key": "k"})])
        running = asyncio.create_task(agent.run("Go."))
        await until(lambda: "wait k" in journal.read_text())
        await asyncio.gather(mcp.aclose(), mcp.aclose())
        await mcp.aclose()
        result = await running
        [answer] = [m for m in result.messages if m.role == "tool"]
        assert answer.is_error
        assert "whether it took effect is not known" in answer.text
        # It is closed, and not for ever.
        assert (await called(mcp, "add", a=1, b=2)).text == "3"
        await agent.aclose()
    await until(lambda: not ours())


@everywhere
async def test_a_run_that_is_cancelled_cancels_its_call_at_the_server(
    way: str, protocol: Any, http_server: HTTPServer, journal: Path
) -> None:
    async with client(way, protocol, http_server, journal) as mcp:
        agent = caller(mcp, calls=[("wait", {"key": "k"})])
        running = asyncio.create_task(agent.run("Go."))
        await until(lambda: "wait k" in journal.read_text())
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
        await until(lambda: "cancelled k" in journal.read_text())
        # The session goes on.
        assert (await called(mcp, "add", a=1, b=2)).text == "3"
        await agent.aclose()


async def test_an_agent_that_is_closed_while_its_run_waits_for_a_person_ends_the_call() -> None:
    log: list[str] = []
    mcp = MCPClient.in_memory(airline(log), protocol="2025-11-25")
    agent = agent_for(mcp, ("book_live", {"flight": "LH1"}))
    paused = await paused_by(agent)
    await agent.aclose()
    await until(lambda: not ours())
    result = await agent.resume(paused.checkpoint, answer={"window": True})
    assert result.messages[2].is_error
    assert "no longer waited for the answer" in result.messages[2].text
    assert log == ["asking LH1"], "the call was made again, or went on"
    await agent.aclose()


async def test_sessions_are_closed_side_by_side() -> None:
    """One that takes long to end holds up no other."""
    ending = asyncio.Barrier(5)

    @asynccontextmanager
    async def lifespan(server: Any) -> AsyncIterator[None]:
        yield
        await ending.wait()

    server = MCPServer("slow to end", lifespan=lifespan)

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    async with MCPClient.in_memory(server, protocol="2026-07-28") as mcp:
        for tenant in range(5):
            await called(mcp, "add", MemoryIdentity(str(tenant)), a=1, b=2)
        closing = asyncio.create_task(mcp.aclose())
        await until(lambda: closing.done())
    assert not ending.broken


async def test_a_server_in_this_process_that_does_not_start_is_given_up() -> None:
    ended = []

    @asynccontextmanager
    async def lifespan(server: Any) -> AsyncIterator[None]:
        try:
            await asyncio.Event().wait()
            yield
        finally:
            ended.append(True)

    mcp = MCPClient.in_memory(MCPServer("asleep", lifespan=lifespan), start_timeout=0.2)
    with pytest.raises(Exception, match=r"MCP server asleep was not ready within 0\.2 s and was given up"):
        await called(mcp, "add", a=1, b=2)
    assert ended
    await until(lambda: not ours())
