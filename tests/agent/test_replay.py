"""A run again: from its record alone, also from a file, also with something changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, Paused, ToolContext, tool
from agentfootprint.errors import InputInvalid, Overloaded, ReplayDiverged, ReplayRefused, StoreError
from agentfootprint.flow import Footprint
from agentfootprint.flow.rows import canonical_rows
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.messages import Message
from agentfootprint.providers import MockProvider
from agentfootprint.security import PermissionPolicy
from agentfootprint.state import InMemoryState
from tests.agent.support import call, completed, mock_of, scripted

ME = MemoryIdentity("acme", "alice", "t-1")
DONE: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    DONE.clear()


@tool
async def add(a: int, b: int) -> int:
    """Adds."""
    DONE.append("add")
    return a + b


@tool
def fail() -> str:
    """Fails."""
    DONE.append("fail")
    raise ValueError("no")


@tool
async def fetch(ctx: ToolContext[Any], n: int) -> str:
    """Has an effect of its own."""
    DONE.append("fetch")
    ctx.emit("fetching", {"n": n})

    async def get(n: int) -> str:
        DONE.append("get")
        return f"got {n}"

    return str(await ctx.call("get", get, n))


@tool(approval=True)
async def pay(n: int) -> str:
    """Pays."""
    DONE.append("pay")
    return f"paid {n}"


TOOLS = [add, fail, fetch, pay]


def system(run: Any) -> str:
    DONE.append("system")
    return "Count."


def counting(*replies: Any, **options: Any) -> Agent[Any, str]:
    return scripted(*replies, **{"tools": TOOLS, "system": system, **options})


def understudy(agent: Agent[Any, str]) -> Agent[Any, str]:
    """The same agent with a model that must not be asked."""
    return agent.replace(provider=MockProvider(replies=[]))


async def some_run(kind: str) -> tuple[Agent[Any, str], Footprint]:
    if kind == "with stores":
        agent = counting(
            call("add", a=1, b=2),
            "3",
            call("fetch", n=1),
            "4",
            memory=[Memory("m", scope="principal", store=InMemoryStore())],
            state=InMemoryState(),
        )
        await agent.run("1 + 2?", identity=ME)
        return agent, (await agent.run("And now?", identity=ME)).footprint
    if kind == "resumed":
        agent = counting([call("pay", n=1), call("add", a=1, b=2)], "Paid.")
        paused = await agent.run("Pay.")
        assert isinstance(paused, Paused)
        return agent, (await agent.resume(paused.checkpoint, answer=True, by="bob")).footprint
    if kind == "paused":
        agent = counting([call("pay", n=1), call("add", a=1, b=2)], "Paid.")
        return agent, (await agent.run("Pay.")).footprint
    if kind == "stopped":
        agent = counting(call("add", a=1, b=2), call("add", a=1, b=2), "Enough.", max_iterations=2)
        return agent, (await agent.run("Go.")).footprint
    if kind == "streamed":
        agent = counting([call("add", a=1, b=2), call("fail")], "3")
        async with agent.stream("Go.") as run:
            async for _ in run:
                pass
        return agent, run.result.footprint
    agent = counting(
        [call("add", a=1, b=2), call("fail"), call("fetch", n=1), call("no_such"), call("add", a="x")], "3"
    )
    torn = [Message.user("Hi."), Message.tool("c", "t", "orphan")]
    return agent, (await agent.run("Go.", messages=torn)).footprint


KINDS = ["with everything", "with stores", "resumed", "paused", "stopped", "streamed"]


@pytest.mark.parametrize("through", ["memory", "file"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_run_again_is_the_same_and_touches_nothing(kind: str, through: str, tmp_path: Path) -> None:
    agent, footprint = await some_run(kind)
    rows = canonical_rows(footprint.steps)
    if through != "memory":
        path = tmp_path / "run.footprint.jsonl"
        footprint.save(path, redact=False)
        footprint = Footprint.load(path, agent.flow)
    DONE.clear()
    run = await understudy(agent).replay(footprint)
    assert DONE == []
    assert canonical_rows(run.journal) == rows
    assert run.status == ("paused" if kind == "paused" else "done")
    if kind != "paused":
        assert run["output"] == footprint.state["output"]
        assert run.footprint.why("output") == footprint.why("output")


async def test_a_record_read_back_tells_the_same_story(tmp_path: Path) -> None:
    agent, footprint = await some_run("with everything")
    path = tmp_path / "run.footprint.jsonl"
    footprint.save(path)
    loaded = Footprint.load(path, agent.flow)
    assert loaded.narrative() == footprint.narrative()
    assert loaded.why("output") == footprint.why("output")
    assert loaded.to_mermaid() == footprint.to_mermaid()
    assert not loaded.truncated


async def test_a_record_without_the_agent_says_who_can_run_it() -> None:
    _, footprint = await some_run("streamed")
    with pytest.raises(ReplayRefused, match=r"agent\.replay\(footprint\)"):
        await footprint.replay()


async def test_a_record_read_without_the_flow_is_told_and_not_replayed(tmp_path: Path) -> None:
    agent, footprint = await some_run("with everything")
    path = tmp_path / "run.footprint.jsonl"
    footprint.save(path, redact=False)
    loaded = Footprint.load(path)
    assert loaded.state["output"] == "3"
    assert loaded.who_wrote("output")[0].id == "answer#0"
    assert "call_model#1" in loaded.narrative()
    with pytest.raises(ReplayRefused, match=r"Footprint.load\(path, agent.flow\)"):
        await agent.replay(loaded)


async def test_a_record_read_back_stands_in_the_order_in_which_it_happened(tmp_path: Path) -> None:
    agent, footprint = await some_run("with everything")
    path = tmp_path / "run.footprint.jsonl"
    footprint.save(path)
    loaded = Footprint.load(path, agent.flow)
    assert [step.id for step in loaded.steps] == [step.id for step in footprint.steps]
    assert [step.number for step in loaded.steps] == list(range(len(loaded.steps)))
    assert loaded.to_jsonl() == footprint.to_jsonl()


async def test_an_agent_of_another_shape_refuses() -> None:
    agent, footprint = await some_run("streamed")
    memory = [Memory("m", store=InMemoryStore())]
    with pytest.raises(ReplayRefused, match="another shape"):
        await agent.replace(memory=memory).replay(footprint)
    with pytest.raises(ReplayDiverged, match=r"system#0"):
        await agent.replace(system="Count.").replay(footprint)


async def test_an_agent_with_other_tools_or_limits_is_found_out_by_step() -> None:
    agent, footprint = await some_run("stopped")
    with pytest.raises(ReplayDiverged, match=r"call_model#0"):
        await agent.replace(tools=[add]).replay(footprint)
    with pytest.raises((ReplayDiverged, ReplayRefused), match=r"route#1|prepare#2|call_tools#1"):
        await agent.replace(max_iterations=9).replay(footprint)


async def test_a_failed_run_fails_again_in_the_same_place() -> None:
    from agentfootprint.errors import AgentFootprintError

    agent = counting(call("add", a=1, b=2), MockProvider.fail(Overloaded("busy", provider="mock")))
    with pytest.raises(Overloaded) as caught:
        await agent.run("Go.")
    assert caught.value.footprint is not None
    DONE.clear()
    with pytest.raises(AgentFootprintError, match="busy") as again:
        await understudy(agent).replay(caught.value.footprint)
    assert DONE == []
    assert again.value.footprint is not None
    assert again.value.footprint.steps[-1].id == "call_model#1"


async def test_a_memory_that_failed_fails_again_without_being_touched() -> None:
    class Broken(InMemoryStore):
        async def put(self, *arguments: Any, **options: Any) -> Any:
            DONE.append("put")
            raise StoreError("full")

    agent = counting("Hi.", memory=[Memory("m", scope="principal", store=Broken())])
    footprint = (await agent.run("Hi?", identity=ME)).footprint
    DONE.clear()
    run = await understudy(agent).replay(footprint)
    assert (run["output"], DONE) == ("Hi.", [])


# ── what if ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_fork_asks_the_model_again_with_something_changed() -> None:
    agent, footprint = await some_run("streamed")
    other = agent.replace(provider=MockProvider(replies=["Three."]))
    DONE.clear()
    run = await other.fork(footprint, at="call_model#1", set={"system": "Use words."}, effects="live")
    assert run["output"] == "Three."
    assert DONE == [], "what came before the change is answered from the record"
    (request,) = mock_of(other).requests
    assert request.system == "Use words."
    assert [m.role for m in request.messages] == ["user", "assistant", "tool", "tool"]
    assert run.footprint.who_wrote("system")[-1].node == "changed"


async def test_a_fork_may_change_what_a_tool_returned() -> None:
    from agentfootprint.flow import Seq

    agent, footprint = await some_run("streamed")
    history = list(footprint.at("prepare#1")["history"])
    history[2] = Message.tool(str(history[2].call_id), "add", "four")
    other = agent.replace(provider=MockProvider(respond=lambda request: request.messages[2].text))
    run = await other.fork(footprint, at="prepare#1", set={"history": Seq(history)}, effects="live")
    assert run["output"] == "four"


async def test_a_fork_runs_tools_live_only_when_told_to() -> None:
    agent, footprint = await some_run("streamed")
    other = agent.replace(provider=MockProvider(replies=[call("add", a=5, b=5), "10"]))
    DONE.clear()
    run = await other.fork(footprint, at="call_model#0", set={"system": "Count on."}, effects="live")
    assert (run["output"], DONE) == ("10", ["add"])
    with pytest.raises(ReplayRefused, match="call_model#0"):
        await other.fork(footprint, at="call_model#0", set={"system": "Count on."})


async def test_a_fork_where_nothing_changes_needs_no_effects() -> None:
    agent, footprint = await some_run("streamed")
    run = await understudy(agent).fork(footprint, at="call_model#1", set={"iteration": 1})
    assert run["output"] == "3"


async def test_a_fork_leaves_the_record_as_it_was() -> None:
    agent, footprint = await some_run("streamed")
    before = canonical_rows(footprint.steps)
    other = agent.replace(provider=MockProvider(reply="Three."))
    await other.fork(footprint, at="call_model#1", set={"system": "Use words."}, effects="live")
    assert canonical_rows(footprint.steps) == before


async def test_a_fork_needs_a_step_that_is_there() -> None:
    agent, footprint = await some_run("streamed")
    with pytest.raises(InputInvalid, match="call_model#7"):
        await agent.fork(footprint, at="call_model#7", set={})
    with pytest.raises(ReplayRefused, match="beside others"):
        await agent.fork(footprint, at="call_tools#0[1]", set={})


async def test_a_live_fork_has_the_identity_and_the_dependencies_it_is_given() -> None:
    @tool
    async def whoami(ctx: ToolContext[str]) -> str:
        """Who asks."""
        return f"{ctx.identity.principal if ctx.identity else None} with {ctx.deps}"

    agent = scripted(call("whoami"), "Alice.", tools=[whoami])
    footprint = (await agent.run("Who?", identity=ME, deps="tea")).footprint
    other = agent.replace(provider=MockProvider(replies=[[call("whoami"), call("whoami")], "Bob."]))
    bob = MemoryIdentity("acme", "bob")
    run = await other.fork(
        footprint, at="call_model#0", set={"system": "x"}, effects="live", identity=bob, deps="coffee"
    )
    # A call like one that was recorded is answered from the record; the new one is made.
    assert [m.text for m in run["history"][2:4]] == ["alice with tea", "bob with coffee"]


@pytest.mark.parametrize("identity", [None, MemoryIdentity("acme", "alice")])
async def test_a_run_is_replayed_whoever_does_it_and_whatever_may_be_done_by_now(
    identity: MemoryIdentity | None, tmp_path: Path
) -> None:
    roles = {"alice": "reader"}
    policy = PermissionPolicy.from_roles(
        {"reader": ["look"]}, role=lambda whose: roles.get(str(whose and whose.principal))
    )

    @tool
    def look() -> str:
        """Looks."""
        return "seen"

    agent = scripted(call("look"), call("pay", n=1), "Done.", tools=[look, pay], permissions=policy)
    result = completed(await agent.run("?", identity=MemoryIdentity("acme", "alice")))
    result.footprint.save(tmp_path / "run.footprint.jsonl")
    roles.clear()
    await agent.replay(result.footprint, identity=identity)
    await agent.replay(Footprint.load(tmp_path / "run.footprint.jsonl", agent.flow), identity=identity)
