"""Servers that others wrote, through an agent: of npm and of PyPI."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest

from agentfootprint import Paused
from agentfootprint.events import ToolProgress
from agentfootprint.messages import Image, Text
from agentfootprint.retry import RetryPolicy
from agentfootprint.tools import MCPClient, RunContext
from tests.servers.databases import free_port
from tests.servers.programs import program
from tests.tools.mcp.calling import called, caller

WHILE_IT_STARTS = RetryPolicy(max_attempts=1000, initial_delay=0.05, max_delay=0.2, max_total=100)
ALONE = """
import net from "node:net";
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, then) { return listen.call(this, port, "127.0.0.1", then); };
"""
"""server-everything listens at all addresses of a machine; here at one that nobody else reaches."""

CONTEXT = RunContext(None, None, "r")


def of_npm(name: str, *arguments: str) -> MCPClient:
    # The script itself, by its own node: what npm links may start another one.
    script = Path(program(name)).resolve()
    return MCPClient.stdio(program("node"), str(script), *arguments, name=name, start_timeout=60)


@asynccontextmanager
async def everything(way: str) -> AsyncIterator[MCPClient]:
    if way == "stdio":
        async with of_npm("mcp-server-everything", "stdio") as mcp:
            yield mcp
        return
    script, port = Path(program("mcp-server-everything")).resolve(), free_port()
    command = [program("node"), "--import", f"data:text/javascript,{ALONE}", str(script), "streamableHttp"]
    environment = {**os.environ, "PORT": str(port)}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=DEVNULL, stderr=DEVNULL)
    try:
        async with MCPClient.http(f"http://127.0.0.1:{port}/mcp", retry=WHILE_IT_STARTS) as mcp:
            yield mcp
    finally:
        process.terminate()
        await process.wait()


either = pytest.mark.parametrize("way", ["stdio", "http"])


@either
async def test_server_everything(way: str) -> None:
    async with everything(way) as mcp:
        names = [each.name for each in await mcp.tools(CONTEXT)]
        assert {"echo", "get-sum", "get-tiny-image", "get-structured-content"} <= set(names)
        assert "hello" in (await called(mcp, "echo", message="hello")).text
        assert "5" in (await called(mcp, "get-sum", a=2, b=3)).text
        wrong = await called(mcp, "get-sum", a="two")
        assert wrong.is_error
        assert "get-sum was not run" in wrong.text
        image = await called(mcp, "get-tiny-image")
        assert [type(part) for part in image.parts if not isinstance(part, Text)] == [Image]
        structured = await called(mcp, "get-structured-content", location="Chicago")
        assert "temperature" in structured.text
        resources = await mcp.resources()
        assert any(each.template for each in resources)
        first = next(each for each in resources if not each.template)
        assert await mcp.read_resource(first.uri)
        prompts = await mcp.prompts()
        assert prompts
        simple = next(each for each in prompts if not any(each.arguments.values()))
        assert await mcp.get_prompt(simple.name)


@either
async def test_server_everything_tells_progress_and_asks(way: str) -> None:
    async with everything(way) as mcp:
        operation = "trigger-long-running-operation"
        agent = caller(mcp, calls=[(operation, {"duration": 0.4, "steps": 4})])
        heard: list[ToolProgress] = []
        agent.on(ToolProgress, heard.append)
        result = await agent.run("Go.")
        assert "completed" in result.messages[2].text
        assert [event.fraction for event in heard][-1:] == [1.0]
        await agent.aclose()

        agent = caller(mcp, calls=[("trigger-elicitation-request", {})])
        paused = await agent.run("Go.")
        assert isinstance(paused, Paused)
        assert "form" in paused.asks[0].data
        result = await agent.resume(paused.checkpoint, answer=False)
        assert "declin" in result.messages[2].text
        await agent.aclose()


async def test_server_filesystem(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("what it says")
    (outside := tmp_path.parent / f"{tmp_path.name}-outside.txt").write_text("secret")
    async with of_npm("mcp-server-filesystem", str(tmp_path)) as mcp:
        read = await called(mcp, "read_text_file", path=str(tmp_path / "a.txt"))
        assert read.text == "what it says"
        await called(mcp, "write_file", path=str(tmp_path / "b.txt"), content="new")
        assert (tmp_path / "b.txt").read_text() == "new"
        listed = await called(mcp, "list_directory", path=str(tmp_path))
        assert "b.txt" in listed.text
        refused = await called(mcp, "read_text_file", path=str(outside))
        assert refused.is_error
        assert "secret" not in refused.text
        allowed = mcp.filtered(("read_*", "list_*"))
        assert not [t.name for t in await allowed.tools(CONTEXT) if t.name.startswith("write")]


async def test_server_memory(tmp_path: Path) -> None:
    mcp = MCPClient.stdio(
        program("node"),
        str(Path(program("mcp-server-memory")).resolve()),
        env={"MEMORY_FILE_PATH": str(tmp_path / "memory.json")},
        start_timeout=60,
    )
    async with mcp:
        entity = {"name": "Ada", "entityType": "person", "observations": ["likes tea"]}
        created = await called(mcp, "create_entities", entities=[entity])
        assert "Ada" in created.text
        found = await called(mcp, "search_nodes", query="tea")
        assert "likes tea" in found.text
        wrong = await called(mcp, "create_entities", entities=[{"name": "Bob"}])
        assert wrong.is_error
        assert "entities[0]" in wrong.text


# ── mcp-testkit ────────────────────────────────────────────────────────────────────────────────


def filled(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that fit a schema: what is required, as its type asks."""
    properties = schema.get("properties", {})
    return {name: _value(properties[name]) for name in schema.get("required", ())}


def _value(schema: Mapping[str, Any]) -> Any:
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _value(schema["anyOf"][0])
    if schema.get("type") == "array":
        return [_value(schema.get("items", {}))] * 2
    small = max(1, schema.get("minimum", 1))
    kinds = {"integer": small, "number": float(small), "boolean": True, "object": {"a": 1}, "null": None}
    return kinds.get(schema.get("type", "string"), "1")


async def test_all_tools_of_mcp_testkit_are_offered_and_answer() -> None:
    mcp = MCPClient.stdio(program("mcp-testkit"), name="testkit", start_timeout=60)
    async with mcp:
        tools = await mcp.tools(CONTEXT)
        assert len(tools) == 65
        calls = [(each.name, filled(each.spec.schema)) for each in tools]
        agent = caller(mcp, calls=calls)
        result = await agent.run("Go.")
        answers = {m.call_id: m for m in result.messages if m.role == "tool"}
        assert len(answers) == 65, "a call without its one result"
        assert all(answer.parts for answer in answers.values())
        assert [m.name for m in answers.values() if m.is_error] == ["echo_error"]
        await agent.aclose()


async def test_many_runs_at_once_on_mcp_testkit() -> None:
    async with MCPClient.stdio(program("mcp-testkit"), start_timeout=60) as mcp:
        names = [each.name for each in await mcp.tools(CONTEXT)]
        [adds, *_] = [name for name in names if "add" in name]
        schema = next(t.spec.schema for t in await mcp.tools(CONTEXT) if t.name == adds)
        agent = caller(mcp, calls=[(adds, filled(schema))])
        results = await asyncio.gather(*(agent.run("Go.") for _ in range(20)))
        assert len({json.dumps(r.messages[2].text) for r in results}) == 1
        await agent.aclose()
