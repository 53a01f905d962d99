"""Attacks on permissions and approvals. In each of them the guarded tool must not have run as it must not."""

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
from agentfootprint.events import PermissionDecided
from agentfootprint.flow import check, one_of
from agentfootprint.messages import LLMResponse, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.security import Allow, Ask, Halt, PermissionPolicy, PermissionRequest, Verdict
from agentfootprint.state import InMemoryState
from agentfootprint.tools import ask_human
from tests.agent.support import Events, call, completed

ALICE = MemoryIdentity("acme", "alice", "t-1")
MALLORY = MemoryIdentity("evil", "mallory", "t-1")
PAID: list[tuple[str, Any]] = []


@pytest.fixture(autouse=True)
def _nothing_paid() -> None:
    PAID.clear()


@tool
def look(order: str = "") -> str:
    """Looks an order up."""
    return "seen"


@tool(capabilities=("payments",))
def refund(order: str, amount: int) -> str:
    """Pays an order back."""
    PAID.append((order, amount))
    return "paid"


def asks_for(name: str, arguments: Any, raw: str | None = None) -> LLMResponse:
    return LLMResponse(tool_calls=[ToolCall("c-1", name, arguments, raw=raw)])


def desk(*replies: Any, permissions: Any, **options: Any) -> Agent[Any, str]:
    return Agent(
        MockProvider(replies=[*replies, "Done."]), tools=[look, refund], permissions=permissions, **options
    )


READER = PermissionPolicy.from_roles({"reader": ["look"]}, role="reader")

# ── names that look like a tool's ───────────────────────────────────────────────────────────────

