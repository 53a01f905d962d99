"""Attacks on approvals: the guarded tool must not run as it must not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, MemoryIdentity, Paused, tool
from agentfootprint.errors import (
    AgentFootprintError,
    CheckpointExpired,
    CheckpointMismatch,
    CheckpointUsed,
    PermissionHalted,
    ResumeRefused,
)
from agentfootprint.flow import one_of
from agentfootprint.providers import MockProvider
from agentfootprint.security import Ask, Halt, PermissionPolicy, PermissionRequest, Verdict
from agentfootprint.state import InMemoryState
from agentfootprint.tools import ask_human
from tests.agent.support import call, completed
from tests.security.support import ALICE, MALLORY, PAID, asks_for, desk, explodes

CALL = call("refund", order="A-1", amount=50)

ASKING = PermissionPolicy.from_roles({"clerk": ["look", Ask("refund")]}, role="clerk")


async def waiting(state: Any, who: MemoryIdentity = ALICE, **options: Any) -> tuple[Agent[Any, str], str]:
    """A run that waits for an approval of 50, as text."""
    agent = desk(CALL, permissions=options.pop("permissions", ASKING), state=state, **options)
    paused = await agent.run("?", identity=who)
    assert isinstance(paused, Paused)
    assert paused.asks[0].tool == "refund"
    return agent, paused.checkpoint.to_json()


def forged(change: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    def forge(text: str) -> str:
        data = json.loads(text)
        change(data)
        return json.dumps(data)

    return forge


def swapped(old: str, new: str) -> Callable[[str], str]:
    def forge(text: str) -> str:
        assert old in text, f"{old!r} is not in the checkpoint"
        return text.replace(old, new)

    return forge


FORGERIES: dict[str, Callable[[str], str]] = {
    "another tenant": swapped('"acme"', '"evil"'),
    "another person": swapped('"alice"', '"mallory"'),
    "no identity": forged(lambda data: data.update(identity=None)),
    "another agent": forged(lambda data: data.update(agent="other")),
    "a later end": forged(lambda data: data.update(expires=9e12)),
    "no end": forged(lambda data: data.update(expires=None)),
    "another creation": forged(lambda data: data.update(created=0)),
    "no tools": forged(lambda data: data.update(tools={})),
    "another fingerprint": forged(lambda data: data.update(tools={"refund": "x"})),
    "a signature": forged(lambda data: data.update(signature="0" * 64)),
    "another version": forged(lambda data: data.update(version=999)),
    "no question": forged(lambda data: data.update(asks=[])),
    "nothing": lambda text: "{}",
    "half": lambda text: text[: len(text) // 2],
    "no JSON": lambda text: "approved",
    "deep": lambda text: "[" * 50_000,
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("key", [None, "sealed"])
async def test_a_forged_checkpoint_runs_nothing(forge: Callable[[str], str], key: str | None) -> None:
    agent, text = await waiting(InMemoryState(), checkpoint_key=key)
    with pytest.raises(AgentFootprintError):
        await agent.resume(Checkpoint.from_json(forge(text)), answer=True)
    assert PAID == []


@pytest.mark.parametrize("key", [None, "sealed"])
async def test_an_amount_that_was_changed_after_the_question_is_not_paid(key: str | None) -> None:
    agent, text = await waiting(InMemoryState(), checkpoint_key=key)
    data = json.loads(text)
    texts = json.dumps(data)
    for old, new in (
        ('"amount": 50', '"amount": 99999'),
        ('\\"amount\\": 50', '\\"amount\\": 99999'),
        ("50", "99999"),
    ):
        if old not in texts:
            continue
        with pytest.raises(AgentFootprintError):
            await agent.resume(Checkpoint.from_json(texts.replace(old, new)), answer=True)
    assert PAID == []


ANSWERS: tuple[Any, ...] = (
    "yes", "true", 1, 1.0, [True], {}, {"approved": "true"}, {"approved": 1}, {"approved": None},
    {"approved": True, "amount": 9}, {"approve": True}, {"Approved": True}, None, b"1",
)  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
async def test_what_is_no_approval_approves_nothing_and_uses_nothing_up(answer: Any) -> None:
    agent, text = await waiting(InMemoryState())
    with pytest.raises(AgentFootprintError):
        await agent.resume(Checkpoint.from_json(text), answer=answer)
    assert PAID == []
    completed(await agent.resume(Checkpoint.from_json(text), answer=True))
    assert PAID == [("A-1", 50)]


@pytest.mark.parametrize("answer", [False, {"approved": False}, {"approved": False, "reason": "no"}])
async def test_a_refusal_is_final(answer: Any) -> None:
    agent, text = await waiting(InMemoryState())
    completed(await agent.resume(Checkpoint.from_json(text), answer=answer))
    with pytest.raises(CheckpointUsed):
        await agent.resume(Checkpoint.from_json(text), answer=True)
    assert PAID == []


async def test_an_approval_is_used_once_however_many_use_it_at_once() -> None:
    state = InMemoryState()
    agent, text = await waiting(state)
    others = [desk(permissions=ASKING, state=state) for _ in range(10)]
    tries = (each.resume(Checkpoint.from_json(text), answer=True) for each in [agent, *others])
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, CheckpointUsed) for each in results) == 10
    assert PAID == [("A-1", 50)]


async def test_an_approval_of_one_tenant_is_none_of_another() -> None:
    state = InMemoryState()
    agent, text = await waiting(state)
    _, theirs = await waiting(state, MALLORY)
    for checkpoint in (text, theirs):
        whose = MALLORY if checkpoint is text else ALICE
        with pytest.raises(CheckpointMismatch):
            await agent.resume(Checkpoint.from_json(checkpoint), answer=True, identity=whose)
    assert PAID == []


async def test_an_approval_of_one_agent_or_store_is_none_of_another() -> None:
    agent, text = await waiting(InMemoryState())
    for other in (agent.replace(name="other"), agent.replace(state=InMemoryState())):
        with pytest.raises(ResumeRefused):
            await other.resume(Checkpoint.from_json(text), answer=True)
    assert PAID == []


@pytest.mark.parametrize(
    "now",
    [
        PermissionPolicy.from_roles({"clerk": ["look"]}, role="clerk"),
        PermissionPolicy.from_roles(
            {"clerk": ["look", Ask("refund", when={"order": one_of("B-9")})]}, role="clerk"
        ),
        explodes,
    ],
)
async def test_a_role_that_was_taken_away_meanwhile_is_gone_whatever_was_approved(now: Any) -> None:
    agent, text = await waiting(InMemoryState())
    completed(await agent.replace(permissions=now).resume(Checkpoint.from_json(text), answer=True))
    assert PAID == []


async def test_a_halt_that_came_meanwhile_ends_the_run() -> None:
    agent, text = await waiting(InMemoryState())
    now = PermissionPolicy.from_roles({"clerk": [Halt("refund")]}, role="clerk")
    with pytest.raises(PermissionHalted):
        await agent.replace(permissions=now).resume(Checkpoint.from_json(text), answer=True)
    assert PAID == []


async def test_an_approval_whose_time_is_over_is_none() -> None:
    agent, text = await waiting(InMemoryState(), checkpoint_ttl=0.001)
    await asyncio.sleep(0.01)
    with pytest.raises(CheckpointExpired):
        await agent.resume(Checkpoint.from_json(text), answer=True)
    assert PAID == []


@pytest.mark.parametrize("by", [None, "alice"])
async def test_who_asked_does_not_approve_where_another_must(by: str | None) -> None:
    agent, text = await waiting(InMemoryState(), approver_differs=True)
    for answer in (True, False):
        with pytest.raises(AgentFootprintError, match="somebody else"):
            await agent.resume(Checkpoint.from_json(text), answer=answer, by=by)
    assert PAID == []
    completed(await agent.resume(Checkpoint.from_json(text), answer=True, by="bob"))
    assert PAID == [("A-1", 50)]


async def test_an_answer_to_another_question_approves_nothing() -> None:
    agent, text = await waiting(InMemoryState())
    checkpoint = Checkpoint.from_json(text)
    for answers in ({"other": True}, {checkpoint.asks[0].id: True, "other": True}, {}):
        with pytest.raises(ResumeRefused):
            await agent.resume(checkpoint, answers=answers)
    with pytest.raises(AgentFootprintError):
        await agent.resume(replace(checkpoint, asks=[]), answer=True)
    assert PAID == []


async def test_a_tool_that_needs_no_approval_itself_is_asked_about_where_the_policy_asks() -> None:
    @tool(approval=False)
    def wire(amount: int) -> str:
        """Wires."""
        PAID.append(("wire", amount))
        return "done"

    agent: Agent[Any, str] = Agent(
        MockProvider(replies=[call("wire", amount=1), "Done."]),
        tools=[wire],
        permissions=PermissionPolicy.from_roles({"clerk": [Ask("wire", wording="Wire it?")]}, role="clerk"),
    )
    paused = await agent.run("?", identity=ALICE)
    assert isinstance(paused, Paused)
    assert paused.asks[0].question == "Wire it?"
    assert PAID == []


# ── what a tool itself asks, and what a checker does ────────────────────────────────────────────


@tool
async def transfer(order: str) -> str:
    """Pays, when a person says so."""
    if await ask_human("Really?", answer=bool) and await ask_human("Really, really?", answer=bool):
        PAID.append((order, 1))
    return "paid"


def verdicts(*said: Verdict) -> Callable[[PermissionRequest], Verdict]:
    left = list(said)
    return lambda request: left.pop(0)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ((Verdict.allow(), Verdict.allow(), Verdict.deny("Not any more.")), "Not any more."),
        ((Verdict.allow(), Verdict.allow(), Verdict.ask()), "meanwhile it needs approval"),
        ((Verdict.ask(), Verdict.ask(), Verdict.ask(), Verdict.deny("Not any more.")), "Not any more."),
    ],
)
async def test_a_permission_that_was_taken_away_while_a_tool_waited_is_gone(said: Any, told: str) -> None:
    agent = Agent(
        MockProvider(replies=[call("transfer", order="A-1"), "Done."]),
        tools=[transfer],
        permissions=verdicts(*said),
    )
    result: Any = await agent.run("?", identity=ALICE)
    while isinstance(result, Paused):
        result = await agent.resume(result.checkpoint, answer=True)
    assert PAID == []
    [answer] = [message.text for message in completed(result).messages if message.role == "tool"]
    assert told in answer
    await agent.replay(result.footprint)


async def test_a_permission_that_stands_lets_a_tool_that_asks_come_to_its_end() -> None:
    said = [Verdict.ask()] * 4
    agent = Agent(
        MockProvider(replies=[call("transfer", order="A-1"), "Done."]),
        tools=[transfer],
        permissions=verdicts(*said),
    )
    result: Any = await agent.run("?", identity=ALICE)
    while isinstance(result, Paused):
        result = await agent.resume(result.checkpoint, answer=True)
    assert PAID == [("A-1", 1)]
    await agent.replay(completed(result).footprint)


async def test_a_checker_that_changes_arguments_changes_nothing_of_what_runs() -> None:
    def rewrites(request: PermissionRequest) -> Verdict:
        arguments: Any = request.arguments
        arguments["amount"] = 9_999
        return Verdict.allow()

    agent = desk(asks_for("refund", {"order": "A-1", "amount": 1}), permissions=rewrites)
    completed(await agent.run("?", identity=ALICE))
    assert PAID == [("A-1", 1)]
