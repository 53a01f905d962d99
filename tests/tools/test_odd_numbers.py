"""Numbers that JSON has not: the call is refused with words that the model can read, and the run goes on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, Paused, tool
from agentfootprint.events import ToolEnded
from agentfootprint.flow import Footprint
from agentfootprint.messages import LLMResponse, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.tools import MockMCPClient
from tests.agent.support import Events, completed, result_of

RAN: list[Any] = []


@tool
def measure(x: float = 0, y: Any = None) -> str:
    """Measures."""
    RAN.append((x, y))
    return "measured"


@tool(approval=True)
def guarded(x: float = 0, y: Any = None) -> str:
    """Measures."""
    RAN.append((x, y))
    return "measured"


def measured_elsewhere(x: float = 0, y: Any = None) -> str:
    """Measures."""
    RAN.append((x, y))
    return "measured"


ODD: tuple[Any, ...] = (
    {"x": math.nan},
    {"x": math.inf},
    {"x": -math.inf},
    {"y": [1, {"a": math.nan}]},
    {"y": {"deep": [[math.inf]]}},
    {"x": "nan"},
    {"x": "Infinity"},
    {"x": "-inf"},
    {"x": "1e999"},
    {"x": 10**5000},
    {"y": [10**5000]},
    {"y": -(10**5000)},
    {"y": 1, "x": math.nan, "z": "é"},
)


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


def asks(name: str, arguments: Any) -> LLMResponse:
    return LLMResponse(tool_calls=[ToolCall("call_1", name, arguments)])


@pytest.mark.parametrize("arguments", ODD, ids=lambda each: ascii(list(each)))
@pytest.mark.parametrize("name", ["measure", "guarded"])
async def test_such_a_call_is_refused_and_the_run_is_recorded(
    arguments: Any, name: str, tmp_path: Path
) -> None:
    seen = Events()
    agent = Agent(
        MockProvider(replies=[asks(name, arguments), "Done."]), tools=[measure, guarded], recorders=[seen]
    )
    result = completed(await agent.run("?"))
    assert RAN == []
    assert [event.outcome for event in seen.of(ToolEnded)] == ["invalid_arguments"]
    told = result_of(result.messages).text
    assert told.startswith(f"{name} was not run, its arguments do not fit:")
    assert "number" in told
    result.footprint.save(tmp_path / "run.footprint.jsonl")
    again = Footprint.load(tmp_path / "run.footprint.jsonl", agent.flow)
    await agent.replay(again)


async def test_the_model_reads_which_number_it_was() -> None:
    agent = Agent(MockProvider(replies=[asks("measure", {"y": [math.nan]}), "Done."]), tools=[measure])
    told = result_of(completed(await agent.run("?")).messages).text
    assert "they hold NaN, which is no number in JSON; send a finite one, or leave it out" in told


async def test_tools_of_a_server_are_not_called_either() -> None:
    server = MockMCPClient([measured_elsewhere])
    agent = Agent(
        MockProvider(replies=[asks("measured_elsewhere", {"y": math.nan}), "Done."]), tools=[server]
    )
    completed(await agent.run("?"))
    assert RAN == []
    assert server.calls == []
    await agent.aclose()


async def test_such_a_call_beside_one_that_asks_does_not_keep_the_run_from_pausing() -> None:
    both = LLMResponse(
        tool_calls=[ToolCall("a", "measure", {"y": math.inf}), ToolCall("b", "guarded", {"x": 1})]
    )
    agent = Agent(MockProvider(replies=[both, "Done."]), tools=[measure, guarded])
    paused = await agent.run("?")
    assert isinstance(paused, Paused)
    completed(await agent.resume(paused.checkpoint, answer=True))
    assert RAN == [(1, None)]


@pytest.mark.parametrize("x", [0.0, -0.0, 1e308, 5e-324, 2**64, -(10**300), 10**3000])
async def test_unusual_numbers_that_json_has_are_arguments(x: Any) -> None:
    agent = Agent(MockProvider(replies=[asks("measure", {"y": x}), "Done."]), tools=[measure])
    result = completed(await agent.run("?"))
    assert [(0, x)] == RAN
    await agent.replay(result.footprint)
