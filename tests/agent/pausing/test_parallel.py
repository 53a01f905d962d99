"""Pauses among parallel calls: siblings finish first, nothing is lost, nothing runs twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from agentfootprint import Agent, ToolContext, ask_human, pause_here, tool
from agentfootprint.errors import AnswerRequired
from agentfootprint.providers import MockProvider

from .support import assert_whole, call, go_on, must_pause, output_of, through_text


class Desk:
    """Tools of several kinds that count what they do, by kind and number."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.order: list[str] = []

    def _did(self, what: str) -> str:
        self.done[what] += 1
        self.order.append(what)
        return f"did {what}"

    @property
    def tools(self) -> list[Any]:
        did = self._did

        @tool
        async def plain(n: int) -> str:
            return did(f"plain {n}")

        @tool
        async def slow(n: int) -> str:
            for _ in range(5):
                await asyncio.sleep(0)
            return did(f"slow {n}")

        @tool
        def threaded(n: int) -> str:
            return did(f"threaded {n}")

        @tool(approval="Go ahead?")
        async def guarded(n: int) -> str:
            return did(f"guarded {n}")

        @tool
        async def curious(n: int) -> str:
            answer = await ask_human(f"What about {n}?")
            return did(f"curious {n}") + f": {answer}"

        @tool
        def curious_threaded(ctx: ToolContext[Any], n: int) -> str:
            answer = ctx.ask(f"What about {n}?")
            return did(f"curious_threaded {n}") + f": {answer}"

        @tool
        async def handing_over(n: int) -> Any:
            return pause_here({"n": n})

        return [plain, slow, threaded, guarded, curious, curious_threaded, handing_over]


def agent_of(desk: Desk, *replies: Any) -> Agent[Any, Any]:
    return Agent(MockProvider(replies=[*replies, "done"]), tools=desk.tools)


def last_request(agent: Agent[Any, Any]) -> Any:
    assert isinstance(agent.provider, MockProvider)
    return agent.provider.requests[-1]


async def test_the_siblings_of_a_paused_call_finish_before_the_run_parks() -> None:
    desk = Desk()
    calls = [call("guarded", n=1), call("slow", n=2), call("threaded", n=3), call("plain", n=4)]
    agent = agent_of(desk, calls)
    paused = must_pause(await agent.run("Go"))
    assert desk.done == {"slow 2": 1, "threaded 3": 1, "plain 4": 1}
    result = await go_on(agent, paused, True)
    assert output_of(result) == "done"
    assert desk.done == {"guarded 1": 1, "slow 2": 1, "threaded 3": 1, "plain 4": 1}
    messages = last_request(agent).messages
    assert_whole(messages)
    assert [m.text for m in messages[-4:]] == ["did guarded 1", "did slow 2", "did threaded 3", "did plain 4"]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_wherever_the_paused_call_stands_each_call_has_one_result_in_order(place: int) -> None:
    desk = Desk()
    calls = [call("plain", n=0), call("slow", n=1)]
    calls.insert(place, call("curious", n=9))
    agent = agent_of(desk, calls)
    await go_on(agent, must_pause(await agent.run("Go")), "yes")
    messages = last_request(agent).messages
    assert_whole(messages)
    assert [m.name for m in messages[-3:]] == [one.name for one in calls]
    assert set(desk.done.values()) == {1}


async def test_several_questions_have_ids_of_their_own_and_answers_reach_their_tools() -> None:
    desk = Desk()
    calls = [
        call("curious", n=1),
        call("guarded", n=2),
        call("plain", n=3),
        call("curious", n=4),
        call("guarded", n=5),
        call("curious_threaded", n=6),
        call("handing_over", n=7),
    ]
    agent = agent_of(desk, calls)
    paused = must_pause(await agent.run("Go"))
    assert len({ask.id for ask in paused.asks}) == len(paused.asks) == 6
    assert [ask.tool for ask in paused.asks] == [one.name for one in calls if one.name != "plain"]
    answers: dict[int, Any] = {1: "one", 2: True, 4: "four", 5: False, 6: "six", 7: "seven"}
    given = {ask.id: answers[(ask.arguments or {})["n"]] for ask in reversed(paused.asks)}
    result = await go_on(agent, paused, answers=given)
    assert [m.text for m in result.messages if m.role == "tool"] == [
        "did curious 1: one",
        "did guarded 2",
        "did plain 3",
        "did curious 4: four",
        "A person declined this call to guarded.",
        "did curious_threaded 6: six",
        "seven",
    ]
    assert_whole(result.messages)
    assert set(desk.done.values()) == {1}
    assert "guarded 5" not in desk.done