NAMES = (
    "refund", "Refund", "REFUND", "refund ", " refund", "refund\n", "refund\t", "refund\u200b",
    "refund\u00ad", "\uff52\uff45\uff46\uff55\uff4e\uff44", "r\u0435fund", "re\u0301fund", "refund()",
    "tools.refund", "functions.refund", "look,refund", "look;refund", "look refund", "../refund",
    "refund\x00", "refund\x00look", "default_api:refund", "refund#1", "*", "", "look\nrefund",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
async def test_a_tool_that_is_not_permitted_does_not_run_under_any_name(name: str) -> None:
    agent = desk(asks_for(name, {"order": "A-1", "amount": 1}), permissions=READER)
    result = completed(await agent.run("?", identity=ALICE))
    assert PAID == []
    [answer] = [message for message in result.messages if message.role == "tool"]
    assert answer.is_error
    provider: Any = agent.provider
    assert [spec.name for spec in provider.requests[0].tools] == ["look"]
    assert "amount" not in answer.text, "what a hidden tool takes is not told"


@pytest.mark.parametrize("arguments", [{}, {"order": "A-1"}, {"order": 5, "amount": "x"}, {"more": 1}])
async def test_what_a_hidden_tool_takes_is_not_learned_by_asking(arguments: Any) -> None:
    agent = desk(asks_for("refund", arguments), permissions=READER)
    result = completed(await agent.run("?", identity=ALICE))
    [answer] = [message.text for message in result.messages if message.role == "tool"]
    assert "amount" not in answer
    assert "Available: look." in answer or "not permitted" in answer


# ── arguments that say one thing and mean another ───────────────────────────────────────────────

BOUNDED = PermissionPolicy.from_roles(
    {
        "clerk": [
            "look",
            Allow(
                "refund", when={"amount": check("1 to 100", lambda n: 1 <= n <= 100), "order": one_of("A-1")}
            ),
        ]
    },
    role="clerk",
)

SMUGGLED: tuple[Any, ...] = (
    {"order": "A-1", "amount": 101},
    {"order": "A-1", "amount": "5000"},
    {"order": "A-1", "amount": "nan"},
    {"order": "A-1", "amount": " 5000 "},
    {"order": "A-1", "amount": "5_000"},
    {"order": "A-1", "amount": "\uff15\uff10\uff10\uff10"},
    {"order": "A-1", "amount": 1e9},
    {"order": "A-1", "amount": "1e9"},
    {"order": "A-1", "amount": -5},
    {"order": "A-1", "amount": 0},
    {"order": "A-1", "amount": 5_000},
    {"order": "A-1", "amount": [50, 5_000]},
    {"order": "A-1", "amount": {"value": 50}},
    {"order": "A-1", "amount": {"$lte": 100}},
    {"order": "A-1", "amount": None},
    {"order": "A-1"},
    {"order": "A-1", "amount": 50, "amount ": 5_000},
    {"order": "A-1", "amount": 50, "Amount": 5_000},
    {"order": "A-1", "amount": 50, "self": 1, "limit": 5_000},
    {"order": "A-2", "amount": 50},
    {"order": "a-1", "amount": 50},
    {"order": "A-1 ", "amount": 50},
    {"order": "A-1\n", "amount": 50},
    {"order": "A-1\x00", "amount": 50},
    {"order": "A\u20111", "amount": 50},
    {"order": "A-1' OR 1=1 --", "amount": 50},
    {"order": ["A-1"], "amount": 50},
    {"order": {"id": "A-1"}, "amount": 50},
    {"arguments": {"order": "A-1", "amount": 50}},
)


@pytest.mark.parametrize("arguments", SMUGGLED, ids=repr)
async def test_arguments_beyond_the_conditions_do_not_run(arguments: Any) -> None:
    agent = desk(asks_for("refund", arguments), permissions=BOUNDED)
    completed(await agent.run("?", identity=ALICE))
    assert [each for each in PAID if each != ("A-1", 50)] == []
    assert PAID == []


@pytest.mark.parametrize(
    "raw",
    [
        '{"order": "A-1", "amount": 50, "amount": 5000}',
        '{"order": "A-1", "amount": 5000',
        '[{"order": "A-1", "amount": 5000}]',
        '"{\\"order\\": \\"A-1\\", \\"amount\\": 5000}"',
    ],
)
async def test_arguments_that_two_readers_would_read_differently_do_not_run(raw: str) -> None:
    agent = desk(asks_for("refund", {}, raw), permissions=BOUNDED)
    completed(await agent.run("?", identity=ALICE))
    assert PAID == []


async def test_what_the_conditions_allow_does_run() -> None:
    completed(await desk(asks_for("refund", {"order": "A-1", "amount": 50}), permissions=BOUNDED).run("?"))
    assert PAID == [("A-1", 50)]


# ── roles ───────────────────────────────────────────────────────────────────────────────────────

ROLES: dict[Any, str] = {("acme", "alice"): "payer", ("acme", "bob"): "reader"}
BY_IDENTITY = PermissionPolicy.from_roles(
    {"payer": ["look", "refund"], "reader": ["look"]},
    role=lambda identity: ROLES.get((identity.tenant, identity.principal)) if identity else None,
)
CALL = call("refund", order="A-1", amount=50)


@pytest.mark.parametrize(
    "who",
    [
        None,
        MemoryIdentity(),
        MemoryIdentity("acme"),
        MemoryIdentity("acme", "bob"),
        MemoryIdentity("acme", "Alice"),
        MemoryIdentity("acme", "alice "),
        MemoryIdentity("acme", "al\u0456ce"),
        MemoryIdentity("Acme", "alice"),
        MemoryIdentity("evil", "alice"),
        MemoryIdentity("evil", "mallory", "alice"),
        MemoryIdentity("acme/alice", "alice"),
        MemoryIdentity("alice", "acme"),
        MemoryIdentity("", "alice"),
    ],
    ids=repr,
)
async def test_whoever_is_not_the_one_with_the_role_has_not_got_it(who: Any) -> None:
    completed(await desk(CALL, permissions=BY_IDENTITY).run("?", identity=who))
    assert PAID == []


async def test_one_agent_serves_both_roles_at_once_and_confuses_them_never() -> None:
    agent: Agent[Any, str] = Agent(
        MockProvider(respond=lambda request: "Done." if request.messages[-1].role == "tool" else CALL),
        tools=[look, refund],
        permissions=BY_IDENTITY,
    )
    who = [MemoryIdentity("acme", name, str(n)) for n in range(20) for name in ("alice", "bob")]
    await asyncio.gather(*(agent.run("?", identity=each) for each in who))
    assert len(PAID) == 20


def explodes(request: PermissionRequest) -> Verdict:
    raise RuntimeError("the policy server is away")


async def hangs_up(request: PermissionRequest) -> Verdict:
    raise ConnectionError


async def lets_out(request: PermissionRequest) -> Verdict:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    "checker",
    [
        explodes,
        hangs_up,
        lets_out,
        lambda request: None,
        lambda request: True,
        lambda request: "allow",
        lambda request: {"kind": "allow"},
        lambda request: Verdict,
        lambda request: Verdict("allowed"),  # type: ignore[arg-type]
    ],
)
async def test_a_checker_that_fails_or_mumbles_denies(checker: Any) -> None:
    seen = Events()
    completed(await desk(CALL, permissions=checker, recorders=[seen]).run("?", identity=ALICE))
    assert PAID == []
    assert [event.verdict for event in seen.of(PermissionDecided)] == ["deny"]


async def test_a_halt_ends_the_run_also_at_a_tool_that_was_hidden_and_whatever_the_arguments() -> None:
    policy = PermissionPolicy.from_roles({"desk": ["look", Halt("refund")]}, role="desk")
    for arguments in ({"order": "A-1", "amount": 1}, {}, {"x": "y"}):
        agent = desk(asks_for("refund", arguments), permissions=policy)
        with pytest.raises(PermissionHalted, match="halt refund") as caught:
            await agent.run("?", identity=ALICE)
        assert caught.value.footprint is not None
    assert PAID == []


# ── approvals ───────────────────────────────────────────────────────────────────────────────────

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
