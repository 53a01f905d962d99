"""Both revisions of the protocol, over HTTP: the one with sessions, and the one without."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mcp.server import Server
from mcp_types import (
    CallToolResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    Prompt,
    Resource,
    ResourceTemplate,
    TextContent,
)
from mcp_types import Tool as MCPTool

from agentfootprint import Paused
from agentfootprint.messages import Image
from agentfootprint.tools import MCPClient, RunContext, StaticToolset, ToolServerError
from tests.tools.mcp.calling import called, until
from tests.tools.mcp.conftest import PYTHON, HTTPServer
from tests.tools.mcp.server import PIXEL
from tests.tools.mcp.test_asking import agent_for
from tests.tools.mcp.test_asking import make_server as airline

CONTEXT = RunContext(None, None, "r")
OBJECT: dict[str, Any] = {"type": "object", "properties": {}}
TINY = Path(__file__).with_name("tiny_server.py")

both = pytest.mark.parametrize("protocol", ["2025-11-25", "2026-07-28"])


def paged() -> Server[Any]:
    """A server that gives every list in 10 pages, and a result whose data stand in no text."""

    def page(params: Any) -> tuple[Sequence[int], str | None]:
        at = int(params.cursor) if params is not None and params.cursor else 0
        return range(at * 7, at * 7 + 7), str(at + 1) if at < 9 else None

    async def tools(ctx: Any, params: Any) -> ListToolsResult:
        numbers, more = page(params)
        return ListToolsResult(
            tools=[MCPTool(name=f"t{i}", input_schema=OBJECT) for i in numbers], next_cursor=more
        )

    async def resources(ctx: Any, params: Any) -> ListResourcesResult:
        numbers, more = page(params)
        return ListResourcesResult(
            resources=[Resource(uri=f"r://{i}", name=f"r{i}") for i in numbers], next_cursor=more
        )

    async def templates(ctx: Any, params: Any) -> ListResourceTemplatesResult:
        numbers, more = page(params)
        made = [ResourceTemplate(uri_template=f"r://{i}/{{x}}", name=f"r{i}") for i in numbers]
        return ListResourceTemplatesResult(resource_templates=made, next_cursor=more)

    async def prompts(ctx: Any, params: Any) -> ListPromptsResult:
        numbers, more = page(params)
        return ListPromptsResult(prompts=[Prompt(name=f"p{i}") for i in numbers], next_cursor=more)

    async def call(ctx: Any, params: Any) -> CallToolResult:
        said = TextContent(type="text", text=f"{params.name} was called")
        return CallToolResult(content=[said], structured_content={"lines": [1, {"deep": True}]})

    return Server(
        "paged",
        on_list_tools=tools,
        on_list_resources=resources,
        on_list_resource_templates=templates,
        on_list_prompts=prompts,
        on_call_tool=call,
    )


@both
async def test_every_list_in_pages_is_read_to_its_end_and_data_are_told(protocol: Any) -> None:
    server = HTTPServer(lambda: paged().streamable_http_app())
    await server.start()
    async with MCPClient.http(server.url, protocol=protocol) as mcp:
        assert [t.name for t in await mcp.tools(CONTEXT)] == [f"t{i}" for i in range(70)]
        uris = [r.uri for r in await mcp.resources()]
        assert uris == [f"r://{i}" for i in range(70)] + [f"r://{i}/{{x}}" for i in range(70)]
        assert [p.name for p in await mcp.prompts()] == [f"p{i}" for i in range(70)]
        answer = await called(mcp, "t69")
        assert [part.text for part in answer.parts] == [  # type: ignore[union-attr]
            "t69 was called",
            '{"lines":[1,{"deep":true}]}',
        ]
    await server.stop()


@both
async def test_the_revision_that_was_chosen_is_the_one_that_is_spoken(
    http_server: HTTPServer, protocol: Any
) -> None:
    async with MCPClient.http(http_server.url, protocol=protocol) as mcp:
        assert (await called(mcp, "add", a=1, b=2)).text == "3"
    calls = [h for h in http_server.headers if "mcp-protocol-version" in h]
    assert {h["mcp-protocol-version"] for h in calls} == {protocol}
    with_session = [h for h in calls if "mcp-session-id" in h]
    assert bool(with_session) is (protocol == "2025-11-25")


async def test_the_newest_revision_that_a_server_knows_is_taken(
    http_server: HTTPServer, journal: Path
) -> None:
    async with MCPClient.http(http_server.url) as mcp:
        await mcp.tools(CONTEXT)
    assert {h["mcp-protocol-version"] for h in http_server.headers} == {"2026-07-28"}
    async with MCPClient.stdio(PYTHON, str(TINY), str(journal)) as old:
        assert (await called(old, "double", n=2)).text == "4"


async def test_a_server_that_does_not_know_the_revision_is_refused_by_name(journal: Path) -> None:
    mcp = MCPClient.stdio(PYTHON, str(TINY), str(journal), protocol="2026-07-28")
    with pytest.raises(ToolServerError, match="it speaks the revision 2025-11-25, not 2026-07-28"):
        await mcp.tools(CONTEXT)
    assert len(journal.read_text().split()) == 1, "tried again"


@both
async def test_what_is_read_may_be_a_picture(http_server: HTTPServer, protocol: Any) -> None:
    async with MCPClient.http(http_server.url, protocol=protocol) as mcp:
        [part] = await mcp.read_resource("pictures://one")
    assert isinstance(part, Image)
    assert base64.b64decode(part.data or "") == base64.b64decode(PIXEL)


@both
async def test_a_question_over_http_pauses_the_run(protocol: Any) -> None:
    server = HTTPServer(lambda: airline([]).streamable_http_app())
    await server.start()
    async with MCPClient.http(server.url, protocol=protocol) as mcp:
        agent = agent_for(mcp, ("book", {"flight": "LH1"}))
        paused = await agent.run("Go.")
        assert isinstance(paused, Paused)
        result = await agent.resume(paused.checkpoint, answer={"window": True})
        assert result.messages[2].text == "LH1 window=True"
        await agent.aclose()
    await server.stop()


@both
async def test_a_pinned_tool_that_changes_between_the_menu_and_the_call_is_not_called(
    http_server: HTTPServer, journal: Path, protocol: Any
) -> None:
    async with MCPClient.http(http_server.url, protocol=protocol) as mcp:
        approved = await mcp.digests()
    async with MCPClient.http(http_server.url, protocol=protocol, pin=approved, refresh=3600) as mcp:
        menu = {each.name: each for each in await mcp.tools(CONTEXT)}
        first = await called(StaticToolset([menu["add"]]), "add", a=1, b=2)
        assert first.text == "3"

        async def heard() -> bool:
            await called(StaticToolset([menu["swap"]]), "swap")
            return (await mcp.digests())["add"] != approved["add"]

        await until(heard)
        refused = await called(StaticToolset([menu["add"]]), "add", a=3, b=4)
        assert refused.text == "add was not run: its server changed it, and the change is not approved."
        assert "add 3 4" not in journal.read_text()
        # Another that did not change is called.
        assert (await called(StaticToolset([menu["files_read"]]), "files_read", path="x")).text == "text of x"
        with pytest.raises(ToolServerError, match="declares 1 tools otherwise"):
            await mcp.tools(CONTEXT)
