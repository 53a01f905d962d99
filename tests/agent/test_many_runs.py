"""One agent serves any number of runs of any tenants at once, and keeps nothing of them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, ToolContext, tool
from agentfootprint.events import Event, RunStarted, ToolStarted
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.messages import LLMRequest
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState
from agentfootprint.tools import RunContext
from tests.agent.support import call, completed, scripted, ticks, whole

RUNS = 200


def who(n: int) -> MemoryIdentity:
    return MemoryIdentity(f"tenant-{n % 20}", f"person-{n}", f"conversation-{n}")


async def test_two_hundred_runs_of_many_tenants_see_only_their_own() -> None:
    everybody = asyncio.Barrier(RUNS)

    @tool
    async def look(ctx: ToolContext[dict[str, int]], n: int) -> str:
        """Looks at whose run this is, while all the others do."""
        await everybody.wait()
        assert ctx.identity is not None
        ctx.deps["looked"] += 1
        return f"{n} {ctx.identity.principal} {ctx.deps['n']} {ctx.run_id}"

    @tool
    def look_in_a_thread(ctx: ToolContext[dict[str, int]]) -> str:
        """The same from a thread."""
        assert ctx.identity is not None
        return f"{ctx.identity.principal} {ctx.deps['n']}"

    def model(request: LLMRequest) -> Any:
        n = int(request.messages[0].text)
        said = len(request.messages)
        if said == 1:
            return [call("look", n=n), call("look_in_a_thread")]
        return f"{n}: {request.messages[-2].text}"

    agent = Agent(
        MockProvider(respond=model),
        tools=[look, look_in_a_thread],
        system=lambda run: f"You help {run.identity.principal}.",
        state=InMemoryState(),
        memory=[Memory("m", scope="principal", store=InMemoryStore())],
    )
    events: dict[str, list[Event]] = {}
    agent.on("*", lambda event: events.setdefault(event.run_id, []).append(event))
    deps = [{"n": n, "looked": 0} for n in range(RUNS)]
    async with asyncio.timeout(60):
        runs = await asyncio.gather(*(agent.run(str(n), identity=who(n), deps=deps[n]) for n in range(RUNS)))
    assert [each["looked"] for each in deps] == [1] * RUNS
    for n, run in enumerate(runs):
        result = completed(run)
        assert result.output == f"{n}: {n} person-{n} {n} {result.run_id}"
        assert result.messages[3].text == f"person-{n} {n}"
        assert whole(result.messages)
        told = result.footprint.to_jsonl()
        assert f"person-{n}" in told
        assert f"person-{n + 1}" not in told.replace(f"person-{n}", "")
        own = events[result.run_id]
        assert [e.identity for e in own if isinstance(e, RunStarted)] == [who(n)]
        assert {e.arguments.get("n", n) for e in own if isinstance(e, ToolStarted)} == {n}
    assert len(events) == RUNS


async def test_streams_side_by_side_give_each_reader_its_own_events() -> None:
    agent = Agent(MockProvider(respond=lambda request: f"answer {request.messages[-1].text}", chunk_size=3))

    async def one(n: int) -> set[str | None]:
        async with agent.stream(str(n)) as run:
            ids = {event.run_id async for event in run}
        assert completed(run.result).output == f"answer {n}"
        assert ids == {run.result.run_id}
        return ids

    ids = await asyncio.gather(*(one(n) for n in range(50)))
    assert len(set.union(*ids)) == 50


async def test_toolsets_offer_to_each_identity_its_own_tools() -> None:
    class ByRole:
        def __init__(self) -> None:
            self.asked: list[RunContext] = []

        async def tools(self, ctx: RunContext) -> list[Any]:
            self.asked.append(ctx)
            await asyncio.sleep(0)

            @tool(name=f"for_{ctx.identity.principal if ctx.identity else 'nobody'}")
            async def own() -> str:
                """One's own tool."""
                return str(ctx.deps)

            return [own]

    def model(request: LLMRequest) -> Any:
        if request.messages[-1].role == "tool":
            return request.messages[-1].text
        return call(request.tools[-1].name)

    @tool
    async def common() -> str:
        """For everybody."""
        return "common"

    toolset = ByRole()
    provider = MockProvider(respond=model)
    agent = Agent(provider, tools=[common, toolset])
    people = [MemoryIdentity("acme", name) for name in ("alice", "bob")]
    runs = await asyncio.gather(*(agent.run("Go.", identity=me, deps=n) for n, me in enumerate(people)))
    assert [run.output for run in runs] == ["0", "1"]
    offered = {tuple(spec.name for spec in request.tools) for request in provider.requests}
    assert offered == {("common", "for_alice"), ("common", "for_bob")}
    assert {(c.identity, c.deps, c.run_id) for c in toolset.asked} == {
        (me, n, run.run_id) for n, (me, run) in enumerate(zip(people, runs, strict=True))
    }
    await agent.run("Go.")
    assert provider.requests[-1].tools[-1].name == "for_nobody"


