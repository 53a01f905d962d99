"""Answers of a type: held to it by the vendor, a tool or words; asked for again; replaced; never a crash."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest
from typing_extensions import TypedDict

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
from agentfootprint.cost import CostBudget, Price, PriceList
from agentfootprint.errors import CheckpointMismatch, ConfigurationError, OutputInvalid
from agentfootprint.events import OutputFellBack, OutputRejected
from agentfootprint.flow import Footprint
from agentfootprint.flow.rows import canonical_rows
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.messages import LLMRequest, LLMResponse, ToolCall, Usage
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, completed, whole

ME = MemoryIdentity("acme", "alice", "t-1")


class Refund(pydantic.BaseModel):
    amount: Decimal = pydantic.Field(ge=0)
    reason: str


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Address(TypedDict):
    street: str
    number: int


class Named(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=lambda name: name.replace("_n", "N"))
    first_name: str
    age: int = pydantic.Field(alias="years")


class Node(pydantic.BaseModel):
    name: str
    inner: list[Node] = []


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


GOOD = '{"amount": "12.50", "reason": "torn"}'


@tool
def look() -> str:
    """Looks."""
    return "seen"


@tool(approval=True)
def pay() -> str:
    """Pays."""
    return "paid"


class Held(MockProvider):
    """A mock whose vendor can do less."""

    def __init__(self, *replies: Any, can: frozenset[Any]) -> None:
        super().__init__(replies=list(replies))
        self.capabilities = can


TOOLS_ONLY = frozenset({"tools"})
NOTHING: frozenset[Any] = frozenset()


def asked(*replies: Any, output: Any = Refund, **options: Any) -> Agent[Any, Any]:
    return Agent(MockProvider(replies=list(replies)), output=output, **options)


def requests(agent: Agent[Any, Any]) -> list[LLMRequest]:
    assert isinstance(agent.provider, MockProvider)
    return agent.provider.requests


@pytest.fixture(params=["plain", "streamed"])
def run(request: pytest.FixtureRequest) -> Any:
    async def go(agent: Agent[Any, Any], question: str = "How much?", **options: Any) -> Any:
        if request.param == "plain":
            return await agent.run(question, **options)
        async with agent.stream(question, **options) as stream:
            async for _ in stream:
                pass
        return stream.result

    return go


async def test_the_answer_is_of_the_type_and_the_vendor_holds_the_model_to_it(run: Any) -> None:
    agent = asked(GOOD)
    result = await run(agent)
    assert completed(result).output == Refund(amount=Decimal("12.50"), reason="torn")
    [request] = requests(agent)
    assert request.output_schema is not None
    assert set(request.output_schema["properties"]) == {"amount", "reason"}
    assert request.tools == ()


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (Point, '{"x": "1"}', Point(1, 0)),
        (Address, '{"street": "Hill", "number": 3}', {"street": "Hill", "number": 3}),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (list[int], "[1, 2]", [1, 2]),
        (int, '{"value": 3}', 3),
        (int, "3", 3),
        (bool, "true", True),
        (Colour, '{"value": "red"}', Colour.RED),
        (Literal["yes", "no"], '{"value": "no"}', "no"),
        (int | Point, '{"value": {"x": 5}}', Point(5)),
        (Point | None, '{"value": null}', None),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (dict[str, int], '{"value": 1}', {"value": 1}),
        (datetime.date, '{"value": "2026-11-26"}', datetime.date(2026, 11, 26)),
        (tuple[int, str], '{"value": [1, "a"]}', (1, "a")),
        (pydantic.TypeAdapter(int | str), '{"value": "x"}', "x"),
        (list[Point], '{"value": [{"x": 1}]}', [Point(1)]),
        (Named, '{"firstName": "Ann", "years": 5}', Named.model_validate({"firstName": "Ann", "years": 5})),
        (Node, '{"value": {"name": "a", "inner": [{"name": "b"}]}}', Node(name="a", inner=[Node(name="b")])),
    ],
)
async def test_whatever_has_a_json_schema_is_a_type_of_answers(shape: Any, text: str, value: Any) -> None:
    agent = asked(text, output=shape)
    assert completed(await agent.run("?")).output == value
    schema = requests(agent)[0].output_schema
    assert schema is not None
    assert schema["type"] == "object"


@pytest.mark.parametrize(
    "text",
    [
        f"Here it is:\n```json\n{GOOD}\n```\nAnything else?",
        f"```\n{GOOD}\n```",
        f"```{GOOD}```",
        f"The answer is {GOOD}, as you asked.",
        f"\n\n  {GOOD}  \n",
        f"\ufeff{GOOD}".lstrip("\ufeff"),
    ],
)
async def test_words_around_one_answer_are_left_out(text: str) -> None:
    result = completed(await asked(text, output_retries=0).run("?"))
    assert result.output == Refund(amount=Decimal("12.50"), reason="torn")


DEEP = 10_000
MALFORMED: dict[str, Any] = {
    "nothing": "",
    "blank": " \n\t ",
    "prose": "I would give 12.50 back.",
    "two answers": f"{GOOD} or {GOOD}",
    "two fences": f"```json\n{GOOD}\n``` or ```json\n{GOOD}\n```",
    "a footnote": "See [1] and [2].",
    "cut": GOOD[:-5],
    "cut in a fence": f"```json\n{GOOD[:-5]}",
    "single quotes": "{'amount': '1', 'reason': 'x'}",
    "a comma too many": '{"amount": "1", "reason": "x",}',
    "a comment": '{"amount": "1", "reason": "x" // why\n}',
    "a list": f"[{GOOD}]",
    "a string": json.dumps(GOOD),
    "null": "null",
    "a number": "12.5",
    "wrong type": '{"amount": "a lot", "reason": "torn"}',
    "wrong types": '{"amount": [], "reason": {}}',
    "too small": '{"amount": "-1", "reason": "torn"}',
    "missing": '{"amount": "1"}',
    "all missing": "{}",
    "of another name": '{"Amount": "1", "Reason": "x"}',
    "within another": f'{{"refund": {GOOD}}}',
    "not a number": '{"amount": NaN, "reason": "x"}',
    "endless": '{"amount": 1e400, "reason": "x"}',
    "a huge number": '{"amount": ' + "9" * 10_000 + ', "reason": 3}',
    "huge": '{"amount": "1", "reason": "' + "x" * 1_000_001 + '"}',
    "deep lists": "[" * DEEP + "]" * DEEP,
    "deep objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "deep and open": '{"a":' * DEEP,
    "a lone surrogate": '{"amount": "1", "reason": "\\ud800"}',
    "a NUL": "\x00",
    "markup": "<answer><amount>1</amount></answer>",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_answer_is_asked_for_again_and_what_was_paid_is_counted(
    text: str, run: Any
) -> None:
    replies = [LLMResponse(each, usage=Usage(1, 1), model="mock", provider="mock") for each in (text, GOOD)]
    seen = Events()
    prices = PriceList({"mock": Price(input=1_000_000, output=0)})
    agent = asked(*replies, pricing_table=prices, recorders=[seen])
    result = completed(await run(agent))
    assert result.output == Refund(amount=Decimal("12.50"), reason="torn")
    assert result.cost == 2
    assert [event.attempt for event in seen.of(OutputRejected)] == [1]
    [told] = [message.text for message in requests(agent)[1].messages[-1:]]
    assert told.startswith("The answer does not fit:\n- ")
    assert "Expected: {amount: " in told
    assert len(told) < 5_000
    assert whole(result.messages)


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
async def test_a_model_that_does_not_mend_its_answer_ends_in_a_typed_error(text: str) -> None:
    other = json.dumps({"amount": "x", "reason": "y"})
    with pytest.raises(OutputInvalid, match="does not fit output=Refund after 2 attempts") as caught:
        await asked(text, other).run("?")
    assert caught.value.footprint is not None
    assert caught.value.footprint.narrative().count("asked to answer again") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"amount": "a lot", "reason": "torn"}', "amount: should be a valid"),
        ('{"amount": "1"}', "reason: missing, it is required (string)"),
        ('{"amount": "-1", "reason": "x"}', 'amount: should be greater than or equal to 0 (you sent "-1")'),
        (GOOD[:-5], "it is not valid JSON: EOF while parsing a string"),
        ("[1]", "the answer: "),
        ("", "the answer is empty"),
        ("x" * 1_000_001, "the answer has 1000001 characters"),
    ],
)
async def test_the_model_is_told_precisely_what_is_wrong(text: str, told: str) -> None:
    agent = asked(text, GOOD)
    await agent.run("?")
    assert told in requests(agent)[1].messages[-1].text


async def test_a_model_that_repeats_itself_is_not_asked_for_ever() -> None:
    agent = asked(*["no"] * 10, output_retries=9)
    with pytest.raises(OutputInvalid):
        await agent.run("?")
    assert len(requests(agent)) == 2


async def test_the_field_is_named_also_within_the_object_that_holds_what_is_no_object() -> None:
    agent = asked('{"value": {"name": "a", "inner": [{"name": 7}]}}', '{"value": {"name": "a"}}', output=Node)
    await agent.run("?")
    assert "inner[0].name: should be a valid string (you sent 7)" in requests(agent)[1].messages[-1].text


async def test_of_very_many_problems_the_first_are_told() -> None:
    text = json.dumps({"amount": "1", "reason": [0] * 3, **{f"more{n}": n for n in range(5_000)}})

    class Strict(Refund):
        model_config = pydantic.ConfigDict(extra="forbid")

    seen = Events()
    with pytest.raises(OutputInvalid) as caught:
        await asked(text, output=Strict, output_retries=0, recorders=[seen]).run("?")
    assert len(str(caught.value)) < 10_000
    [rejected] = seen.of(OutputRejected)
    assert rejected.problems[-1] == "and 4951 more problems"


async def test_a_check_that_changes_its_mind_ends_in_a_typed_error() -> None:
    left = [None, None]

    class Fickle(pydantic.BaseModel):
        n: int

        @pydantic.field_validator("n")
        @classmethod
        def _twice(cls, n: int) -> int:
            if not left:
                raise ValueError("no more")
            left.pop()
            return n

    with pytest.raises(OutputInvalid, match="cannot be now"):
        await asked('{"n": 1}', output=Fickle).run("?")


async def test_retries_are_as_many_as_were_given_and_keep_to_the_limits_of_the_run() -> None:
    replies = [f"no {n}" for n in range(10)]
    agent = asked(*replies, output_retries=3)
    with pytest.raises(OutputInvalid, match="after 4 attempts"):
        await agent.run("?")
    assert len(requests(agent)) == 4
    agent = asked(*replies, output_retries=9, max_iterations=2)
    with pytest.raises(OutputInvalid, match="after 2 attempts"):
        await agent.run("?")
    counted = [LLMResponse(text, usage=Usage(100, 100)) for text in replies]
    agent = asked(*counted, output_retries=9, max_total_tokens=500)
    with pytest.raises(OutputInvalid, match="after 3 attempts"):
        await agent.run("?")


async def test_tools_run_before_the_answer_and_after_one_that_does_not_fit(run: Any) -> None:
    agent = asked(MockProvider.call("look"), "no", MockProvider.call("look"), GOOD, tools=[look])
    result = completed(await run(agent))
    assert result.output.amount == Decimal("12.50")
    assert [message.role for message in result.messages] == [
        "user", "assistant", "tool", "assistant", "user", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert whole(result.messages)


# ── held to it by a tool, or by words ───────────────────────────────────────────────────────────


def final(**arguments: Any) -> Any:
    return MockProvider.call("final_answer", **arguments)


async def test_where_the_vendor_cannot_a_tool_takes_the_answer(run: Any) -> None:
    provider = Held(
        MockProvider.call("look"), final(amount="x"), final(amount="1", reason="torn"), can=TOOLS_ONLY
    )
    agent: Agent[Any, Refund] = Agent(provider, output=Refund, tools=[look])
    result = completed(await run(agent))
    assert result.output == Refund(amount=Decimal(1), reason="torn")
    assert [spec.name for spec in provider.requests[0].tools] == ["look", "final_answer"]
    assert provider.requests[0].output_schema is None
    assert "final_answer" in str(provider.requests[0].system)
    answers = [message for message in result.messages if message.name == "final_answer"]
    assert [message.is_error for message in answers] == [True, False]
    assert "reason: missing" in answers[0].text
    assert whole(result.messages)


async def test_a_tool_beside_the_final_answer_is_not_run() -> None:
    calls = [ToolCall("1", "look", {}), ToolCall("2", "final_answer", {"amount": "1", "reason": "x"})]
    provider = Held(LLMResponse(tool_calls=calls), can=TOOLS_ONLY)
    result = completed(await Agent(provider, output=Refund, tools=[look]).run("?"))
    assert result.output.amount == 1
    assert [message.is_error for message in result.messages if message.role == "tool"] == [True, False]
    assert whole(result.messages)


@pytest.mark.parametrize("why", ["filtered", "refused"])
async def test_an_answer_by_the_tool_has_one_result_whatever_becomes_of_it(why: str) -> None:
    def final(**arguments: Any) -> LLMResponse:
        return LLMResponse(
            tool_calls=[ToolCall("f-1", "final_answer", arguments)],
            usage=Usage(1000, 1),
            model="mock",
            stop_reason="content_filter" if why == "filtered" else "tool_calls",
        )

    # The budget has room for one answer, which does not fit.
    agent: Agent[Any, Any] = Agent(
        Held(final(amount="x"), final(amount="1"), can=TOOLS_ONLY),
        output=Refund,
        pricing_table=PriceList({"mock": Price(input=1_000_000, output=1_000_000)}),
        cost_budget=CostBudget(usd=1_002, max_output_tokens=1),
    )
    result = await agent.run("?")
    assert isinstance(result, Stopped)
    assert result.output is None
    assert whole(result.messages)


async def test_a_toolset_cannot_take_the_place_of_the_final_answer() -> None:
    class Theirs:
        async def tools(self, context: Any) -> list[Any]:
            return [tool(name="final_answer")(lambda: "theirs")]

    agent: Agent[Any, Any] = Agent(Held("x", can=TOOLS_ONLY), output=Refund, tools=[Theirs()])
    with pytest.raises(ConfigurationError, match="rename it"):
        await agent.run("?")


async def test_an_answer_in_words_is_read_also_where_a_tool_was_wanted() -> None:
    provider = Held("I cannot say.", GOOD, can=TOOLS_ONLY)
    result = completed(await Agent(provider, output=Refund).run("?"))
    assert result.output.reason == "torn"


async def test_where_the_vendor_can_do_nothing_words_ask_for_it(run: Any) -> None:
    provider = Held(GOOD, can=NOTHING)
    agent: Agent[Any, Refund] = Agent(provider, output=Refund, system="Be kind.")
    assert completed(await run(agent)).output.reason == "torn"
    [request] = provider.requests
    assert str(request.system).startswith("Be kind.\n\nGive the final answer as JSON")
    assert '"reason"' in str(request.system)
    assert request.tools == ()


async def test_at_a_limit_the_last_answer_may_still_be_given_by_the_tool() -> None:
    provider = Held(*[MockProvider.call("look")] * 2, final(amount="1", reason="enough"), can=TOOLS_ONLY)
    agent: Agent[Any, Refund] = Agent(provider, output=Refund, tools=[look], max_iterations=2)
    result = await agent.run("?")
    assert isinstance(result, Stopped)
    assert result.output == Refund(amount=Decimal(1), reason="enough")
    assert [spec.name for spec in provider.requests[-1].tools] == ["final_answer"]


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
