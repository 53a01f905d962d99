"""Whatever agents ask whichever agents: each call has its one result, what was used and paid is the sum of
what models were asked, pauses change nothing, and every record runs again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentfootprint import Agent, Paused, ask_human, tool
from agentfootprint.cost import CostBudget, Price, PriceList
from agentfootprint.errors import RateLimited, ToolError
from agentfootprint.flow import Flow, Footprint, Step
from agentfootprint.messages import LLMResponse, ToolCall, Usage
from agentfootprint.providers import MockProvider
from tests.agent.pausing.support import through_text
from tests.agent.support import mock_of, whole
from tests.flow.support import SETTINGS

PRICES = PriceList({"mock": Price(input=0, output=1_000_000)})
"""One USD for a token out."""
TOKENS = Usage(2, 1)

KINDS = ("do", "fail", "ask", "approve", "decline", "flow", "nothing")


@dataclass(frozen=True)
class Plan:
    """What an agent's model asks for, turn by turn: tools by their kind, other agents by their plan. A model
    that `fails` does so in place of its last words."""

    turns: list[list[str | Plan]] = field(default_factory=list)
    fails: bool = False


def plans(depth: int) -> st.SearchStrategy[Plan]:
    one: st.SearchStrategy[Any] = st.sampled_from(KINDS)
    if depth > 1:
        one = st.one_of(one, plans(depth - 1))
    turns = st.lists(st.lists(one, min_size=1, max_size=3), max_size=2)
    return st.builds(Plan, turns, st.sampled_from([False, False, False, depth < 3]))


class World:
    """Agents of a plan, and what their tools did. Where it does not pause, tools know what people would
    say."""

    def __init__(self, plan: Plan, *, pauses: bool, **options: Any) -> None:
        self.done: list[str] = []
        self.agents: dict[str, Agent[Any, Any]] = {}
        self._answers: dict[str, int] = {}
        self._pauses = pauses
        self._tools = self._made()
        self.outermost = self._agent(plan, "a", **options)

    @property
    def asked(self) -> int:
        """How often models answered."""
        return sum(
            min(len(mock_of(agent).requests), self._answers[name]) for name, agent in self.agents.items()
        )

    def _agent(self, plan: Plan, name: str, **options: Any) -> Agent[Any, Any]:
        tools: list[Any] = [*self._tools]
        replies: list[Any] = []
        for turn, wanted in enumerate(plan.turns):
            calls = []
            for at, one in enumerate(wanted):
                place = f"{name}{turn}{at}"
                if isinstance(one, Plan):
                    inner = self._agent(one, place)
                    tools.append(inner.as_tool(description="Asks."))
                    calls.append(ToolCall(place, place, {"input": place}))
                elif one == "flow":
                    calls.append(ToolCall(place, one, {"input": place}))
                else:
                    calls.append(ToolCall(place, one, {"place": place}))
            replies.append(LLMResponse(tool_calls=calls, usage=TOKENS, model="mock", provider="mock"))
        last: Any = LLMResponse(f"{name} is done", usage=TOKENS, model="mock", provider="mock")
        replies.append(MockProvider.fail(RateLimited("busy")) if plan.fails else last)
        self._answers[name] = len(replies) - plan.fails
        agent: Agent[Any, Any] = Agent(MockProvider(replies=replies), name=name, tools=tools, **options)
        self.agents[name] = agent
        return agent

    def _made(self) -> list[Any]:
        world = self

        @tool
        async def do(place: str) -> str:
            """Does something."""
            world.done.append(place)
            await asyncio.sleep(0)
            return f"{place} done"

        @tool
        async def fail(place: str) -> str:
            """Fails."""
            world.done.append(place)
            raise ToolError(f"{place} failed")

        @tool
        async def ask(place: str) -> str:
            """Asks."""
            said = await ask_human(f"{place}?") if world._pauses else answer_to(f"{place}?")
            world.done.append(place)
            return f"{place}: {said}"

        @tool(approval=(lambda arguments: f"{arguments['place']}?") if self._pauses else None)
        async def approve(place: str) -> str:
            """Is approved."""
            world.done.append(place)
            return f"{place} done"

        @tool(approval=(lambda arguments: f"No: {arguments['place']}?") if self._pauses else None)
        async def decline(place: str) -> str:
            """Is declined."""
            if not world._pauses:
                raise ToolError("A person declined this call to decline.")
            world.done.append(place)
            return "never"

        flow: Flow[Any] = Flow("flow", doc="Asks in its second step.")

        @flow.step(to="second")
        async def first(c: Step[Any]) -> None:
            await c.call("first", world.done.append, c["input"])

        @flow.step
        async def second(c: Step[Any]) -> None:
            question = f"{c['input']}?"
            c["output"] = await c.ask(question) if world._pauses else answer_to(question)

        return [do, fail, ask, approve, decline, flow.as_tool()]


def answer_to(question: str) -> Any:
    return False if question.startswith("No") else f"yes to {question}"


async def walked(world: World) -> Any:
    """The run to its end, through text at each pause."""
    result: Any = await world.outermost.run("Go")
    while isinstance(result, Paused):
        checkpoint = through_text(result)
        answers = {
            ask.id: (
                not ask.question.startswith("No")
                if ask.tool in ("approve", "decline")
                else answer_to(ask.question)
            )
            for ask in checkpoint.asks
        }
        result = await world.outermost.resume(checkpoint, answers=answers)
    return result


def within(footprint: Footprint, name: str = "a") -> Iterator[tuple[str, Footprint]]:
    """All records in a record, by the name of the agent, `flow` for those of flows."""
    yield name, footprint
    for inner in footprint.nested.values():
        if inner.flow == "flow":
            yield "flow", inner
        else:
            yield from within(inner, inner.state["input"].text)


def told(footprint: Footprint) -> list[tuple[str, str | None, str, bool]]:
    return [(m.role, m.call_id, m.text, m.is_error) for m in footprint.state["history"]]


@settings(SETTINGS, max_examples=12)
@given(plan=plans(3))
async def test_whatever_is_asked(plan: Plan) -> None:
    world = World(plan, pauses=True, pricing_table=PRICES)
    result = await walked(world)
    assert result.usage == Usage(2 * world.asked, world.asked)
    assert result.cost == world.asked
    assert len(set(world.done)) == len(world.done)
    for name, footprint in within(result.footprint):
        if name != "flow":
            assert whole(footprint.state["history"])
    straight = World(plan, pauses=False, pricing_table=PRICES)
    other = await walked(straight)
    assert sorted(straight.done) == sorted(world.done)
    for (name, one), (_, two) in zip(within(result.footprint), within(other.footprint), strict=True):
        if name != "flow":
            assert told(one) == told(two)
    lines = result.footprint.to_jsonl(redact=False).splitlines()
    for name, footprint in within(Footprint.from_lines(lines, world.outermost.flow)):
        if name != "flow" and footprint.status == "done":
            await world.agents[name].replay(footprint)
    assert world.asked == straight.asked


@settings(SETTINGS, max_examples=20)
@given(plan=plans(3), usd=st.integers(1, 12), tokens=st.one_of(st.none(), st.integers(1, 30)))
async def test_whatever_is_asked_the_budget_holds(plan: Plan, usd: int, tokens: int | None) -> None:
    budget = CostBudget(usd=usd, max_output_tokens=1)
    world = World(plan, pauses=True, pricing_table=PRICES, cost_budget=budget, max_total_tokens=tokens)
    result = await walked(world)
    assert result.cost == result.usage.output_tokens <= usd
    assert whole(result.messages)
    lines = result.footprint.to_jsonl(redact=False).splitlines()
    for name, footprint in within(Footprint.from_lines(lines, world.outermost.flow)):
        if name != "flow":
            assert whole(footprint.state["history"])
            if footprint.status == "done":
                await world.agents[name].replay(footprint)
