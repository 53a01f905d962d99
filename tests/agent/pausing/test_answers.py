"""Answers that are none: refused by name before anything runs, and the right one is taken after."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, ToolContext, ask_human, tool
from agentfootprint.errors import AnswerInvalid, AnswerRequired
from agentfootprint.providers import MockProvider
from tests.servers.json_server import JSONServer

from .desk import Desk, resume_text
from .support import call, must_pause


def endless() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


@pytest.mark.parametrize(
    "answer",
    [
        "yes",
        1,
        None,
        [],
        {},
        {"approved": "yes"},
        {"approved": True, "amount": 99999},
        {"approved": True, "reason": 5},
        {"reason": "because"},
        object(),
        float("nan"),
        {1: True},
        {"approved": {True}},
        endless(),
    ],
)
async def test_an_answer_of_the_wrong_kind_is_refused(answer: Any) -> None:
    desk = Desk()
    text = await desk.paused()
    with pytest.raises(AnswerInvalid, match="Approve refund"):
        await resume_text(desk.agent, text, answer=answer)
    await desk.still_works(text)


@pytest.mark.parametrize("answer", [object(), float("inf"), {1: 2}, {"a": {1, 2}}, endless()])
async def test_an_answer_that_is_no_json_is_refused_also_where_any_answer_goes(answer: Any) -> None:
    got: list[Any] = []

    @tool
    async def wonder() -> str:
        got.append(await ask_human("What?"))
        return "well"

    agent: Agent[Any, Any] = Agent(MockProvider(replies=[call("wonder"), "done"]), tools=[wonder])
    checkpoint = must_pause(await agent.run("Go")).checkpoint
    with pytest.raises(AnswerInvalid, match="no JSON"):
        await agent.resume(checkpoint, answer=answer)
    await agent.resume(checkpoint, answer=(1, {"a": None}))
    assert got == [[1, {"a": None}]], "an answer is what it will be after storing"


async def test_a_missing_answer_is_asked_for_by_its_question() -> None:
    desk = Desk()
    text = await desk.paused()
    without: list[dict[str, Any]] = [{}, {"answers": {}}]
    for options in without:
        with pytest.raises(AnswerRequired, match="Approve refund"):
            await desk.agent.resume(Checkpoint.from_json(text), **options)
    await desk.still_works(text)


async def test_an_answer_to_a_question_nobody_asked_is_refused() -> None:
    desk = Desk()
    text = await desk.paused()
    ask = Checkpoint.from_json(text).asks[0]
    with pytest.raises(AnswerInvalid, match="no open question has the id 'other'"):
        await desk.agent.resume(Checkpoint.from_json(text), answers={ask.id: True, "other": True})
    await desk.still_works(text)


async def test_one_answer_and_answers_by_id_exclude_each_other() -> None:
    desk = Desk()
    text = await desk.paused()
    ask = Checkpoint.from_json(text).asks[0]
    with pytest.raises(AnswerInvalid, match="not both"):
        await desk.agent.resume(Checkpoint.from_json(text), answer=True, answers={ask.id: True})
    await desk.still_works(text)


async def test_one_answer_for_two_questions_is_refused() -> None:
    @tool(approval=True)
    async def refund(amount: int) -> str:
        paid.append(amount)
        return "refunded"

    paid: list[int] = []
    agent: Agent[Any, Any] = Agent(
        MockProvider(replies=[[call("refund", amount=1), call("refund", amount=2)], "done"]), tools=[refund]
    )
    checkpoint = must_pause(await agent.run("Go")).checkpoint
    with pytest.raises(AnswerInvalid, match="there are 2"):
        await agent.resume(checkpoint, answer=True)
    assert paid == []
    await agent.resume(checkpoint, answers={ask.id: True for ask in checkpoint.asks})
    assert sorted(paid) == [1, 2]


class Schemas(JSONServer):
    """Gives schemas away, and counts who asks."""

    asked = 0

    def answer(self, method: str, path: list[str], query: dict[str, list[str]], body: Any) -> Any:
        self.asked += 1
        return {}


async def test_a_schema_that_points_elsewhere_is_not_fetched() -> None:
    async with Schemas() as server:

        @tool
        def wonder(ctx: ToolContext[Any]) -> str:
            return str(ctx.ask("What?", schema={"$ref": f"{server.url}/anything.json"}))

        agent: Agent[Any, Any] = Agent(MockProvider(replies=[call("wonder"), "done"]), tools=[wonder])
        checkpoint = must_pause(await agent.run("Go")).checkpoint
        with pytest.raises(AnswerInvalid, match="not fetched"):
            await agent.resume(checkpoint, answer="anything")
        assert server.asked == 0
