"""How a run that waited for a person is told."""

from __future__ import annotations

import time

import pytest

from agentfootprint import Agent, Paused, tool
from agentfootprint.providers import MockProvider


@tool(approval=True)
async def refund(order_id: str) -> str:
    """Pays an order back."""
    return f"{order_id} was paid back."


@pytest.fixture
def agent() -> Agent[None, str]:
    asks = MockProvider.call("refund", order_id="A-1")
    return Agent(MockProvider(replies=[asks, "Done."]), tools=[refund])


async def test_the_time_of_a_call_leaves_out_the_wait_for_its_approval(
    agent: Agent[None, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = await agent.run("Refund A-1")
    assert isinstance(paused, Paused)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 5000)
    result = await agent.resume(paused.checkpoint, answer=True, by="dana")
    (line,) = [line for line in result.footprint.narrative().splitlines() if "refund returned" in line]
    assert line.startswith("  refund returned: “A-1 was paid back.” (")
    assert " s)" not in line


async def test_a_decision_names_the_calls_that_were_asked_for(agent: Agent[None, str]) -> None:
    paused = await agent.run("Refund A-1")
    assert isinstance(paused, Paused)
    result = await agent.resume(paused.checkpoint, answer=True)
    told = "chose tools because the model asked for tools (pending is refund(order_id='A-1'), is not empty)"
    assert told in result.footprint.why("output")
