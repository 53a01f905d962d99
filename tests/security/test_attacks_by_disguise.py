"""Attacks by what looks alike, counts alike, or was true before."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, MemoryIdentity, Paused, tool
from agentfootprint.errors import (
    AgentFootprintError,
    AnswerInvalid,
    CheckpointExpired,
    CheckpointUsed,
    ConfigurationError,
    ResumeRefused,
)
from agentfootprint.flow import check, le
from agentfootprint.flow.codec import digest
from agentfootprint.messages import LLMResponse, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.providers.wire import tool_call
from agentfootprint.security import Allow, Ask, Deny, PermissionPolicy
from agentfootprint.state import InMemoryState
from agentfootprint.tools import StaticToolset
from tests.agent.support import call, completed
from tests.security.support import ALICE, PAID, asks_for, desk, look, refund

CALL = call("refund", order="A-1", amount=50)
ASKING = PermissionPolicy.from_roles({"clerk": ["look", Ask("refund")]}, role="clerk")
READING = PermissionPolicy.from_roles({"clerk": ["look"]}, role="clerk")


async def waiting(
    *replies: Any, who: MemoryIdentity | None = ALICE, **options: Any
) -> tuple[Any, Checkpoint]:
    agent = desk(*(replies or (CALL,)), permissions=ASKING, state=InMemoryState(), **options)
    paused = await agent.run("?", identity=who)
    assert isinstance(paused, Paused)
    return agent, Checkpoint.from_json(paused.checkpoint.to_json())


# ── who approves ────────────────────────────────────────────────────────────────────────────────

SAME: tuple[Any, ...] = (
    "alice", "Alice", "ALICE", " alice", "alice ", "alice\n", "a\u200blice", "alice\u00ad", "al\u2060ice",
    "\uff41\uff4c\uff49\uff43\uff45", "\u202ealice", "alice\x00", "ali\u0063e", "", " ", "\u200b", None, 7,
    b"bob", True,
)  # fmt: skip


@pytest.mark.parametrize("by", SAME, ids=ascii)
async def test_who_asked_does_not_approve_under_a_name_that_looks_like_another(by: Any) -> None:
    agent, checkpoint = await waiting(approver_differs=True)
    with pytest.raises(AnswerInvalid, match="somebody else"):
        await agent.resume(checkpoint, answer=True, by=by)
    assert PAID == []
    completed(await agent.resume(checkpoint, answer=True, by="bob"))


@pytest.mark.parametrize("who", [None, MemoryIdentity("acme"), MemoryIdentity("acme", None, "t-1")])
async def test_nobody_can_be_shown_to_differ_from_whoever_is_not_known(who: Any) -> None:
    agent, checkpoint = await waiting(who=who, approver_differs=True)
    with pytest.raises(AnswerInvalid, match="names a principal"):
        await agent.resume(checkpoint, answer=True, by="bob")
    assert PAID == []


# ── answers ─────────────────────────────────────────────────────────────────────────────────────


class Changing(Mapping[str, Any]):
    """Says no when it is looked at, and yes when it is looked at again."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.looks = 0

    def __getitem__(self, key: str) -> Any:
        self.looks += 1
        return self.looks > 1

    def __iter__(self) -> Iterator[str]:
        return iter([self.key])

    def __len__(self) -> int:
        return 1


async def test_an_answer_that_changes_is_taken_once_as_it_was() -> None:
    agent, checkpoint = await waiting()
    completed(await agent.resume(checkpoint, answers=Changing(checkpoint.asks[0].id)))
    assert PAID == []


@pytest.mark.parametrize(
    "change",
    [
        lambda name: f" {name}",
        lambda name: f"{name}\u200b",
        lambda name: name.upper(),
        lambda name: name.replace("?0", "?1"),
        lambda name: name.replace("[0]", "[1]"),
        lambda name: name.encode(),
        lambda name: (name,),
        lambda name: "*",
    ],
)
async def test_an_answer_under_the_id_of_another_question_answers_nothing(
    change: Callable[[str], Any],
) -> None:
    agent, checkpoint = await waiting()
    name = checkpoint.asks[0].id
    for answers in ({change(name): True}, {name: False, change(name): True}):
        with pytest.raises(ResumeRefused):
            await agent.resume(checkpoint, answers=answers)
    assert PAID == []


TWO = LLMResponse(
    tool_calls=[
        ToolCall("c-1", "refund", {"order": "A-1", "amount": 50}),
        ToolCall("c-1:approved", "refund", {"order": "B-2", "amount": 5_000}),
    ]
)