async def test_a_toolset_that_offers_a_name_twice_is_refused_before_anything_runs() -> None:
    from agentfootprint.errors import ConfigurationError

    @tool
    async def same() -> str:
        """One."""
        return "one"

    class Same:
        async def tools(self, ctx: RunContext) -> list[Any]:
            return [same]

    agent = scripted("never", tools=[same, Same()])
    with pytest.raises(ConfigurationError, match="same"):
        await agent.run("Go.")


class Deps:
    """Something that a weak reference can watch."""


@tool
async def use(ctx: ToolContext[Deps]) -> str:
    """Uses the dependencies."""
    return type(ctx.deps).__name__


@tool
def use_in_a_thread(ctx: ToolContext[Deps]) -> str:
    """Uses them in a thread."""
    return type(ctx.deps).__name__


def agents() -> dict[str, Agent[Any, str]]:
    def model(request: LLMRequest) -> Any:
        return [call("use"), call("use")] if request.messages[-1].role == "user" else "done"

    provider = MockProvider(respond=model)
    provider.requests = _Forgetful()
    return {
        "plain": Agent(provider, tools=[use]),
        "observed": Agent(provider, tools=[use], recorders=[_Blind()]),
        "with everything": Agent(
            provider,
            tools=[use],
            state=InMemoryState(),
            memory=[Memory("m", scope="principal", store=InMemoryStore())],
            system=lambda run: "Be brief.",
            timeout=60,
            tool_timeout=60,
        ),
    }


class _Forgetful(list[LLMRequest]):
    """A mock keeps every request; this one does not."""

    def append(self, request: LLMRequest) -> None:
        pass


class _Blind:
    def on_event(self, event: Event) -> None:
        pass


@pytest.mark.parametrize("kind", ["plain", "observed", "with everything"])
async def test_a_finished_run_is_freed_when_its_result_is_dropped(kind: str) -> None:
    agent = agents()[kind]
    gc.collect()
    gc.disable()
    try:
        deps = Deps()
        result = await agent.run("Go.", identity=who(1), deps=deps)
        assert result.output == "done"
        run, watched = weakref.ref(result._run), weakref.ref(deps)
        del deps, result
        await ticks()
        assert run() is None
        assert watched() is None
    finally:
        gc.enable()


async def test_a_streamed_run_is_freed_when_its_stream_is_dropped() -> None:
    agent = agents()["plain"]
    gc.collect()
    gc.disable()
    try:
        deps = Deps()
        async with agent.stream("Go.", deps=deps) as stream:
            async for _ in stream:
                pass
        run, watched = weakref.ref(stream.result._run), weakref.ref(deps)
        del stream, deps, _
        await ticks()
        assert run() is None
        assert watched() is None
    finally:
        gc.enable()


async def test_an_agent_grows_by_nothing_from_run_to_run() -> None:
    agent = agents()["with everything"]

    async def some(n: int) -> None:
        for _ in range(n):
            await agent.run("Go.", identity=who(1), fresh=True)

    def objects() -> int:
        gc.collect()
        # Of what other tests loaded, some types have no module, or one that is no text.
        modules = (str(getattr(type(one), "__module__", "")) for one in gc.get_objects())
        return sum(module.startswith("agentfootprint.flow") for module in modules)

    await some(3)
    before = objects()
    await some(20)
    assert objects() <= before
