"""Attacks with what was permitted before: by a broken run, a halted one, or a sibling of the same name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, Paused, tool
from agentfootprint.errors import AgentFootprintError, PermissionHalted, ResumeRefused
from agentfootprint.flow import one_of
from agentfootprint.messages import LLMResponse, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.security import Ask, Halt, PermissionPolicy, PermissionRequest, Verdict
from agentfootprint.state import InMemoryState
from agentfootprint.tools import ask_human
from tests.agent.support import call, completed
from tests.security.support import ALICE, PAID, desk

CALL = call("refund", order="A-1", amount=50)
ASKING = PermissionPolicy.from_roles({"clerk": ["look", Ask("refund")]}, role="clerk")
READING = PermissionPolicy.from_roles({"clerk": ["look"]}, role="clerk")


async def waiting(reply: Any = CALL) -> tuple[Any, Checkpoint]:
    agent = desk(reply, permissions=ASKING, state=InMemoryState())
    paused = await agent.run("?", identity=ALICE)
    assert isinstance(paused, Paused)
    return agent, Checkpoint.from_json(paused.checkpoint.to_json())


# ── runs that broke off ──────────────────────────────────────────────────────────────────────

BEGUN = asyncio.Event()


@pytest.fixture(autouse=True)
def _nothing_begun() -> None:
    global BEGUN
    BEGUN = asyncio.Event()  # One of an earlier loop cannot be waited for in this one.


@tool
async def careless() -> str:
    """Breaks the run off."""
    await BEGUN.wait()
    try:
        return str(await ask_human("Sure?"))
    except BaseException:
        return "never mind"


@tool(idempotent=True)
async def transfer(order: str) -> str:
    """Pays; what was cut off may be done again."""
    PAID.append(("transfer", order))
    BEGUN.set()
    if len(PAID) == 1:
        await asyncio.Event().wait()
    return "paid"


def anybody(request: PermissionRequest) -> Verdict:
    return Verdict.allow()


@pytest.mark.parametrize(
    "now",
    [
        PermissionPolicy.from_roles({"clerk": ["careless"]}, role="clerk"),
        lambda request: Verdict.ask() if request.tool == "transfer" else Verdict.allow(),
        lambda request: 1 / 0 if request.tool == "transfer" else Verdict.allow(),
        lambda request: Verdict.halt() if request.tool == "transfer" else Verdict.allow(),
    ],
)
async def test_a_permission_from_before_a_run_broke_off_is_not_one_of_now(now: Any) -> None:
    both = LLMResponse(tool_calls=[ToolCall("a", "transfer", {"order": "A"}), ToolCall("b", "careless", {})])
    agent: Agent[Any, str] = Agent(
        MockProvider(replies=[both, "Done."]), tools=[transfer, careless], permissions=anybody
    )
    with pytest.raises(AgentFootprintError) as caught:
        await agent.run("?", identity=ALICE)
    broken = caught.value.checkpoint
    assert broken is not None
    assert PAID == [("transfer", "A")]
    try:
        result = completed(await agent.replace(permissions=now).resume(broken, answer="yes"))
    except PermissionHalted:
        assert PAID == [("transfer", "A")]
        return
    assert PAID == [("transfer", "A")]
    [told] = [message.text for message in result.messages if message.name == "transfer"]
    assert told.startswith("transfer was cut off before it ended: whether it took effect is not known. ")
    await agent.replay(result.footprint)


async def test_a_permission_that_stands_lets_a_run_that_broke_off_go_on() -> None:
    both = LLMResponse(tool_calls=[ToolCall("a", "transfer", {"order": "A"}), ToolCall("b", "careless", {})])
    agent: Agent[Any, str] = Agent(
        MockProvider(replies=[both, "Done."]), tools=[transfer, careless], permissions=anybody
    )
    with pytest.raises(AgentFootprintError) as caught:
        await agent.run("?", identity=ALICE)
    assert caught.value.checkpoint is not None
    result = completed(await agent.resume(caught.value.checkpoint, answer="yes"))
    assert PAID == [("transfer", "A")] * 2
    await agent.replay(result.footprint)


async def test_a_run_that_was_halted_cannot_be_resumed() -> None:
    policy = PermissionPolicy.from_roles({"clerk": ["look", Halt("refund")]}, role="clerk")
    agent = desk(CALL, permissions=policy, state=InMemoryState())
    with pytest.raises(PermissionHalted) as caught:
        await agent.run("?", identity=ALICE)
    assert caught.value.checkpoint is None
    assert caught.value.footprint is not None
    assert PAID == []


@pytest.mark.parametrize("other", [READING, lambda request: Verdict.deny(), lambda request: Verdict.halt()])
async def test_a_sibling_of_the_same_name_holds_a_checkpoint_to_its_own_policy(other: Any) -> None:
    agent, checkpoint = await waiting()
    sibling = agent.replace(permissions=other)
    try:
        completed(await sibling.resume(checkpoint, answer=True))
    except PermissionHalted:
        pass
    assert PAID == []


@pytest.mark.parametrize("other", [None, anybody])
async def test_a_sibling_that_would_ask_nobody_still_needs_the_answer(other: Any) -> None:
    agent, checkpoint = await waiting()
    sibling = agent.replace(permissions=other)
    nothing: list[Any] = [{}, None]
    for answers in nothing:
        with pytest.raises(ResumeRefused):
            await sibling.resume(checkpoint, answers=answers)
    completed(await sibling.resume(checkpoint, answer=False))
    assert PAID == []


@pytest.mark.parametrize("amount", [50, 101, 10**30, -1, True])
async def test_conditions_hold_again_when_an_approval_comes(amount: Any) -> None:
    agent, checkpoint = await waiting(call("refund", order="A-1", amount=amount))
    now = PermissionPolicy.from_roles(
        {"clerk": ["look", Ask("refund", when={"amount": one_of(7)})]}, role="clerk"
    )
    completed(await agent.replace(permissions=now).resume(checkpoint, answer=True))
    assert PAID == []
