"""Attacks on permissions: the guarded tool must not run as it must not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.errors import (
    PermissionHalted,
)
from agentfootprint.events import PermissionDecided
from agentfootprint.flow import check, one_of
from agentfootprint.providers import MockProvider
from agentfootprint.security import Allow, Halt, PermissionPolicy, PermissionRequest, Verdict
from tests.agent.support import Events, call, completed
from tests.security.support import ALICE, PAID, asks_for, desk, explodes, look, refund

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
