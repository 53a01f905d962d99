"""Guardrails: finished before the model is asked, and before anybody gets the answer."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, Stopped, StopReason, tool
from agentfootprint.agent import Guarded
from agentfootprint.errors import ConfigurationError
from agentfootprint.events import GuardrailTripped, RunEnded
from agentfootprint.flow import Footprint
from agentfootprint.flow.rows import canonical_rows
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, call, completed, mock_of, scripted

ME = MemoryIdentity("acme", "alice", "t-1")
DONE: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    DONE.clear()


@tool
def look() -> str:
    """Looks."""
    DONE.append("look")
    return "seen"


def no_cards(guarded: Guarded) -> str | None:
    return "a card number" if "4111" in guarded.text else None


async def no_secrets(guarded: Guarded) -> str | None:
    await asyncio.sleep(0)
    return "a secret" if "secret" in guarded.text else None


def fails(guarded: Guarded) -> str | None:
    raise RuntimeError("the classifier is away")


def stopped(result: Any) -> Stopped[str]:
    assert isinstance(result, Stopped), result
    assert (result.reason, result.output) == (StopReason.GUARDRAIL, None)
    return result


@pytest.fixture(params=["plain", "streamed"])
def run(request: pytest.FixtureRequest) -> Any:
    async def go(agent: Agent[Any, str], question: str) -> Any:
        if request.param == "plain":
            return await agent.run(question, identity=ME)
        async with agent.stream(question, identity=ME) as stream:
            async for _ in stream:
                pass
        return stream.result

    return go


async def test_a_question_that_must_not_be_asked_reaches_neither_model_nor_tool_nor_memory(run: Any) -> None:
    seen = Events()
    memory = Memory("m", scope="principal", store=InMemoryStore())
    agent = scripted(
        call("look"),
        "ok",
        tools=[look],
        input_guardrails=[no_secrets, no_cards],
        memory=[memory],
        state=InMemoryState(),
        recorders=[seen],
    )
    result = stopped(await run(agent, "My card is 4111."))
    assert (mock_of(agent).requests, DONE) == ([], [])
    assert [(e.guardrail, e.stage, e.reason) for e in seen.of(GuardrailTripped)] == [
        ("no_cards", "input", "a card number")
    ]
    assert seen.of(RunEnded)[0].reason == "guardrail"
    assert "Guardrail no_cards stopped the run: a card number" in result.footprint.narrative()
    assert (await memory.store.list(ME.scoped("principal"))).entries == ()
    assert completed(await run(agent, "Hello.")).output == "ok"
    assert [message.text for message in mock_of(agent).requests[0].messages] == ["Hello."]


async def test_an_answer_that_must_not_be_given_is_not_given_and_not_kept(run: Any) -> None:
    memory = Memory("m", scope="principal", store=InMemoryStore())
    agent = scripted(
        "the secret is 42", "ok", output_guardrails=[no_secrets], memory=[memory], state=InMemoryState()
    )
    stopped(await run(agent, "What is it?"))
    assert completed(await run(agent, "Hello.")).output == "ok"
    assert [message.text for message in mock_of(agent).requests[1].messages] == ["Hello."]
    assert len((await memory.store.list(ME.scoped("principal"))).entries) == 1


@pytest.mark.parametrize("stage", ["input_guardrails", "output_guardrails"])
async def test_a_guardrail_that_fails_says_no(stage: str) -> None:
    seen = Events()
    agent = scripted("ok", recorders=[seen], **{stage: [fails, lambda guarded: 3]})
    stopped(await agent.run("Hello."))
    assert [event.reason for event in seen.of(GuardrailTripped)] == [
        "it failed with RuntimeError",
        "it returned int, neither a reason nor None",
    ]


async def test_guardrails_of_a_stage_are_asked_at_the_same_time_and_see_whose_run_it_is() -> None:
    both = asyncio.Barrier(2)
    seen: list[Guarded] = []

    async def one(guarded: Guarded) -> None:
        seen.append(guarded)
        await both.wait()

    async def other(guarded: Guarded) -> None:
        await both.wait()

    agent = scripted("ok", input_guardrails=[one, other])
    result = completed(await agent.run("Hello.", identity=ME, deps=7))
    [guarded] = seen
    assert (guarded.stage, guarded.text, guarded.identity, guarded.deps) == ("input", "Hello.", ME, 7)
    assert guarded.run_id == result.run_id
    assert [message.text for message in guarded.messages] == ["Hello."]


async def test_an_answer_of_a_type_is_guarded_as_its_json() -> None:
    seen: list[str] = []

    def note(guarded: Guarded) -> None:
        seen.append(guarded.text)

    agent = scripted("no", '{"value": 3}', output=int, output_guardrails=[note])
    assert completed(await agent.run("How many?")).output == 3  # type: ignore[comparison-overlap]
    assert seen == ["3"]


async def test_what_guardrails_said_is_replayed_without_them(tmp_path: Path) -> None:
    asked: list[str] = []

    def count(guarded: Guarded) -> str | None:
        asked.append(guarded.text)
        return "no" if guarded.stage == "output" else None

    agent = scripted("ok", input_guardrails=[count], output_guardrails=[count])
    result = stopped(await agent.run("Hello."))
    result.footprint.save(tmp_path / "run.footprint.jsonl")
    stored = Footprint.load(tmp_path / "run.footprint.jsonl", agent.flow)
    again = await agent.replay(stored)
    assert canonical_rows(again.footprint.steps) == canonical_rows(result.footprint.steps)
    assert asked == ["Hello.", "ok"]
    assert stored.narrative() == result.footprint.narrative()


def test_what_is_no_guardrail_is_refused() -> None:
    for given, message in (
        ([3], "not int"),
        (no_cards, "give a list"),
        ([no_cards, no_cards], "two functions named 'no_cards'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            scripted("x", input_guardrails=given)


async def test_a_guardrail_that_lets_a_cancellation_out_says_no_and_cancels_nothing() -> None:
    async def lost(guarded: Guarded) -> None:
        raise asyncio.CancelledError

    stopped(await scripted("ok", output_guardrails=[lost]).run("Hello."))


async def never(guarded: Guarded) -> str | None:
    await asyncio.Event().wait()
    return None


def late(guarded: Guarded) -> str | None:
    time.sleep(0.3)  # Blocks, so that the time is over when it has said no.
    return "a secret"


@pytest.mark.parametrize("guardrail", [never, late])
async def test_time_that_runs_out_while_guardrails_look_gives_nobody_the_answer(guardrail: Any) -> None:
    state = InMemoryState()
    agent = scripted("the secret is 42", output_guardrails=[guardrail], timeout=0.2, state=state)
    result = await agent.run("What is it?", identity=ME)
    assert isinstance(result, Stopped)
    assert result.output is None
    after = scripted("ok", state=state)
    await after.run("And now?", identity=ME)
    assert "the secret is 42" not in [message.text for message in mock_of(after).requests[0].messages]


@pytest.mark.parametrize("stage", ["input", "output"])
async def test_whoever_leaves_while_guardrails_look_does_not_get_past_them(stage: str) -> None:
    state, asked = InMemoryState(), asyncio.Event()

    async def slow(guarded: Guarded) -> None:
        asked.set()
        await asyncio.Event().wait()

    agent = scripted("the secret is 42", state=state, **{f"{stage}_guardrails": [slow]})
    running = asyncio.ensure_future(agent.run("Tell secrets.", identity=ME))
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    after = scripted("ok", state=state)
    await after.run("And now?", identity=ME)
    kept = {"input": [], "output": ["Tell secrets."]}[stage]
    assert [message.text for message in mock_of(after).requests[0].messages] == [*kept, "And now?"]


async def test_a_guardrail_does_not_cost_a_turn_that_was_cut_off_among_its_tools_what_they_did() -> None:
    state = InMemoryState()

    @tool
    async def hangs() -> str:
        """Hangs."""
        await asyncio.Event().wait()
        return ""

    agent = scripted(call("hangs"), tools=[hangs], output_guardrails=[no_secrets], timeout=0.2, state=state)
    await agent.run("Go.", identity=ME)
    after = scripted("ok", state=state)
    await after.run("And now?", identity=ME)
    roles = [message.role for message in mock_of(after).requests[0].messages]
    assert roles == ["user", "assistant", "tool", "user"]
