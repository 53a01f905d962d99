"""A server that asks a person during a call: the run pauses, in both generations of the protocol."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel

from agentfootprint import Agent, Checkpoint, Paused
from agentfootprint.errors import AnswerInvalid
from agentfootprint.providers import MockProvider
from agentfootprint.tools import MCPClient
from tests.tools.mcp.calling import until
from tests.tools.mcp.conftest import HTTPServer


class Seat(BaseModel):
    window: bool


async def which_seat() -> Elicit[Seat]:
    return Elicit("Which seat?", Seat)


def make_server(log: list[str]) -> MCPServer:
    server = MCPServer("airline")

    @server.tool()
    async def book(flight: str, seat: Annotated[Seat, Resolve(which_seat)]) -> str:
        """Books a seat."""
        log.append(flight)
        return f"{flight} window={seat.window}"

    @server.tool()
    async def book_live(flight: str, ctx: Context[Any]) -> str:
        """Books a seat, asking while the call is open."""
        log.append(f"asking {flight}")
        answer: Any = await ctx.elicit("Which seat?", Seat)
        log.append(f"{flight} {answer.action}")
        return f"{flight} {answer.action} {getattr(answer, 'data', None)}"

    @server.tool()
    async def sign(ctx: Context[Any]) -> str:
        """Has a paper signed at an address."""
        answer = await ctx.elicit_url("Please sign.", "https://sign.example/1", "e-1")
        return f"signed: {answer.action}"

    return server


def agent_for(mcp: MCPClient, *calls: tuple[str, dict[str, Any]]) -> Agent[Any]:
    made = [MockProvider.call(name, **arguments) for name, arguments in calls]
    return Agent(MockProvider(replies=[made, "done"]), tools=[mcp])


async def paused_by(agent: Agent[Any]) -> Paused:
    paused = await agent.run("Go.")
    assert isinstance(paused, Paused)
    return paused


EITHER = pytest.mark.parametrize(
    ("protocol", "tool"),
    [("2026-07-28", "book"), ("2025-11-25", "book"), ("2025-11-25", "book_live")],
)


@EITHER
async def test_the_run_pauses_and_the_answer_goes_to_the_server(protocol: Any, tool: str) -> None:
    log: list[str] = []
    async with MCPClient.in_memory(make_server(log), protocol=protocol) as mcp:
        agent = agent_for(mcp, (tool, {"flight": "LH1"}))
        paused = await paused_by(agent)
        [ask] = paused.asks
        assert (ask.question, ask.tool) == ("airline asks: Which seat?", tool)
        assert ask.data["server"] == "airline"
        assert ask.data["form"]["properties"] == {"window": {"title": "Window", "type": "boolean"}}
        with pytest.raises(AnswerInvalid):
            await agent.resume(paused.checkpoint, answer={"window": "perhaps"})
        result = await agent.resume(
            Checkpoint.from_json(paused.checkpoint.to_json()), answer={"window": True}
        )
        [answer] = [m for m in result.messages if m.role == "tool"]
        assert "LH1" in answer.text
        assert "window=True" in answer.text
        assert not answer.is_error
        await agent.aclose()


@EITHER
async def test_a_person_can_decline(protocol: Any, tool: str) -> None:
    async with MCPClient.in_memory(make_server([]), protocol=protocol) as mcp:
        agent = agent_for(mcp, (tool, {"flight": "LH1"}))
        paused = await paused_by(agent)
        result = await agent.resume(paused.checkpoint, answer=False)
        assert "decline" in result.messages[2].text
        await agent.aclose()


async def test_the_newer_revision_goes_on_after_the_session_ended() -> None:
    """What the server wants to see again is in the checkpoint: nothing is kept open meanwhile."""
    log: list[str] = []
    server = make_server(log)
    async with MCPClient.in_memory(server, protocol="2026-07-28") as mcp:
        agent = agent_for(mcp, ("book", {"flight": "LH1"}))
        text = (await paused_by(agent)).checkpoint.to_json()
        await agent.aclose()
        await mcp.aclose()
        result = await agent.resume(Checkpoint.from_json(text), answer={"window": False})
        assert result.messages[2].text == "LH1 window=False"
        assert log == ["LH1"]
        await agent.aclose()


async def test_the_older_revision_waits_for_a_while_and_then_says_so() -> None:
    log: list[str] = []
    async with MCPClient.in_memory(make_server(log), protocol="2025-11-25", answer_timeout=0.05) as mcp:
        agent = agent_for(mcp, ("book_live", {"flight": "LH1"}))
        paused = await paused_by(agent)
        await until(lambda: "LH1 cancel" in log)
        await asyncio.sleep(0.2)  # What came of it is no longer kept either.
        result = await agent.resume(paused.checkpoint, answer={"window": True})
        answer = result.messages[2]
        assert answer.is_error
        assert "no longer waited for the answer" in answer.text
        assert log == ["asking LH1", "LH1 cancel"]
        await agent.aclose()


async def test_a_question_that_belongs_to_no_call_for_certain_is_refused() -> None:
    """In the older revision a question does not say during which call it is asked."""
    log: list[str] = []
    async with MCPClient.in_memory(make_server(log), protocol="2025-11-25") as mcp:
        agent = agent_for(mcp, ("book_live", {"flight": "A"}), ("book_live", {"flight": "B"}))
        result = await agent.run("Go.")
        if isinstance(result, Paused):
            result = await agent.resume(result.checkpoint, answer={"window": True})
        answers = [m.text for m in result.messages if m.role == "tool"]
        assert len(answers) == 2
        assert any("cancel" in answer for answer in answers)
        await agent.aclose()


async def test_an_address_to_visit_is_shown_and_confirmed() -> None:
    async with MCPClient.in_memory(make_server([]), protocol="2025-11-25") as mcp:
        agent = agent_for(mcp, ("sign", {}))
        paused = await paused_by(agent)
        [ask] = paused.asks
        assert ask.data == {"server": "airline", "url": "https://sign.example/1"}
        result = await agent.resume(paused.checkpoint, answer=True)
        assert result.messages[2].text == "signed: accept"
        await agent.aclose()


async def test_a_call_that_times_out_while_it_is_asked_is_cancelled() -> None:
    async with MCPClient.in_memory(make_server([]), protocol="2025-11-25", tool_timeout=30) as mcp:
        agent = agent_for(mcp, ("book_live", {"flight": "LH1"}))
        await paused_by(agent)
        await agent.aclose()
    # Nothing of the call is left when its session is closed.
    assert not [
        t for t in asyncio.all_tasks() if "call" in repr(t.get_coro()) and "mcp" in repr(t.get_coro())
    ]


@pytest.mark.parametrize(
    ("form", "asked"),
    [
        ({"type": "object", "properties": {"a": True}}, True),
        ({"type": "object", "properties": {"a": {"type": "no such type"}}}, False),
        ({"type": "object", "properties": {"a": {"$ref": "{url}"}}}, False),
    ],
)
async def test_a_form_that_no_answer_fits_is_not_asked_and_nothing_it_names_is_fetched(
    form: Any, asked: bool, http_server: HTTPServer
) -> None:
    server = MCPServer("odd")
    form = json.loads(json.dumps(form).replace("{url}", http_server.url))

    @server.tool()
    async def ask(ctx: Context[Any]) -> str:
        """Asks oddly."""
        answer = await ctx.session.elicit_form("What?", form)
        return f"the answer was {answer.action}"

    async with MCPClient.in_memory(server, protocol="2025-11-25") as mcp:
        agent = agent_for(mcp, ("ask", {}))
        result = await agent.run("Go.")
        assert isinstance(result, Paused) is asked
        if isinstance(result, Paused):
            result = await agent.resume(result.checkpoint, answer=False)
        assert result.messages[2].text == f"the answer was {'decline' if asked else 'cancel'}"
        await agent.aclose()
    assert not http_server.methods
