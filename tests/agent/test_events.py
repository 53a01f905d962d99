"""Events: every kind is seen from real runs, in order, and a recorder never breaks a run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, Paused, ToolContext, tool
from agentfootprint.agent import OutputFallback
from agentfootprint.cost import Price, PriceList
from agentfootprint.embedders import MockEmbedder
from agentfootprint.errors import Overloaded, StoreUnavailable
from agentfootprint.events import (
    CATALOGUE,
    Emitted,
    Event,
    ModelEnded,
    RunEnded,
    RunStarted,
    ToolEnded,
    ToolProgress,
    ToolStarted,
)
from agentfootprint.memory import InMemoryStore, Memory, Summarize
from agentfootprint.messages import LLMResponse, Message, Reasoning, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.resilience import (
    fallback_provider,
    with_circuit_breaker,
    with_rate_limit,
    with_retry,
)
from agentfootprint.resilience.circuit_breaker import CircuitBreaker
from agentfootprint.retrieval import RAG
from agentfootprint.security import PermissionPolicy
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, call, look, scripted

ME = MemoryIdentity("acme", "alice", "t-1")


@tool
def look_in_a_thread(ctx: ToolContext[Any]) -> str:
    """Looks from a thread, and says so."""
    ctx.progress("in a thread")
    ctx.emit("looked", {"at": "thread"})
    return "seen"


@tool(approval=True)
async def pay() -> str:
    """Pays."""
    return "paid"


class BrokenStore(InMemoryStore):
    async def put(self, *arguments: Any, **options: Any) -> Any:
        raise StoreUnavailable("the store is full")


class BrokenState(InMemoryState):
    async def append(self, *arguments: Any, **options: Any) -> int:
        raise StoreUnavailable("the state is full")


class FlickeringState(InMemoryState):
    """Answers every other question."""

    asked = 0

    async def get(self, *arguments: Any, **options: Any) -> Any:
        self.asked += 1
        if self.asked % 2:
            raise StoreUnavailable("the state flickers")
        return await super().get(*arguments, **options)


async def resilient_ways(recorder: Events) -> None:
    """Runs whose models fail, and are asked again, replaced, left alone, found well, and paid."""
    now = [0.0]
    busy = MockProvider.fail(Overloaded("busy", provider="mock"))
    weak = with_circuit_breaker(
        MockProvider(replies=[busy, "well"]), failure_threshold=1, cooldown=1, clock=lambda: now[0]
    )
    dead = with_retry(MockProvider(reply=busy), max_attempts=2, initial_delay=0)
    agent: Agent[Any, str] = Agent(
        fallback_provider(weak, dead, MockProvider(reply="hi")), recorders=[recorder]
    )
    await agent.run("Hi?")
    now[0] += 2
    await agent.run("Hi?")

    shared = with_circuit_breaker(MockProvider(reply="hi"), state=FlickeringState())
    assert isinstance(shared, CircuitBreaker)
    shared._shared._retry_after = 0
    agent = Agent(shared, recorders=[recorder])
    await agent.run("Hi?")
    await agent.run("Hi?")

    # Its time stands still: the second asks within the interval of the first, however slow the machine.
    slow = with_rate_limit(MockProvider(reply="hi"), requests=1, per=0.01, clock=lambda: now[0])
    prices = PriceList({"mock": Price(input=1, output=1)})
    agent = Agent(slow, recorders=[recorder], pricing_table=prices)
    await agent.run("Hi?")
    await agent.run("Hi?")


async def every_way(recorder: Events) -> None:
    """Runs that between them do everything an agent can do."""

    def agent(*replies: Any, **options: Any) -> Agent[Any, str]:
        tools = [look, look_in_a_thread, pay]
        return scripted(*replies, **{"tools": tools, "recorders": [recorder], **options})

    memory = [Memory("m", scope="principal", store=InMemoryStore())]
    thinking = LLMResponse(parts=[Reasoning("First I look."), ToolCall("c", "look")])
    async with agent(thinking, "seen", state=InMemoryState(), memory=memory).stream(
        "Look.", identity=ME
    ) as run:
        async for _ in run:
            pass
    paying = agent(call("pay"), "Paid.")
    paused = await paying.run("Pay.")
    assert isinstance(paused, Paused)
    await paying.resume(paused.checkpoint, answer=True, by="bob")
    busy = MockProvider.fail(Overloaded("busy", provider="mock"))
    with pytest.raises(Overloaded):
        await agent(busy).run("Hi.")
    await agent(call("look"), "Enough.", max_iterations=1).run("Look.")
    await agent("hi").run("Hi?", messages=[Message.tool("c", "t", "orphan")])
    await resilient_ways(recorder)
    corpus = RAG("m", store=InMemoryStore(), embedder=MockEmbedder())
    await agent("hi", memory=[corpus]).run("Hi?", identity=ME)
    short = Memory("m", store=InMemoryStore(), kind="narrative", strategy=Summarize(keep=1, after=2))
    chatty = agent(*"abc", "They talked.", memory=[short])
    for _ in range(3):
        await chatty.run("Hi?", identity=ME)
    standing_in = OutputFallback(canned=0)
    await agent("no", output=int, output_retries=0, output_fallback=standing_in).run("How many?")
    await agent("hi", input_guardrails=[lambda guarded: "no"]).run("Hi?")
    nobody = PermissionPolicy.from_roles({"nobody": []}, role="nobody")
    await agent(call("look"), "hi", permissions=nobody).run("Look.")
    broken = [Memory("m", scope="principal", store=BrokenStore())]
    await agent("hi", memory=broken, state=BrokenState()).run("Hi?", identity=ME)


@pytest.fixture(scope="module")
async def every_event() -> Events:
    """What was told of runs that do everything."""
    seen = Events()
    await every_way(seen)
    return seen


@pytest.mark.parametrize("name", sorted(CATALOGUE))
async def test_every_event_of_the_catalogue_is_seen_from_real_runs(name: str, every_event: Events) -> None:
    assert name in every_event.types, f"{name} is declared and never told"


def test_the_catalogue_names_every_kind_of_event_once() -> None:
    from agentfootprint import events

    declared = [getattr(events, name) for name in events.__all__]
    kinds = {one for one in declared if isinstance(one, type) and issubclass(one, Event)} - {Event}
    assert set(CATALOGUE.values()) == kinds
    assert len(CATALOGUE) == len(kinds)


async def test_every_event_says_its_run_and_its_time(every_event: Events) -> None:
    assert all(event.run_id and event.at > 1_600_000_000 for event in every_event.seen)
    with_step = {event.type for event in every_event.seen if event.step is not None}
    assert with_step == {name for name in CATALOGUE if not name.startswith("run.")}


async def test_a_run_tells_its_story_in_order() -> None:
    seen = Events()
    memory = [Memory("m", scope="principal", store=InMemoryStore())]
    agent = scripted(
        call("look"), "seen", tools=[look], state=InMemoryState(), memory=memory, recorders=[seen]
    )
    result = await agent.run("Look.", identity=ME)
    story = [event for event in seen.types if event != "step.ended"]
    assert story == [
        "run.started",
        "memory.recalled",
        "context.prepared",
        "model.started",
        "model.ended",
        "route.decided",
        "tool.started",
        "tool.progress",
        "flow.emitted",
        "tool.ended",
        "context.prepared",
        "model.started",
        "model.ended",
        "route.decided",
        "conversation.saved",
        "memory.written",
        "run.ended",
    ]
    assert {event.run_id for event in seen.seen} == {result.run_id}
    times = [event.at for event in seen.seen]
    assert times == sorted(times)
    steps = {step.id for step in result.footprint.steps}
    assert {event.step for event in seen.seen if event.step} <= steps


async def test_every_start_has_its_end_also_when_it_goes_wrong(every_event: Events) -> None:
    for run_id in {event.run_id for event in every_event.seen}:
        types = [event.type for event in every_event.seen if event.run_id == run_id]
        assert types[0] == "run.started"
        assert types.count("run.started") == 1
        ends = [t for t in types if t in ("run.ended", "run.failed", "run.paused")]
        assert len(ends) == 1 + types.count("run.resumed")
        assert types[-1] == ends[-1]
        assert types.count("model.started") == types.count("model.ended") + types.count("model.failed")
        # A call that waits for a person begins again when the run goes on.
        begun = types.count("tool.started") - types.count("run.paused")
        skipped = [e for e in every_event.of(ToolEnded) if e.run_id == run_id and e.outcome == "skipped"]
        assert begun == types.count("tool.ended") - len(skipped)


async def test_what_the_events_say_is_what_happened() -> None:
    seen = Events()
    agent = scripted(
        LLMResponse(tool_calls=(ToolCall("c", "look"),)),
        "seen",
        tools=[look],
        name="support",
        recorders=[seen],
    )
    result = await agent.run("Look.", identity=ME)
    (started,) = seen.of(RunStarted)
    assert (started.agent, started.identity, started.input) == ("support", ME, "Look.")
    (tool_started,) = seen.of(ToolStarted)
    assert (tool_started.tool, tool_started.call_id, dict(tool_started.arguments)) == ("look", "c", {})
    (progress,) = seen.of(ToolProgress)
    assert (progress.tool, progress.call_id, progress.message, progress.fraction) == (
        "look",
        "c",
        "half way",
        0.5,
    )
    (emitted,) = seen.of(Emitted)
    assert (emitted.name, emitted.data) == ("looked", {"at": "order"})
    (ended,) = seen.of(RunEnded)
    assert (ended.status, ended.reason, ended.usage, ended.cost) == ("completed", None, result.usage, None)
    assert ended.duration >= 0
    assert [e.tool_calls for e in seen.of(ModelEnded)] == [1, 0]


async def test_a_thread_tells_on_the_loop_before_its_call_ends() -> None:
    import threading

    threads: set[int] = set()
    agent = scripted(call("look_in_a_thread"), "seen", tools=[look_in_a_thread])
    seen = Events()
    agent.attach(seen)
    agent.on("*", lambda event: threads.add(threading.get_ident()))
    result = await agent.run("Look.")
    own = [t for t in seen.types if t.startswith(("tool.", "flow."))]
    assert own == ["tool.started", "tool.progress", "flow.emitted", "tool.ended"]
    assert threads == {threading.get_ident()}
    # What was emitted is in the record, also when nobody watches.
    quiet = await scripted(call("look_in_a_thread"), "seen", tools=[look_in_a_thread]).run("Look.")
    for one in (result, quiet):
        told = [e.data for step in one.footprint.steps for e in step.events]
        assert told == [{"at": "thread"}]


async def test_a_thread_that_outlives_its_call_tells_nothing_and_breaks_nothing() -> None:
    import threading

    let_go, done = threading.Event(), threading.Event()

    @tool(timeout=0.01)
    def late(ctx: ToolContext[Any]) -> str:
        """Speaks after its time is over."""
        let_go.wait(10)
        try:
            ctx.emit("still here")
            ctx.progress("still here")
        finally:
            done.set()
        return "never read"

    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    seen = Events()
    result = await scripted(call("late"), "ok", tools=[late], recorders=[seen]).run("Go.")
    let_go.set()
    await asyncio.to_thread(done.wait, 10)
    await asyncio.sleep(0)
    assert complaints == []
    assert seen.of(ToolProgress, Emitted) == []
    assert seen.types[-1] == "run.ended"
    assert [event for step in result.footprint.steps for event in step.events] == []