async def test_one_of_two_calls_is_approved_and_the_other_does_not_run() -> None:
    agent, checkpoint = await waiting(TWO)
    small, large = checkpoint.asks
    assert (small.arguments or {})["amount"] == 50
    completed(await agent.resume(checkpoint, answers={small.id: True, large.id: False}))
    assert PAID == [("A-1", 50)]


async def test_two_calls_of_one_id_are_two_questions() -> None:
    twice = LLMResponse(
        tool_calls=[
            ToolCall("c-1", "refund", {"order": "A-1", "amount": 50}),
            ToolCall("c-1", "refund", {"order": "A-1", "amount": 5_000}),
        ]
    )
    agent, checkpoint = await waiting(twice)
    first, second = checkpoint.asks
    completed(await agent.resume(checkpoint, answers={first.id: True, second.id: False}))
    assert PAID == [("A-1", 50)]


async def test_an_earlier_checkpoint_of_a_run_does_not_answer_its_next_question() -> None:
    agent, first = await waiting(CALL, call("refund", order="B-2", amount=9_000))
    second = await agent.resume(first, answer=True)
    assert isinstance(second, Paused)
    for _ in range(2):
        with pytest.raises(CheckpointUsed):
            await agent.resume(first, answer=True)
    completed(await agent.resume(second.checkpoint, answer=False))
    assert PAID == [("A-1", 50)]


async def test_a_late_yes_is_none_and_neither_is_what_comes_after_it() -> None:
    policy = PermissionPolicy.from_roles({"clerk": ["look", Ask("refund", expires_in=0.01)]}, role="clerk")
    agent = desk(CALL, permissions=policy, state=InMemoryState(), approver_differs=True)
    paused = await agent.run("?", identity=ALICE)
    assert isinstance(paused, Paused)
    [ask] = paused.asks
    assert ask.expires_at is not None
    await asyncio.sleep(max(ask.expires_at - time.time(), 0) + 0.001)
    with pytest.raises(CheckpointExpired):
        await agent.resume(paused.checkpoint, answer=True, by="bob")
    completed(await agent.resume(paused.checkpoint))
    with pytest.raises(CheckpointUsed):
        await agent.resume(paused.checkpoint, answer=True, by="bob")
    assert PAID == []


# ── what was approved ───────────────────────────────────────────────────────────────────────────


def test_what_counts_alike_has_another_digest() -> None:
    values: tuple[Any, ...] = (1, True, "1", [1], {"1": 1}, None, 0, False, "", [], {}, "1\u200b", 1.5)
    assert len({digest({"amount": value}) for value in values}) == len(values)
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})


SWAPS: dict[str, tuple[Any, Any]] = {
    "a float": (50, 50.0),
    "text": (50, "50"),
    "true": (50, True),
    "more": (50, 50_000),
    "a list": (50, [50]),
    "null": (50, None),
}


def swapped(value: Any, old: Any, new: Any) -> Any:
    if type(value) is type(old) and value == old:
        return new
    if isinstance(value, dict):
        return {key: swapped(each, old, new) for key, each in value.items()}
    return [swapped(each, old, new) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("old", "new"), SWAPS.values(), ids=SWAPS)
@pytest.mark.parametrize("key", [None, "sealed"])
async def test_arguments_that_were_swapped_for_what_counts_alike_do_not_run(
    old: Any, new: Any, key: str | None
) -> None:
    agent, checkpoint = await waiting(checkpoint_key=key)
    text = json.dumps(swapped(json.loads(checkpoint.to_json()), old, new))
    assert text != json.dumps(json.loads(checkpoint.to_json()))
    with pytest.raises(AgentFootprintError):
        await agent.resume(Checkpoint.from_json(text), answer=True)
    assert PAID == []


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in sorted(value, reverse=True)}
    return [reordered(each) for each in value] if isinstance(value, list) else value


async def test_arguments_in_another_order_are_what_was_approved_or_refused() -> None:
    agent, checkpoint = await waiting()
    text = json.dumps(reordered(json.loads(checkpoint.to_json())))
    try:
        completed(await agent.resume(Checkpoint.from_json(text), answer=True))
    except ResumeRefused:
        assert PAID == []
    else:
        assert PAID == [("A-1", 50)]


BOUNDED = PermissionPolicy.from_roles({"clerk": [Allow("refund", when={"amount": le(100)})]}, role="clerk")


