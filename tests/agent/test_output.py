"""Answers of a type: read, refused with what is wrong, asked for again; never a crash."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any, Literal

import pydantic
import pytest

from agentfootprint import (
    Agent,
)
from agentfootprint.cost import Price, PriceList
from agentfootprint.errors import OutputInvalid
from agentfootprint.events import OutputRejected
from agentfootprint.messages import LLMResponse, Usage
from agentfootprint.providers import MockProvider
from tests.agent.support import Events, completed, whole
from tests.agent.typed import (
    GOOD,
    Address,
    Colour,
    Named,
    Node,
    Point,
    Refund,
    asked,
    look,
    requests,
)


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
