"""When no answer fits; and answers of a type beside other features."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pydantic
import pytest

from agentfootprint import (
    Agent,
    Checkpoint,
    MemoryIdentity,
    OutputFallback,
    Paused,
    Stopped,
    StopReason,
    tool,
)
from agentfootprint.agent import OutputProblem
from agentfootprint.errors import CheckpointMismatch, ConfigurationError, OutputInvalid
from agentfootprint.events import OutputFellBack, RunEnded
from agentfootprint.flow import Footprint
from agentfootprint.flow.rows import canonical_rows
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.messages import LLMResponse
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, completed
from tests.agent.typed import (
    GOOD,
    ME,
    TOOLS_ONLY,
    Held,
    Point,
    Refund,
    asked,
    look,
    pay,
    requests,
)

# ── when nothing fits ───────────────────────────────────────────────────────────────────────────


async def test_recover_stands_in_and_is_checked_like_an_answer() -> None:
    seen, problems = Events(), list[OutputProblem]()

    async def by_hand(problem: OutputProblem) -> Refund:
        problems.append(problem)
        return Refund(amount=Decimal(0), reason="by hand")

    agent = asked("no", "nope", output_fallback=OutputFallback(recover=by_hand), recorders=[seen])
    result = completed(await agent.run("?", identity=ME, deps="deps"))
    assert result.output == Refund(amount=Decimal(0), reason="by hand")
    [problem] = problems
    assert (problem.text, problem.identity, problem.deps) == ("nope", ME, "deps")
    assert "not valid JSON" in problem.problems[0]
    assert [(event.tier, event.failed) for event in seen.of(OutputFellBack)] == [("recover", None)]
    assert "another stands in for it" in result.footprint.narrative()


def raises(problem: OutputProblem) -> Refund:
    raise LookupError("nobody is there")


def does_not_fit(problem: OutputProblem) -> Any:
    return {"amount": "-5", "reason": "no"}


@pytest.mark.parametrize("recover", [raises, does_not_fit, lambda problem: None])
async def test_what_recover_cannot_do_the_canned_answer_does(recover: Any) -> None:
    seen = Events()
    canned = Refund(amount=Decimal(0), reason="manual review")
    agent = asked("no", "nope", output_fallback=OutputFallback(recover, canned), recorders=[seen])
    assert completed(await agent.run("?")).output == canned
    tiers = [(event.tier, event.failed is None) for event in seen.of(OutputFellBack)]
    assert tiers == [("recover", False), ("canned", True)]


async def test_where_recover_fails_and_nothing_is_canned_the_error_is_that_of_the_answer() -> None:
    with pytest.raises(OutputInvalid):
        await asked("no", "nope", output_fallback=OutputFallback(recover=raises)).run("?")


async def test_time_that_runs_out_in_recover_stops_the_run_and_says_so() -> None:
    async def forever(problem: OutputProblem) -> Refund:
        await asyncio.Event().wait()
        raise AssertionError

    seen = Events()
    canned = Refund(amount=Decimal(0), reason="manual review")
    agent = asked(
        "no", "nope", output_fallback=OutputFallback(forever, canned), timeout=0.2, recorders=[seen]
    )
    result = await agent.run("?")
    assert isinstance(result, Stopped)
    assert (result.reason, result.output) == (StopReason.DEADLINE, None)
    [fell] = seen.of(OutputFellBack)
    assert fell.tier == "recover"
    assert "the run's time was over" in fell.failed
    assert seen.of(RunEnded)[0].reason == "deadline"


async def test_a_timeout_of_recover_s_own_is_a_failure_like_any_other() -> None:
    async def slow(problem: OutputProblem) -> Refund:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
        raise AssertionError

    canned = Refund(amount=Decimal(0), reason="manual review")
    agent = asked("no", "nope", output_fallback=OutputFallback(slow, canned), timeout=30)
    assert completed(await agent.run("?")).output == canned


class Noted(pydantic.BaseModel):
    amount: int
    note: str = pydantic.Field(default="", exclude=True)


class Strict(pydantic.BaseModel):
    amount: int
    note: str = pydantic.Field(exclude=True)


class Several(pydantic.BaseModel):
    items: list[Noted]


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (Noted, '{"amount": 1, "note": "torn"}', Noted(amount=1, note="torn")),
        (Noted, '{"amount": 1}', Noted(amount=1)),
        (Strict, '{"amount": 1, "note": "torn"}', Strict(amount=1, note="torn")),
        (
            Several,
            '{"items": [{"amount": 1, "note": "torn"}]}',
            Several(items=[Noted(amount=1, note="torn")]),
        ),
        (list[Noted], '{"value": [{"amount": 1, "note": "torn"}]}', [Noted(amount=1, note="torn")]),
    ],
)
async def test_a_field_that_is_left_out_when_written_has_its_value(
    shape: Any, text: str, value: Any, tmp_path: Path
) -> None:
    agent = asked(text, output=shape)
    result = completed(await agent.run("?"))
    assert result.output == value
    result.footprint.save(tmp_path / "run.footprint.jsonl")
    again = await agent.replay(Footprint.load(tmp_path / "run.footprint.jsonl", agent.flow))
    assert canonical_rows(again.footprint.steps) == canonical_rows(result.footprint.steps)


def test_a_canned_answer_that_would_lose_a_value_is_refused() -> None:
    OutputFallback(canned=Noted(amount=1))
    asked("x", output=Noted, output_fallback=OutputFallback(canned=Noted(amount=1)))
    with pytest.raises(ConfigurationError, match=r"leaves out a field that has a value \(exclude=True\)"):
        asked("x", output=Noted, output_fallback=OutputFallback(canned=Noted(amount=1, note="torn")))


async def test_a_value_that_is_hidden_beside_one_that_is_left_out_is_no_answer() -> None:
    class Login(pydantic.BaseModel):
        password: pydantic.SecretStr
        note: str = pydantic.Field(default="", exclude=True)

    with pytest.raises(OutputInvalid, match="reads back as another Login"):
        await asked('{"password": "hunter2", "note": "x"}', output=Login, output_retries=0).run("?")


def test_what_cannot_work_is_refused_when_the_agent_is_built() -> None:
    wrong: Iterator[tuple[str, Any]] = iter(
        (
            (
                "canned=.* does not fit output=Refund: reason: missing",
                {"output_fallback": OutputFallback(canned={"amount": 1})},
            ),
            ("has no JSON Schema", {"output": Events}),
            ("output_retries", {"output_retries": -1}),
            ("must be an OutputFallback", {"output_fallback": lambda problem: None}),
            ("give output=", {"output": None, "output_fallback": OutputFallback(canned="x")}),
        )
    )
    for message, options in wrong:
        with pytest.raises(ConfigurationError, match=message):
            asked("x", **options)
    with pytest.raises(ConfigurationError, match="answers nothing"):
        OutputFallback()

    @tool(name="final_answer")
    def mine() -> str:
        """Mine."""
        return ""

    with pytest.raises(ConfigurationError, match="rename it"):
        Agent(Held("x", can=TOOLS_ONLY), output=Refund, tools=[mine])


async def test_a_type_that_its_own_json_does_not_give_back_is_an_error_that_says_so() -> None:
    class OneWay(pydantic.BaseModel):
        n: int

        @pydantic.field_serializer("n")
        def _words(self, n: int) -> str:
            return "many"

    with pytest.raises(OutputInvalid, match="does not read back as OneWay"):
        await asked('{"n": 1}', output=OneWay, output_retries=0).run("?")


# ── beside other features ───────────────────────────────────────────────────────────────────────


async def test_a_value_that_its_json_hides_is_no_answer() -> None:
    class Login(pydantic.BaseModel):
        password: pydantic.SecretStr

    with pytest.raises(OutputInvalid, match="reads back as another Login"):
        await asked('{"password": "hunter2"}', output=Login, output_retries=0).run("?")


async def test_a_type_whose_only_field_has_the_name_of_the_frame_is_read_all_the_same() -> None:
    class Single(pydantic.BaseModel):
        value: int

    for text in ('{"value": 3}', '{"value": {"value": 3}}'):
        assert completed(await asked(text, output=Single | Point).run("?")).output == Single(value=3)


async def test_a_filtered_or_declined_answer_is_none_of_the_type() -> None:
    result = await asked(LLMResponse("I will not.", stop_reason="refusal")).run("?")
    assert isinstance(result, Stopped)
    assert (result.reason, result.output) == (StopReason.REFUSAL, None)


async def test_at_a_limit_an_answer_that_does_not_fit_is_none() -> None:
    agent = asked(MockProvider.call("look"), "Enough.", tools=[look], max_iterations=1)
    result = await agent.run("?")
    assert isinstance(result, Stopped)
    assert (result.reason, result.output) == (StopReason.MAX_ITERATIONS, None)


async def test_a_run_that_waits_goes_on_to_its_typed_answer_elsewhere() -> None:
    state = InMemoryState()
    paused = await asked(MockProvider.call("pay"), tools=[pay], state=state).run("?", identity=ME)
    assert isinstance(paused, Paused)
    text = paused.checkpoint.to_json()
    elsewhere = asked("no", GOOD, tools=[pay], state=state)
    with pytest.raises(CheckpointMismatch, match="another type"):
        await asked("x", output=Point, tools=[pay], state=state).resume(
            Checkpoint.from_json(text), answer=True
        )
    result = completed(await elsewhere.resume(Checkpoint.from_json(text), answer=True))
    assert result.output == Refund(amount=Decimal("12.50"), reason="torn")


async def test_a_typed_run_is_replayed_from_its_file(tmp_path: Path) -> None:
    agent = asked(
        "no",
        "nope",
        output_fallback=OutputFallback(recover=lambda problem: Refund(amount=Decimal(1), reason="r")),
    )
    result = completed(await agent.run("?"))
    result.footprint.save(tmp_path / "run.footprint.jsonl")
    stored = Footprint.load(tmp_path / "run.footprint.jsonl", agent.flow)
    again = await agent.replay(stored)
    assert canonical_rows(again.footprint.steps) == canonical_rows(result.footprint.steps)
    assert stored.narrative() == result.footprint.narrative()
    assert '"amount":"1"' in stored.why("output")


async def test_a_conversation_and_a_memory_keep_the_answer_as_it_was_given() -> None:
    memory = Memory("m", scope="principal", store=InMemoryStore())
    agent = asked(GOOD, GOOD, memory=[memory], state=InMemoryState())
    await agent.run("one", identity=ME)
    await agent.run("two", identity=MemoryIdentity("acme", "alice", "t-2"))
    texts = [message.text for message in requests(agent)[1].messages]
    assert texts == ["one", '{"amount":"12.50","reason":"torn"}', "two"]
