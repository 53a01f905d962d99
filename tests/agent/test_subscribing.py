"""Recorders: who hears what of a run, and that none breaks it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from agentfootprint import Agent, tool
from agentfootprint.errors import ConfigurationError
from agentfootprint.events import (
    Event,
    RunEnded,
    TextDelta,
    ToolEnded,
    ToolStarted,
)
from tests.agent.support import Events, call, look, mock_of, scripted


async def test_on_takes_a_pattern_or_a_type() -> None:
    agent = scripted(call("look"), "seen", tools=[look])
    by_pattern: list[str] = []
    by_type: list[ToolEnded] = []
    every: list[str] = []
    agent.on("tool.*", lambda event: by_pattern.append(event.type))
    agent.on(ToolEnded, by_type.append)
    agent.on(Event, lambda event: every.append(event.type))
    await agent.run("Look.")
    assert by_pattern == ["tool.started", "tool.progress", "tool.ended"]
    assert [e.result for e in by_type] == ["seen"]
    assert "run.started" in every
    assert "step.ended" in every


@pytest.mark.parametrize("pattern", ["tol.*", "tool", int, TextDelta("r", 0.0, None, "x")])
def test_on_refuses_what_can_never_match(pattern: Any) -> None:
    with pytest.raises(ConfigurationError):
        scripted("hi").on(pattern, print)


async def test_a_detached_recorder_sees_nothing_of_later_runs() -> None:
    agent = scripted("one", "two", "three")
    seen = Events()
    handle = agent.attach(seen)
    await agent.run("1?")
    handle.detach()
    handle.detach()
    count = len(seen.seen)
    assert count > 0
    await agent.run("2?")
    assert len(seen.seen) == count


async def test_a_recorder_attached_during_a_run_sees_later_runs_only() -> None:
    later = Events()

    @tool
    async def attach() -> str:
        """Attaches a recorder while the run goes on."""
        agent.attach(later)
        return "attached"

    agent: Agent[Any, str] = scripted(call("attach"), "one", "two", tools=[attach])
    await agent.run("1?")
    assert later.seen == []
    second = await agent.run("2?")
    assert {event.run_id for event in later.seen} == {second.run_id}


async def test_a_recorder_of_one_run_sees_that_run_alone() -> None:
    agent = scripted("one", "two", "three")
    mine, always = Events(), Events()
    agent.attach(always)
    first = await agent.run("1?", recorders=[mine])
    await agent.run("2?")
    assert {event.run_id for event in mine.seen} == {first.run_id}
    assert len({event.run_id for event in always.seen}) == 2
    async with agent.stream("3?", recorders=[mine]) as run:
        async for _ in run:
            pass
    assert run.result.run_id in {event.run_id for event in mine.seen}


async def test_a_recorder_of_one_run_must_be_one() -> None:
    with pytest.raises(ConfigurationError, match="no recorder"):
        await scripted("never").run("1?", recorders=[print])  # type: ignore[list-item]


async def test_a_recorder_that_raises_is_counted_and_breaks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def on_event(self, event: Event) -> None:
            raise RuntimeError("sk-secret in a message")

    agent = scripted(call("look"), "seen", tools=[look])
    handle, seen = agent.attach(Broken()), Events()
    agent.attach(seen)
    with caplog.at_level(logging.WARNING):
        result = await agent.run("Look.")
    assert result.output == "seen"
    assert handle.failures == len(seen.seen) > 5
    assert isinstance(handle.last_error, RuntimeError)
    assert len(caplog.records) == 1
    assert "sk-secret" not in caplog.text


async def test_a_broken_recorder_does_not_break_a_stream() -> None:
    class Broken:
        def on_event(self, event: Event) -> None:
            raise RuntimeError

    agent = scripted("Hello.", recorders=[Broken()])
    async with agent.stream("Hi.") as run:
        events = [event async for event in run]
    assert isinstance(events[-1], RunEnded)


async def test_an_async_recorder_gets_everything_in_order_by_the_time_it_is_closed() -> None:
    seen: list[str] = []

    class Slow:
        async def on_event(self, event: Event) -> None:
            await asyncio.sleep(0)
            seen.append(event.type)

    plain = Events()
    async with scripted(call("look"), "seen", tools=[look], recorders=[plain, Slow()]) as agent:
        await agent.run("Look.")
    assert seen == plain.types


async def test_a_recorder_cannot_change_what_the_model_asked() -> None:
    class Vandal:
        def on_event(self, event: Event) -> None:
            if isinstance(event, ToolStarted):
                event.arguments["text"] = "changed"  # type: ignore[index]

    @tool
    async def echo(text: str) -> str:
        """Says it again."""
        return text

    agent = scripted(call("echo", text="said"), "done", tools=[echo], recorders=[Vandal()])
    result = await agent.run("Go.")
    assert result.messages[1].tool_calls[0].arguments == {"text": "said"}
    assert result.messages[2].text == "said"
    assert mock_of(agent).requests[1].messages[1].tool_calls[0].arguments == {"text": "said"}


async def test_enable_attaches_the_recorders_it_is_given() -> None:
    from agentfootprint.observe import chat_bubble_live_status

    lines: list[str] = []
    seen = Events()
    agent = scripted(call("look"), "seen", tools=[look])
    agent.enable.live_status(chat_bubble_live_status(on_line=lines.append))
    agent.enable.observability(seen).detach()
    await agent.run("Look.")
    assert lines[0] == "Thinking…"
    assert lines[-1].startswith("Answered in")
    assert any(line.startswith("Look") for line in lines)
    assert seen.seen == []


async def test_a_recorder_that_says_what_it_wants_gets_nothing_else() -> None:
    class Selective(Events):
        def wants(self, kind: type[Event]) -> bool:
            return kind is RunEnded

    seen = Selective()
    await scripted(call("look"), "seen", tools=[look], recorders=[seen]).run("Look.")
    assert seen.types == ["run.ended"]
