"""Random runs, paused, broken off, stored and resumed at random, end as if nobody had interrupted them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agentfootprint import Agent, ToolContext, ask_human, pause_here, tool
from agentfootprint.errors import Overloaded, ToolError
from agentfootprint.flow import Ask
from agentfootprint.messages import LLMRequest
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState

from .support import ALICE, assert_whole, call, plain, through_text

KINDS = ("plain", "threaded", "guarded", "curious", "curious_threaded", "thorough", "handing_over", "failing")


def decision(question: str, n: int) -> Any:
    """What a person says to a question about call `n`."""
    if question.startswith("Approve"):
        return n % 3 != 0
    return f"{question} Answer {n}."


@dataclass
class World:
    """The tools of one run. With `instant` the answers are there at once and nobody is asked."""

    instant: bool
    done: Counter[str]

    def did(self, kind: str, n: int, *said: Any) -> str:
        self.done[f"{kind} {n}"] += 1
        return " ".join([f"{kind} {n}", *map(str, said)])

    async def effect(self, n: int) -> str:
        self.done[f"effect {n}"] += 1
        return f"effect {n}"

    async def ask(self, question: str, n: int) -> Any:
        return decision(question, n) if self.instant else await ask_human(question)

    @property
    def tools(self) -> list[Any]:
        did, instant = self.did, self.instant

        @tool
        async def plain(n: int) -> str:
            return did("plain", n)

        @tool
        def threaded(n: int) -> str:
            return did("threaded", n)

        @tool(approval=not instant)
        async def guarded(n: int) -> str:
            if instant and not decision("Approve", n):
                raise ToolError("A person declined this call to guarded.")
            return did("guarded", n)

        @tool
        async def curious(n: int) -> str:
            return did("curious", n, await self.ask("Why?", n))

        @tool
        def curious_threaded(ctx: ToolContext[Any], n: int) -> str:
            answer = decision("How?", n) if instant else ctx.ask("How?")
            return did("curious_threaded", n, answer)

        @tool
        async def thorough(ctx: ToolContext[Any], n: int) -> str:
            before = await ctx.call("effect", self.effect, n)
            first = await self.ask("First?", n)
            after = await ctx.call("effect", self.effect, n + 1000)
            second = await self.ask("Second?", n)
            return did("thorough", n, before, first, after, second)

        @tool
        async def handing_over(n: int) -> Any:
            if instant:
                return decision("What is the result?", n)
            return pause_here()

        @tool
        async def failing(n: int) -> str:
            did("failing", n)
            raise RuntimeError(f"failed {n}")

        return [plain, threaded, guarded, curious, curious_threaded, thorough, handing_over, failing]


def calls_of(script: list[list[str]]) -> list[Any]:
    numbers = iter(range(1000))
    return [[call(kind, n=next(numbers)) for kind in turn] for turn in script]


async def smooth(script: list[list[str]]) -> tuple[Any, Counter[str]]:
    world = World(True, Counter())
    provider = MockProvider(replies=[*calls_of(script), "the end"])
    agent: Agent[Any, Any] = Agent(provider, tools=world.tools, state=InMemoryState(), max_iterations=None)
    return await agent.run("Go", identity=ALICE), world.done


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    script=st.lists(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4), min_size=1, max_size=4),
    failures=st.sets(st.integers(0, 8), max_size=3),
    stored=st.lists(st.booleans(), min_size=1, max_size=8),
    fresh=st.lists(st.booleans(), min_size=1, max_size=8),
)
async def test_interrupted_runs_end_like_smooth_ones(
    script: list[list[str]], failures: set[int], stored: list[bool], fresh: list[bool]
) -> None:
    expected, expected_done = await smooth(script)
    world, state = World(False, Counter()), InMemoryState()
    asked = [0]
    replies = iter([*calls_of(script), "the end"])

    def respond(request: LLMRequest) -> Any:
        assert_whole(request.messages)
        asked[0] += 1
        if asked[0] - 1 in failures:
            return MockProvider.fail(Overloaded("busy"))
        return next(replies)

    provider = MockProvider(respond=respond)

    def agent() -> Agent[Any, Any]:
        return Agent(provider, tools=world.tools, state=state, max_iterations=None)

    current = agent()
    stops, result = 0, None
    work: Any = current.run("Go", identity=ALICE)
    while True:
        try:
            result = await work
        except Overloaded as error:
            checkpoint = error.checkpoint
            assert checkpoint is not None
        else:
            if result.status != "paused":
                break
            checkpoint = result.checkpoint
        if stored[stops % len(stored)]:
            checkpoint = through_text(checkpoint)
        if fresh[stops % len(fresh)]:
            current = agent()
        stops += 1
        work = current.resume(checkpoint, answers={ask.id: answer_to(ask) for ask in checkpoint.asks})
    assert result.output == expected.output
    assert plain(result.messages) == plain(expected.messages)
    assert result.usage == expected.usage
    assert world.done == expected_done
    await current.replay(result.footprint)
    assert world.done == expected_done, "a replay does nothing"
    after = await agent().replace(provider=MockProvider(reply="yes")).run("Still there?", identity=ALICE)
    assert plain(after.messages)[: len(expected.messages)] == plain(expected.messages)


def answer_to(ask: Ask) -> Any:
    return decision(ask.question, (ask.arguments or {})["n"])