@pytest.mark.parametrize(
    "written",
    [
        '{"order": "A-1", "amount": 50, "amount": 5000}',
        '{"amount": 50, "order": "A-1", "\\u0061mount": 5000}',
        '{"order": "A-1", "amount": 5e3}',
        '{"order": "A-1", "amount": 1' + "0" * 400 + "}",
        '{"order": "A-1", "amount": 1' + "0" * 5_000 + "}",
        '{"order": "A-1", "amount": NaN}',
        '{"order": "A-1", "amount": -Infinity}',
        '{"order": "A-1", "amount": 1e999}',
        '\ufeff{"order": "A-1", "amount": 5000}',
        '{"order": "A-1", "amount": 50} {"order": "A-1", "amount": 5000}',
    ],
)
async def test_what_a_vendor_sends_is_read_once_and_checked_as_it_was_read(written: str) -> None:
    reply = LLMResponse(tool_calls=[tool_call("c-1", "refund", written)])
    completed(await desk(reply, permissions=BOUNDED).run("?", identity=ALICE))
    assert PAID == []


# ── what a policy is told ───────────────────────────────────────────────────────────────────────


async def later(value: Any) -> bool:
    return False


@pytest.mark.parametrize("rules", [[Allow("refund", when={"amount": check("is small", later)})], ["look"]])  # type: ignore[arg-type]
async def test_a_condition_that_must_be_awaited_allows_nothing(rules: Any) -> None:
    policy = PermissionPolicy.from_roles({"clerk": rules}, role="clerk")
    completed(await desk(CALL, permissions=policy).run("?", identity=ALICE))
    assert PAID == []


async def test_a_condition_that_must_be_awaited_keeps_on_denying() -> None:
    rules: list[Any] = ["refund", Deny("refund", when={"amount": check("is large", later)})]  # type: ignore[arg-type]
    policy = PermissionPolicy.from_roles({"clerk": rules}, role="clerk")
    completed(await desk(CALL, permissions=policy).run("?", identity=ALICE))
    assert PAID == []


def raises(identity: Any) -> str:
    raise KeyError("alice")


@pytest.mark.parametrize(
    "role",
    [
        raises,
        lambda identity: {"payer": False},
        lambda identity: {"payer": True},
        lambda identity: True,
        lambda identity: 1,
        lambda identity: b"payer",
        lambda identity: "Payer",
        lambda identity: "payer ",
        lambda identity: "p\u0430yer",
        lambda identity: "payer\u200b",
        lambda identity: "reader,payer",
        lambda identity: ["reader payer"],
        lambda identity: [["payer"]],
        lambda identity: "",
        lambda identity: [],
        lambda identity: object(),
    ],
)
async def test_what_is_no_role_of_a_list_is_no_role(role: Any) -> None:
    policy = PermissionPolicy.from_roles({"payer": ["look", "refund"], "reader": ["look"]}, role=role)
    completed(await desk(CALL, permissions=policy).run("?", identity=ALICE))
    assert PAID == []


async def test_a_capability_is_denied_under_whatever_name_the_tool_goes() -> None:
    policy = PermissionPolicy.from_roles({"clerk": ["look", Deny(capability="payments")]}, role="clerk")
    disguised = StaticToolset([refund]).renamed({"refund": "look"})
    agent = Agent(
        MockProvider(replies=[asks_for("look", {"order": "A-1", "amount": 5}), "Done."]),
        tools=[disguised],
        permissions=policy,
    )
    completed(await agent.run("?", identity=ALICE))
    assert PAID == []


async def test_two_tools_whose_names_differ_in_case_are_not_one_menu() -> None:
    other = StaticToolset([look]).renamed({"look": "Refund"})
    agent = Agent(MockProvider(reply="Done."), tools=[refund, other], permissions=READING)
    with pytest.raises(ConfigurationError, match="Refund"):
        await agent.run("?", identity=ALICE)


# ── a question that a model can word away ───────────────────────────────────────────────────────


@pytest.mark.parametrize("note", ["", " ", "0", "false", "None"])
async def test_a_question_made_of_what_the_model_sent_is_asked_whatever_it_sent(note: str) -> None:
    @tool(approval=lambda arguments: arguments["note"])
    def wire(note: str) -> str:
        """Wires."""
        PAID.append(("wire", note))
        return "done"

    agent: Agent[Any, str] = Agent(MockProvider(replies=[call("wire", note=note), "Done."]), tools=[wire])
    paused = await agent.run("?", identity=ALICE)
    assert isinstance(paused, Paused)
    assert paused.asks[0].question
    assert PAID == []


@pytest.mark.parametrize("said", [0, [], {}, 0.0, "no", b""])
async def test_a_rule_that_says_neither_yes_nor_no_asks(said: Any) -> None:
    @tool(approval=lambda arguments: said)
    def wire() -> str:
        """Wires."""
        PAID.append(("wire", said))
        return "done"

    agent: Agent[Any, str] = Agent(MockProvider(replies=[call("wire"), "Done."]), tools=[wire])
    assert isinstance(await agent.run("?", identity=ALICE), Paused)
    assert PAID == []
