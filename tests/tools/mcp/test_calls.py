"""Tools of a server, through an agent, on every way to it and in both generations of the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from agentfootprint import Agent
from agentfootprint.events import ToolProgress
from agentfootprint.messages import Image, Text
from agentfootprint.providers import MockProvider
from agentfootprint.tools import MCPClient, RunContext
from tests.tools.mcp.calling import called, caller, until
from tests.tools.mcp.conftest import PROGRAM, PYTHON, HTTPServer
from tests.tools.mcp.server import PIXEL, make_server

PROTOCOLS: tuple[Literal["2025-11-25", "2026-07-28"], ...] = ("2025-11-25", "2026-07-28")
WAYS = ("memory", "stdio", "http")


@asynccontextmanager
async def client(
    way: str, protocol: Any, http_server: HTTPServer, journal: Path, **options: Any
) -> AsyncIterator[MCPClient]:
    if way == "memory":
        made = MCPClient.in_memory(make_server(journal), protocol=protocol, **options)
    elif way == "http":
        made = MCPClient.http(http_server.url, protocol=protocol, **options)
    else:
        made = MCPClient.stdio(
            PYTHON, str(PROGRAM), "stdio", env={"JOURNAL": str(journal)}, protocol=protocol, **options
        )
    async with made:
        yield made


everywhere = pytest.mark.parametrize(
    ("way", "protocol"), [(way, protocol) for way in WAYS for protocol in PROTOCOLS]
)


@everywhere
async def test_a_run_calls_the_tools_of_a_server(
    way: str, protocol: Any, http_server: HTTPServer, journal: Path
) -> None:
    async with client(way, protocol, http_server, journal) as mcp:
        agent = caller(
            mcp,
            calls=[
                ("add", {"a": 1, "b": 2}),
                ("files_read", {"path": "a.txt"}),
                ("fail", {"why": "broken"}),
                ("picture", {}),
                ("order", {"order_id": "A-1"}),
                ("add", {"a": "one", "c": 3}),
            ],
        )
        progress: list[Any] = []
        agent.on(ToolProgress, progress.append)
        result = await agent.run("Go.")
        add, read, fail, picture, order, wrong = [m for m in result.messages if m.role == "tool"]
        assert (add.text, add.is_error) == ("3", False)
        assert read.text == "text of a.txt"
        assert fail.is_error
        assert "fail" in fail.text
        assert picture.parts == (Text("look"), Image(data=PIXEL, media_type="image/png"))
        assert '"A-1"' in order.text
        assert wrong.is_error
        assert 'a: "one" is not of type "integer"' in wrong.text
        assert '"b" is a required property' in wrong.text
        assert "Expected: add({a: integer, b: integer})" in wrong.text

        assert (await called(mcp, "steps", count=2)).text == "all done"
        assert [r.uri for r in await mcp.resources()] == [
            "notes://today",
            "pictures://one",
            "notes://{day}",
        ]
        assert await mcp.read_resource("notes://today") == [Text("water the plants")]
        [prompt] = await mcp.prompts()
        assert (prompt.name, prompt.arguments) == ("summarize", {"text": True})
        [message] = await mcp.get_prompt("summarize", {"text": "x"})
        assert (message.role, message.text) == ("user", "Summarize: x")


@everywhere
async def test_progress_of_a_call_is_told(
    way: str, protocol: Any, http_server: HTTPServer, journal: Path
) -> None:
    async with client(way, protocol, http_server, journal) as mcp:
        agent = caller(mcp, calls=[("steps", {"count": 2})])
        progress: list[ToolProgress] = []
        agent.on(ToolProgress, progress.append)
        await agent.run("Go.")
    assert [(p.message, p.fraction) for p in progress] == [("step 1", 0.5), ("step 2", 1.0)]


@everywhere
async def test_a_call_that_takes_too_long_is_cancelled_at_its_server(
    way: str, protocol: Any, http_server: HTTPServer, journal: Path
) -> None:
    async with client(way, protocol, http_server, journal) as mcp:
        answer = await called(mcp, "wait", None, 0.5, key="k")
        assert answer.is_error
        assert "it took longer than 0.5 s" in answer.text
        # On a slow machine it may be told of the call later than it is told to end it.
        await until(lambda: "wait k" not in journal.read_text() or "cancelled k" in journal.read_text())
        # The session goes on.
        assert (await called(mcp, "add", a=1, b=2)).text == "3"


@everywhere
async def test_another_list_of_tools_is_there_for_the_next_run(
    way: str, protocol: Any, http_server: HTTPServer, journal: Path
) -> None:
    async with client(way, protocol, http_server, journal, refresh=3600) as mcp:
        before = await mcp.tools(RunContext(None, None, "r"))
        again = await mcp.tools(RunContext(None, None, "r"))
        assert again is before, "asked for although it was known"
        assert (await called(mcp, "grow")).text == "grown"

        async def grown() -> bool:
            return "more_1" in await mcp.digests()

        await until(grown)
        assert (await called(mcp, "more_1", word="yes")).text == "yes"


async def test_one_client_works_in_event_loops_one_after_another() -> None:
    mcp = MCPClient.in_memory(make_server())

    def run() -> str:
        return asyncio.run(_add(mcp))

    assert [await asyncio.to_thread(run) for _ in range(3)] == ["3", "3", "3"]


async def _add(mcp: MCPClient) -> str:
    return (await called(mcp, "add", a=1, b=2)).text


async def test_an_agent_runs_synchronously_with_the_tools_of_a_process(journal: Path) -> None:
    mcp = MCPClient.stdio(PYTHON, str(PROGRAM), "stdio")
    agent = caller(mcp, calls=[("add", {"a": 1, "b": 2})])
    for _ in range(2):
        assert (await asyncio.to_thread(agent.run_sync, "Go.")).messages[2].text == "3"


async def test_the_list_of_tools_is_asked_for_once(http_server: HTTPServer) -> None:
    async with MCPClient.http(http_server.url, protocol="2025-11-25") as mcp:
        first = await mcp.tools(RunContext(None, None, "r"))
        before = len(http_server.methods)
        assert await mcp.tools(RunContext(None, None, "r")) is first
        assert len(http_server.methods) == before


async def test_runs_at_once_share_one_session(http_server: HTTPServer) -> None:
    async with MCPClient.http(http_server.url, protocol="2025-11-25") as mcp:
        answers = await asyncio.gather(*(called(mcp, "add", a=i, b=i) for i in range(30)))
    assert [answer.text for answer in answers] == [str(2 * i) for i in range(30)]
    assert len({h["mcp-session-id"] for h in http_server.headers if "mcp-session-id" in h}) == 1


async def test_what_an_agent_uses_is_closed_with_it(journal: Path) -> None:
    mcp = MCPClient.in_memory(make_server())
    async with Agent(MockProvider(reply="hi"), tools=[mcp]) as agent:
        await agent.run("hello")
        owners = [t for t in asyncio.all_tasks() if t.get_name().startswith("MCP session")]
        assert len(owners) == 1
    assert all(task.done() for task in owners)
