"""A run with others in it is cancelled, wherever it stands: its record reads, its conversation goes on."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import pytest

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.cost import CostBudget, Price, PriceList
from agentfootprint.errors import PermissionHalted
from agentfootprint.flow import Footprint
from agentfootprint.messages import ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.security import Verdict
from agentfootprint.state import InMemoryState
from tests.agent.support import completed, mock_of, whole

from .support import asks, asks_for, billing, call, desk, says

ALICE = MemoryIdentity("acme", "alice", "t-1")
PRICES = PriceList({"mock": Price(input=0, output=1_000_000)})
"""One USD for a token out."""


class Keeps:
    """A recorder that keeps records, by the name of their agent."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Footprint, str]] = {}

    def on_event(self, event: Any) -> None: ...

    def on_footprint(self, footprint: Footprint, agent: str, identity: Any, status: str) -> None:
        self.kept[agent] = (footprint, status)


class Toolset:
    """Tools that take their time to open, to be listed and to run."""

    def __init__(self) -> None:
        self.open = 0

        @tool
        async def look() -> str:
            """Looks."""
            await asyncio.sleep(0)
            return "seen"

        self._look = look

    async def __aenter__(self) -> Self:
        await asyncio.sleep(0)
        self.open += 1
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.open -= 1

    async def tools(self, ctx: Any) -> Any:
        await asyncio.sleep(0)
        return [self._look]


async def guardrail(about: Any) -> str | None:
    await asyncio.sleep(0)
    return None


async def policy(request: Any) -> Verdict:
    await asyncio.sleep(0)
    return Verdict("allow", "all")


class World:
    """An agent that asks one that asks a third one, with all that takes time on the way."""

    def __init__(self) -> None:
        self.keeps, self.toolset = Keeps(), Toolset()
        self.inner = billing(
            asks(ToolCall("t", "look")),
            says("Yes."),
            tools=[self.toolset],
            input_guardrails=[guardrail],
            output_guardrails=[guardrail],
            permissions=policy,
        )
        self.middle = desk(self.inner, name="middle", replies=[asks_for("billing"), says("Yes.")])
        self.outer = desk(
            self.middle,
            replies=[asks_for("middle"), says("All.")],
            recorders=[self.keeps],
            state=InMemoryState(),
            pricing_table=PRICES,
            cost_budget=CostBudget(usd=100, max_output_tokens=1),
        )

    @property
    def agents(self) -> list[Agent[Any, Any]]:
        return [self.inner, self.middle, self.outer]


async def test_wherever_it_is_cancelled() -> None:
    for ticks in range(200):
        world = World()
        running = asyncio.ensure_future(world.outer.run("Go", identity=ALICE))
        for _ in range(ticks):
            await asyncio.sleep(0)
        if running.done():
            assert completed(running.result()).cost == 6
            break
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()
        if world.keeps.kept:
            footprint, status = world.keeps.kept["desk"]
            assert status == "cancelled"
            read = Footprint.from_lines(footprint.to_jsonl().splitlines(), world.outer.flow)
            assert read.narrative() == footprint.narrative()
        again = world.outer.replace(provider=MockProvider(reply=says("And again.")))
        assert whole(completed(await again.run("And now?", identity=ALICE)).messages)
        for agent in world.agents:
            await agent.aclose()
        assert world.toolset.open == 0
    assert ticks > 10


async def test_one_that_is_halted_cancels_those_beside_it_and_all_are_in_the_record() -> None:
    reached = asyncio.Event()

    @tool
    async def waits() -> str:
        """Waits."""
        reached.set()
        await asyncio.Event().wait()
        return "never"

    async def halts(request: Any) -> Verdict:
        await reached.wait()
        return Verdict("halt", "emergency")

    one = billing(asks(ToolCall("t", "waits")), says("Never."), tools=[waits])
    two = billing(
        asks(ToolCall("t", "waits")), says("Never."), tools=[waits], permissions=halts, name="stock"
    )
    agent = desk(one, two, replies=[asks_for("billing", "stock"), says("Never.")], pricing_table=PRICES)
    with pytest.raises(PermissionHalted) as raised:
        await agent.run("Go")
    assert raised.value.checkpoint is None
    assert raised.value.footprint is not None
    found = raised.value.footprint.nested
    assert [each.status for each in found.values()] == ["cancelled", "failed"]


async def test_who_reads_along_may_leave_at_any_time() -> None:
    reached, keeps = asyncio.Event(), Keeps()

    @tool
    async def waits() -> str:
        """Waits."""
        reached.set()
        await asyncio.Event().wait()
        return "never"

    inner = billing(call("waits"), "Never.", tools=[waits], recorders=[keeps])
    async with desk(inner, recorders=[keeps]).stream("Go") as run:
        async for event in run:
            if event.type == "tool.progress":
                break
    assert {agent: status for agent, (_, status) in keeps.kept.items()} == {
        "billing": "cancelled",
        "desk": "cancelled",
    }
    assert reached.is_set() == bool(mock_of(inner).requests)
