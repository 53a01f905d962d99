"""Without async: scripts, notebooks with a running loop, several threads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, ToolContext, tool
from agentfootprint.errors import InputInvalid, Overloaded, RunError
from agentfootprint.events import RunEnded, TextDelta
from agentfootprint.providers import MockProvider
from tests.agent.support import call, completed, scripted


@tool
async def whoami(ctx: ToolContext[str]) -> str:
    """Who asks."""
    assert ctx.identity is not None
    return f"{ctx.identity.principal} with {ctx.deps}"


def test_a_script_needs_no_loop() -> None:
    me = MemoryIdentity("acme", "alice")
    agent = scripted(call("whoami"), "Alice.", tools=[whoami])
    result = completed(agent.run_sync("Who am I?", identity=me, deps="tea"))
    assert result.output == "Alice."
    assert result.messages[2].text == "alice with tea"


def test_errors_are_those_of_run() -> None:
    with pytest.raises(InputInvalid):
        scripted("never").run_sync("")
    with pytest.raises(Overloaded):
        scripted(MockProvider.fail(Overloaded("busy", provider="mock"))).run_sync("Hi.")


async def test_it_works_where_a_loop_is_running() -> None:
    assert completed(scripted("Hello.").run_sync("Hi.")).output == "Hello."
    with scripted("Hello.").stream_sync("Hi.") as run:
        assert isinstance(list(run)[-1], RunEnded)


def test_many_threads_share_one_agent() -> None:
    agent = Agent(MockProvider(respond=lambda request: f"You said {request.messages[-1].text}"))

    def one(n: int) -> Any:
        if n % 2:
            return agent.run_sync(f"{n}").output
        with agent.stream_sync(f"{n}") as run:
            for _ in run:
                pass
        return run.result.output

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(40))) == [f"You said {n}" for n in range(40)]


def test_a_stream_gives_its_events_and_then_its_result() -> None:
    agent = Agent(MockProvider(reply="It has shipped.", chunk_size=4))
    with agent.stream_sync("Where?") as run:
        with pytest.raises(InputInvalid):
            run.result  # noqa: B018
        texts = [event.text for event in run if isinstance(event, TextDelta)]
    assert texts == ["It h", "as s", "hipp", "ed."]
    assert completed(run.result).output == "It has shipped."


def test_a_stream_raises_the_error_of_its_run_at_its_end() -> None:
    busy = MockProvider.fail(Overloaded("busy", provider="mock"), after_chunks=1)
    seen = []

    def read() -> None:
        with scripted(busy).stream_sync("Hi.") as run:
            for event in run:
                seen.append(event)

    with pytest.raises(Overloaded):
        read()
    assert seen[-1].type == "run.failed"


def test_leaving_a_stream_early_cancels_its_run() -> None:
    agent = Agent(MockProvider(reply="x" * 100_000, chunk_size=1))
    with agent.stream_sync("Go.") as run:
        for event in run:
            if isinstance(event, TextDelta):
                break
    with pytest.raises(RunError, match="cancelled"):
        run.result  # noqa: B018


def test_a_plain_tool_may_run_another_agent_and_wait_for_it() -> None:
    inner = scripted("42")

    @tool
    def ask_the_other() -> str:
        """Asks another agent."""
        return str(inner.run_sync("What is it?").output)

    agent = scripted(call("ask_the_other"), "It is 42.", tools=[ask_the_other])
    assert agent.run_sync("What is it?").messages[2].text == "42"


def test_an_async_tool_that_would_wait_for_itself_is_told_instead_of_hanging() -> None:
    inner = scripted("42")

    @tool
    async def ask_the_other() -> str:
        """Blocks the loop it runs on."""
        return str(inner.run_sync("What is it?").output)

    agent = scripted(call("ask_the_other"), "Sorry.", tools=[ask_the_other])
    result = agent.run_sync("What is it?")
    assert result.messages[2].is_error
    assert "await agent.run" in result.messages[2].text


def test_ctrl_c_stops_the_run_that_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    started, stopped = threading.Event(), threading.Event()

    @tool
    async def hang() -> None:
        """Hangs until it is cancelled."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    import concurrent.futures

    wait = concurrent.futures.Future.result

    def interrupted(self: Any, timeout: float | None = None) -> Any:
        started.wait(10)
        monkeypatch.setattr(concurrent.futures.Future, "result", wait)
        raise KeyboardInterrupt

    monkeypatch.setattr(concurrent.futures.Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scripted(call("hang"), tools=[hang]).run_sync("Go.")
    assert stopped.wait(10)


def test_clients_bound_to_a_loop_keep_working_from_call_to_call() -> None:
    loops: list[Any] = []

    @tool
    async def note() -> str:
        """Notes the loop it runs on."""
        loops.append(asyncio.get_running_loop())
        return "noted"

    agent = scripted(call("note"), "done", call("note"), "done", tools=[note])
    agent.run_sync("One.")
    agent.run_sync("Two.")
    assert loops[0] is loops[1]