async def test_several_questions_need_all_their_answers_at_once() -> None:
    desk = Desk()
    agent = agent_of(desk, [call("guarded", n=1), call("guarded", n=2)])
    paused = must_pause(await agent.run("Go"))
    first, second = paused.asks
    with pytest.raises(AnswerRequired, match="Go ahead") as refused:
        await go_on(agent, paused, answers={first.id: True})
    assert second.id in str(refused.value)
    assert desk.done == {}
    await go_on(agent, paused, answers={first.id: True, second.id: True})
    assert desk.done == {"guarded 1": 1, "guarded 2": 1}


async def test_one_call_pauses_again_while_its_siblings_are_done() -> None:
    done: Counter[str] = Counter()

    @tool(approval=True)
    async def twice(n: int) -> str:
        answer = await ask_human(f"Sure about {n}?")
        done[f"twice {n}"] += 1
        return str(answer)

    @tool(approval=True)
    async def once(n: int) -> str:
        done[f"once {n}"] += 1
        return "once"

    agent: Agent[Any, Any] = Agent(
        MockProvider(replies=[[call("twice", n=1), call("once", n=2), call("twice", n=3)], "done"]),
        tools=[twice, once],
    )
    first = must_pause(await agent.run("Go"))
    second = must_pause(await go_on(agent, first, answers={ask.id: True for ask in first.asks}))
    assert done == {"once 2": 1}
    assert [ask.question for ask in second.asks] == ["Sure about 1?", "Sure about 3?"]
    assert not {ask.id for ask in first.asks} & {ask.id for ask in second.asks}
    result = await go_on(agent, second, answers={ask.id: ask.question for ask in second.asks})
    assert done == {"once 2": 1, "twice 1": 1, "twice 3": 1}
    assert [m.text for m in result.messages if m.role == "tool"] == ["Sure about 1?", "once", "Sure about 3?"]
    assert_whole(last_request(agent).messages)


async def test_siblings_that_fail_or_do_not_exist_are_told_beside_a_pause() -> None:
    @tool
    async def failing() -> str:
        raise RuntimeError("out of paper")

    @tool(approval=True)
    async def guarded() -> str:
        return "done it"

    calls = [call("failing"), call("missing"), call("guarded"), call("guarded", wrong=1)]
    agent: Agent[Any, Any] = Agent(MockProvider(replies=[calls, "done"]), tools=[failing, guarded])
    paused = must_pause(await agent.run("Go"))
    assert len(paused.asks) == 1
    result = await go_on(agent, paused, True)
    told = [m for m in result.messages if m.role == "tool"]
    assert [m.is_error for m in told] == [True, True, False, True]
    assert "out of paper" in told[0].text
    assert_whole(last_request(agent).messages)


async def test_pauses_in_later_turns_of_the_model_keep_what_came_before() -> None:
    desk = Desk()
    agent = agent_of(
        desk,
        [call("plain", n=1), call("guarded", n=2)],
        call("plain", n=3),
        [call("curious", n=4), call("slow", n=5)],
    )
    second = must_pause(await go_on(agent, must_pause(await agent.run("Go")), True))
    assert [ask.question for ask in second.asks] == ["What about 4?"]
    result = await go_on(agent, second, "fine")
    assert desk.done == {
        f"{kind} {n}": 1 for n, kind in enumerate(["plain", "guarded", "plain", "curious", "slow"], 1)
    }
    assert_whole(result.messages)
    assert isinstance(agent.provider, MockProvider)
    for request in agent.provider.requests:
        assert_whole(request.messages)
    assert len(agent.provider.requests) == 4


async def test_a_streamed_run_pauses_like_a_plain_one() -> None:
    desk = Desk()
    agent = agent_of(desk, [call("plain", n=1), call("guarded", n=2), call("slow", n=3)])
    kinds = []
    async with agent.stream("Go") as run:
        async for event in run:
            kinds.append(event.type)
    paused = must_pause(run.result)
    assert kinds[-1] == "run.paused"
    result = await agent.resume(through_text(paused), answer=True)
    assert output_of(result) == "done"
    assert desk.done == {"plain 1": 1, "guarded 2": 1, "slow 3": 1}


async def test_runs_of_one_agent_pause_side_by_side_and_do_not_mix() -> None:
    desk = Desk()

    def respond(request: Any) -> Any:
        last = request.messages[-1]
        return call("curious", n=int(last.text)) if last.role == "user" else last.text

    agent: Agent[Any, Any] = Agent(MockProvider(respond=respond), tools=desk.tools)
    paused = [must_pause(one) for one in await asyncio.gather(*(agent.run(str(n)) for n in range(8)))]
    assert len({one.run_id for one in paused}) == 8
    resumed = await asyncio.gather(*(go_on(agent, one, f"answer {n}") for n, one in enumerate(paused)))
    assert [output_of(one) for one in resumed] == [f"did curious {n}: answer {n}" for n in range(8)]
    assert set(desk.done.values()) == {1}
