"""Toolsets with a policy of their own: menu and dispatch from one source, and no way around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, Paused
from agentfootprint.errors import ConfigurationError, PermissionHalted
from agentfootprint.events import PermissionDecided
from agentfootprint.flow import le
from agentfootprint.messages import LLMResponse, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.security import Allow, Ask, Deny, Halt, PermissionPolicy, PermissionRequest, Verdict
from agentfootprint.tools import GatedToolset, StaticToolset, Toolset, tool
from tests.agent.support import Events, call, completed, mock_of
from tests.security.support import ALICE, PAID, explodes, look, refund

DESK = StaticToolset([look, refund])


def may(*rules: Any) -> PermissionPolicy:
    return PermissionPolicy.from_roles({"desk": rules}, role="desk")


ALL, READ, ASKS, NONE = may("look", "refund"), may("look"), may("look", Ask("refund")), may()


def agent_with(toolset: Toolset, *replies: Any, **options: Any) -> Agent[Any, str]:
    return Agent(MockProvider(replies=[*replies, "Done."]), tools=[toolset], **options)


def asked(name: str, amount: Any = 5) -> LLMResponse:
    return LLMResponse(tool_calls=[ToolCall("c-1", name, {"order": "A-1", "amount": amount})])


async def shown(agent: Agent[Any, str]) -> list[str]:
    await agent.run("?", identity=ALICE)
    return [spec.name for spec in mock_of(agent).requests[0].tools]


def told(result: Any) -> str:
    [text] = [message.text for message in result.messages if message.role == "tool"]
    return str(text)


# ── one source ──────────────────────────────────────────────────────────────────────────────────


async def test_the_menu_and_the_dispatch_ask_one_policy() -> None:
    seen = Events()
    agent = agent_with(DESK.gated(READ), asked("refund"), recorders=[seen])
    result = completed(await agent.run("?", identity=ALICE))
    assert [spec.name for spec in mock_of(agent).requests[0].tools] == ["look"]
    [decided] = seen.of(PermissionDecided)
    assert (decided.tool, decided.verdict, decided.rule) == ("refund", "deny", "default")
    assert told(result) == "refund was not run: it is not permitted here. Go on without it."
    assert PAID == []
    await agent.replay(result.footprint)


async def test_what_it_permits_runs_and_is_told_once() -> None:
    seen = Events()
    completed(await agent_with(DESK.gated(ALL), asked("refund"), recorders=[seen]).run("?"))
    assert PAID == [("A-1", 5)]
    assert [(each.verdict, each.rule) for each in seen.of(PermissionDecided)] == [("allow", "allow refund")]


async def test_tools_beside_a_gated_toolset_are_not_its_matter() -> None:
    seen = Events()
    agent = Agent(
        MockProvider(replies=[asked("refund"), "Done."]),
        tools=[refund, StaticToolset([look]).gated(NONE)],
        recorders=[seen],
    )
    completed(await agent.run("?", identity=ALICE))
    assert PAID == [("A-1", 5)]
    assert seen.of(PermissionDecided) == []


async def test_the_role_is_that_of_the_run() -> None:
    roles = {"alice": "payer", "bob": "reader"}
    policy = PermissionPolicy.from_roles(
        {"payer": ["look", "refund"], "reader": ["look"]},
        role=lambda identity: roles.get(str(identity.principal)) if identity else None,
    )
    agent = Agent(
        MockProvider(
            respond=lambda request: "Done." if request.messages[-1].role == "tool" else asked("refund")
        ),
        tools=[DESK.gated(policy)],
    )
    for who in (MemoryIdentity("acme", "bob"), None, MemoryIdentity("acme", "eve")):
        completed(await agent.run("?", identity=who))
    assert PAID == []
    completed(await agent.run("?", identity=ALICE))
    assert PAID == [("A-1", 5)]


async def test_a_policy_that_asks_pauses_and_is_asked_again() -> None:
    decided: list[PermissionRequest] = []

    async def asks(request: PermissionRequest) -> Verdict:
        decided.append(request)
        return Verdict.ask("Pay it?", rule="R1")

    agent = agent_with(DESK.prefixed("its_").gated(asks).prefixed("all_"), asked("all_its_refund"))
    paused = await agent.run("?", identity=ALICE)
    assert isinstance(paused, Paused)
    [ask] = paused.asks
    assert (ask.question, ask.tool) == ("Pay it?", "all_its_refund")
    result = completed(await agent.resume(paused.checkpoint, answer=True))
    assert PAID == [("A-1", 5)]
    assert [each.tool for each in decided] == ["its_refund", "its_refund"]
    assert decided[0].capabilities == ("payments",)
    await agent.replay(result.footprint)
    assert len(decided) == 2, "a replay takes the verdicts from the record"


@pytest.mark.parametrize("nothing", [None, 5, "look", PermissionPolicy, ["look"], object()])
def test_what_does_not_decide_is_refused(nothing: Any) -> None:
    with pytest.raises(ConfigurationError, match="gated"):
        DESK.gated(nothing)
    with pytest.raises(ConfigurationError):
        GatedToolset(nothing, ALL)


# ── which name it sees ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("toolset", "menu"),
    [
        (DESK.gated(READ), ["look"]),
        (DESK.gated(READ).prefixed("its_"), ["its_look"]),
        (DESK.prefixed("its_").gated(READ), []),
        (DESK.prefixed("its_").gated(may("its_look")), ["its_look"]),
        (DESK.gated(READ).renamed({"refund": "peek"}), ["look"]),
        (DESK.gated(READ).renamed({"refund": "look", "look": "refund"}), ["refund"]),
        (DESK.gated(READ).filtered("refund"), []),
        (DESK.gated(READ).approval_required(), ["look"]),
        (DESK.approval_required().gated(READ), ["look"]),
        (DESK.gated(ALL).gated(READ), ["look"]),
        (DESK.gated(READ).gated(ALL), ["look"]),
        (DESK.gated(may("refund")).gated(READ), []),
    ],
)
async def test_the_policy_sees_the_name_where_it_was_put(toolset: Toolset, menu: list[str]) -> None:
    assert await shown(agent_with(toolset)) == menu


ESCAPES: dict[str, tuple[Toolset, str]] = {
    "renamed to what is permitted": (
        DESK.filtered("refund").gated(READ).renamed({"refund": "look"}),
        "look",
    ),
    "swapped with what is permitted": (
        DESK.gated(READ).renamed({"refund": "look", "look": "refund"}),
        "look",
    ),
    "prefixed": (DESK.gated(READ).prefixed("look_"), "look_refund"),
    "prefixed twice": (DESK.gated(READ).prefixed("a_").prefixed("b_"), "b_a_refund"),
    "renamed and renamed back": (
        DESK.gated(READ).renamed({"refund": "x"}).renamed({"x": "refund"}),
        "refund",
    ),
    "the old name of a renamed tool": (DESK.renamed({"refund": "x"}).gated(may("look", "x")), "refund"),
    "gated again by one that permits": (DESK.gated(READ).gated(ALL), "refund"),
    "gated before by one that permits": (DESK.gated(ALL).gated(READ), "refund"),
    "with approval around it": (DESK.gated(READ).approval_required("look"), "refund"),
    "with approval within it": (DESK.approval_required("look").gated(READ), "refund"),
    "filtered around it": (DESK.gated(READ).filtered("*"), "refund"),
    "in another case": (DESK.gated(may("look", "REFUND")), "refund"),
    "by a capability it has not": (DESK.gated(may("look", Allow(capability="Payments"))), "refund"),
    "by a look-alike": (DESK.gated(may("look", "refu\u0578d")), "refund"),
    "with a policy that fails": (DESK.gated(explodes), "refund"),
    "with a policy that fails within": (DESK.gated(explodes).gated(ALL), "refund"),
    "with a policy that fails around": (DESK.gated(ALL).gated(explodes), "refund"),
    "with a policy that mumbles": (DESK.gated(lambda request: True), "refund"),
    "a bound of the inner one": (
        DESK.gated(may("look", Allow("refund", when={"amount": le(1)}))).gated(ALL),
        "refund",
    ),
    "a denial by capability": (
        DESK.gated(may("look", "refund", Deny(capability="payments"))).renamed({"refund": "x"}),
        "x",
    ),
    "asked within, denied around": (DESK.gated(ASKS).gated(READ), "refund"),
    "denied within, asked around": (DESK.gated(READ).gated(ASKS), "refund"),
}


@pytest.mark.parametrize(("toolset", "name"), ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("permissions", [None, lambda request: Verdict.allow()])
async def test_there_is_no_way_around_the_policy_of_a_toolset(
    toolset: Toolset, name: str, permissions: Any
) -> None:
    agent = agent_with(toolset, asked(name), permissions=permissions)
    result = completed(await agent.run("?", identity=ALICE))
    assert PAID == []
    assert "amount" not in told(result)


# ── beside the policy of the agent ──────────────────────────────────────────────────────────────

ORDER = ("halt", "deny", "ask", "allow")


def says(kind: str) -> Callable[[PermissionRequest], Verdict]:
    verdict = {
        "halt": Verdict.halt(rule="halt"),
        "deny": Verdict.deny(rule="deny"),
        "ask": Verdict.ask(rule="ask"),
        "allow": Verdict.allow(rule="allow"),
    }[kind]
    return lambda request: verdict


@pytest.mark.parametrize("inner", ORDER)
@pytest.mark.parametrize("outer", ORDER)
@pytest.mark.parametrize("agents", ORDER)
async def test_of_all_policies_the_strictest_decides(inner: str, outer: str, agents: str) -> None:
    seen = Events()
    toolset = DESK.gated(says(inner)).gated(says(outer))
    agent = agent_with(toolset, asked("refund"), permissions=says(agents), recorders=[seen])
    strictest = min((inner, outer, agents), key=ORDER.index)
    if strictest == "halt":
        with pytest.raises(PermissionHalted):
            await agent.run("?", identity=ALICE)
    else:
        result = await agent.run("?", identity=ALICE)
        assert isinstance(result, Paused) is (strictest == "ask")
    assert [each.verdict for each in seen.of(PermissionDecided)] == [strictest]
    paid = [("A-1", 5)] if strictest == "allow" else []
    assert paid == PAID


async def test_of_two_that_ask_a_person_reads_the_innermost() -> None:
    toolset = DESK.gated(may("look", Ask("refund", wording="More than usual. Pay?"))).gated(ASKS)
    paused = await agent_with(toolset, asked("refund"), permissions=ASKS).run("?", identity=ALICE)
    assert isinstance(paused, Paused)
    assert [ask.question for ask in paused.asks] == ["More than usual. Pay?"]


@pytest.mark.parametrize("where", ["inner", "outer", "agent"])
async def test_a_policy_that_denies_meanwhile_counts_wherever_it_stands(where: str) -> None:
    def policy(name: str, kind: str) -> Any:
        return says(kind if name == where else "allow")

    def build(kind: str) -> Agent[Any, str]:
        toolset = DESK.gated(policy("inner", kind)).gated(policy("outer", kind))
        return agent_with(toolset, asked("refund"), permissions=policy("agent", kind))

    asking = build("ask")
    paused = await asking.run("?", identity=ALICE)
    assert isinstance(paused, Paused)
    now = asking.replace(tools=[DESK.gated(policy("inner", "deny")).gated(policy("outer", "deny"))])
    now = now.replace(permissions=policy("agent", "deny"))
    completed(await now.resume(paused.checkpoint, answer=True))
    assert PAID == []


async def test_a_call_approved_under_no_policy_is_held_to_the_one_that_came_meanwhile() -> None:
    @tool(approval=True)
    def wire(amount: int) -> str:
        """Wires."""
        PAID.append(("wire", amount))
        return "done"

    agent = agent_with(StaticToolset([wire]), call("wire", amount=1))
    paused = await agent.run("?", identity=ALICE)
    assert isinstance(paused, Paused)
    now = agent.replace(tools=[StaticToolset([wire]).gated(NONE)])
    completed(await now.resume(paused.checkpoint, answer=True))
    assert PAID == []


async def test_a_halt_of_a_toolset_ends_the_run_whatever_the_agent_permits() -> None:
    toolset = DESK.gated(may("look", Halt("refund")))
    with pytest.raises(PermissionHalted, match="halt refund"):
        await agent_with(toolset, asked("refund"), permissions=ALL).run("?", identity=ALICE)
    assert PAID == []


async def test_no_policy_sees_or_changes_what_another_did_to_the_arguments() -> None:
    @tool
    def pay(orders: list[dict[str, int]]) -> str:
        """Pays."""
        PAID.append(("pay", orders))
        return "paid"

    seen: list[Any] = []

    def rewrites(request: PermissionRequest) -> Verdict:
        seen.append(request.arguments["orders"][0]["amount"])
        request.arguments["orders"][0]["amount"] = 9_999
        request.arguments["orders"].append({"amount": 1})
        return Verdict.allow()

    agent = agent_with(
        StaticToolset([pay]).gated(rewrites).gated(rewrites),
        call("pay", orders=[{"amount": 1}]),
        permissions=rewrites,
    )
    completed(await agent.run("?", identity=ALICE))
    assert seen == [1, 1, 1]
    assert PAID == [("pay", [{"amount": 1}])]
