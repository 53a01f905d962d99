"""Runs that break off: the error carries what happened and a checkpoint that goes on from there."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from agentfootprint import Agent, tool
from agentfootprint.errors import (
    AgentFootprintError,
    Overloaded,
)
from agentfootprint.messages import LLMRequest
from agentfootprint.providers import MockProvider

from .support import assert_whole, call, go_on, output_of, plain


class Desk:
    """A model that calls `work` a few times and then answers; it fails where it is told to."""

    def __init__(self, iterations: int = 3, **options: Any) -> None:
        self.iterations = iterations
        self.fails: dict[int, Any] = {}
        self.asked: list[int] = []
        self.done: Counter[int] = Counter()
        self.options = options
        self.provider = MockProvider(respond=self._respond)

    def _respond(self, request: LLMRequest) -> Any:
        assert_whole(request.messages)
        turn = sum(message.role == "assistant" for message in request.messages)
        if (error := self.fails.pop(turn, None)) is not None:
            return MockProvider.fail(error)
        self.asked.append(turn)
        if turn == self.iterations:
            return "done"
        return [call("work", n=10 * turn), call("work", n=10 * turn + 1)]

    def agent(self, **options: Any) -> Agent[Any, Any]:
        @tool
        async def work(n: int) -> str:
            self.done[n] += 1
            return f"did {n}"

        return Agent(self.provider, tools=[work], **{**self.options, **options})


async def failing(work: Any, kind: type[AgentFootprintError]) -> Any:
    with pytest.raises(kind) as failed:
        await work
    assert failed.value.footprint is not None
    return failed.value


async def smooth() -> Any:
    return await Desk().agent().run("Go")


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
async def test_a_model_that_fails_in_any_iteration_is_asked_again_and_nothing_else_is(turn: int) -> None:
    desk = Desk()
    desk.fails = {turn: Overloaded("busy")}
    error = await failing(desk.agent().run("Go"), Overloaded)
    assert f"call_model#{turn} failed with Overloaded: busy" in error.footprint.narrative()
    assert error.footprint.status == "failed"
    error = await failing(agent.run("Go"), Overloaded)
    result = await go_on(agent, error.checkpoint)
    assert output_of(result) == "done"
    assert desk.asked == [0, 1, 2, 3]
    assert set(desk.done.values()) == {1}
    assert len(desk.done) == 6
    assert plain(result.messages) == plain((await smooth()).messages)
