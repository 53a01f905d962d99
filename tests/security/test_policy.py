"""What roles may do: the strictest rule decides, and nothing is allowed by default."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfootprint.errors import ConfigurationError
from agentfootprint.flow import gt, le, ne, one_of
from agentfootprint.identity import MemoryIdentity
from agentfootprint.security import Allow, Ask, Deny, Halt, PermissionPolicy, PermissionRequest

ALICE = MemoryIdentity("acme", "alice")


def request(tool: str = "refund", *capabilities: str, **arguments: Any) -> PermissionRequest:
    return PermissionRequest(tool, capabilities, arguments, "call-1", ALICE, None, "run-1")


def policy(*rules: Any) -> PermissionPolicy:
    return PermissionPolicy.from_roles({"desk": rules}, role="desk")


@pytest.mark.parametrize(
    ("rules", "asked", "kind"),
    [
        (["refund"], request(), "allow"),
        (["refund"], request("Refund"), "deny"),
        (["refund"], request("refund_all"), "deny"),
        (["refund"], request("refun"), "deny"),
        (["refund"], request("refund "), "deny"),
        (["ref*"], request(), "deny"),
        ([".*"], request(), "deny"),
        (["*"], request(), "deny"),
        ([], request(), "deny"),
        ([Allow(capability="payments")], request("refund", "payments"), "allow"),
        ([Allow(capability="payments")], request("refund", "payment"), "deny"),
        ([Allow(capability="payments")], request("payments"), "deny"),
        ([Allow("payments")], request("refund", "payments"), "deny"),
        ([Allow("refund", when={"amount": le(100)})], request(amount=100), "allow"),
        ([Allow("refund", when={"amount": le(100)})], request(amount=101), "deny"),
        ([Allow("refund", when={"amount": le(100)})], request(), "deny"),
        ([Allow("refund", when={"amount": le(100)})], request(amount="a lot"), "deny"),
        ([Allow("refund", when={"amount": le(100)})], request(amount=None), "deny"),
        ([Allow("refund", when={"amount": le(100), "to": one_of("a")})], request(amount=1, to="b"), "deny"),
        (
            ["refund", Deny("refund", when={"amount": gt(100)})],
            request(amount=101),
            "deny",
        ),
        (
            ["refund", Deny("refund", when={"amount": gt(100)})],
            request(amount=5),
            "allow",
        ),
        (["refund", Deny("refund", when={"amount": gt(100)})], request(), "deny"),
        (["refund", Deny("refund", when={"amount": gt(100)})], request(amount=float("nan")), "deny"),
        (["refund", Ask("refund", when={"amount": gt(100)})], request(amount=Decimal("nan")), "ask"),
        ([Allow("refund", when={"amount": ne(0)})], request(amount=float("nan")), "deny"),
        (
            ["refund", Deny("refund", when={"amount": gt(100)})],
            request(amount="x"),
            "deny",
        ),
        (["refund", Ask("refund")], request(), "ask"),
        ([Ask("refund"), "refund"], request(), "ask"),
        ([Ask("refund"), Deny("refund"), Halt("refund"), "refund"], request(), "halt"),
        (["refund", Deny(capability="payments")], request("refund", "payments"), "deny"),
        (
            [Halt("refund", when={"amount": gt(9)}), "refund"],
            request(amount=1),
            "allow",
        ),
    ],
)
def test_the_strictest_rule_that_holds_decides(rules: Any, asked: PermissionRequest, kind: str) -> None:
    assert policy(*rules).check(asked).kind == kind


KINDS = [Allow, Ask, Deny, Halt]
RULES = st.builds(
    lambda kind, about, bound: kind(**about, when={} if bound is None else {"amount": le(bound)}),
    st.sampled_from(KINDS),
    st.sampled_from([{"tool": "refund"}, {"tool": "look"}, {"capability": "payments"}]),
    st.sampled_from([None, 1, 9]),
)


@given(st.lists(RULES, max_size=6), st.lists(RULES, max_size=3), st.sampled_from([0, 5, 50]))
def test_whatever_the_rules_the_first_of_halt_deny_ask_allow_decides(
    one: list[Any], other: list[Any], amount: int
) -> None:
    both = PermissionPolicy.from_roles({"a": one, "b": other}, role=lambda identity: ["a", "b"])
    for tool, capabilities in (("refund", ("payments",)), ("look", ()), ("other", ())):
        held = [
            rule
            for rule in (*one, *other)
            if (rule.tool == tool or rule.capability in capabilities) and rule.holds({"amount": amount})
        ]
        strictest = min(
            (rule.kind for rule in held), key=("halt", "deny", "ask", "allow").index, default="deny"
        )
        verdict = both.check(request(tool, *capabilities, amount=amount))
        assert verdict.kind == strictest
        assert verdict.rule in ({rule.id for rule in held if rule.kind == strictest} or {"default"})


def test_of_equal_rules_that_which_names_the_tool_is_told() -> None:
    made = policy(Deny(capability="payments", wording="No payments."), Deny("refund", wording="No refunds."))
    assert made.check(request("refund", "payments")).wording == "No refunds."


def test_a_verdict_names_its_rule_and_what_was_compared() -> None:
    verdict = policy(Allow("refund", when={"amount": le(100)})).check(request(amount=7))
    assert (verdict.rule, verdict.evidence) == ("allow refund when amount <= 100", ("amount <= 100",))
    assert policy(Allow("refund", id="R7")).check(request()).rule == "R7"
    verdict = policy().check(request())
    assert (verdict.rule, verdict.reason) == ("default", "no rule of 'desk' allows it")


def test_the_role_is_that_of_the_identity_and_may_be_several_or_none() -> None:
    roles: Mapping[str, Any] = {"alice": ["reader", "payer"], "bob": "reader", "eve": "admin"}
    shared = PermissionPolicy.from_roles(
        {"reader": ["look"], "payer": ["refund"]},
        role=lambda identity: roles.get(str(identity and identity.principal)),
    )

    def kinds(principal: str) -> tuple[str, str]:
        asked = [
            PermissionRequest(tool, (), {}, "c", MemoryIdentity("acme", principal), None, "r")
            for tool in ("look", "refund")
        ]
        first, second = (shared.check(each).kind for each in asked)
        return first, second

    assert kinds("alice") == ("allow", "allow")
    assert kinds("bob") == ("allow", "deny")
    assert kinds("eve") == kinds("nobody") == ("deny", "deny")


@pytest.mark.parametrize(
    ("rules", "offered"),
    [
        (["refund"], True),
        ([Ask("refund")], True),
        ([Allow("refund", when={"amount": le(1)})], True),
        ([Allow(capability="payments")], True),
        (["other"], False),
        ([], False),
        (["refund", Deny("refund")], False),
        (["refund", Halt("refund")], False),
        (["refund", Deny("refund", when={"amount": le(1)})], True),
        ([Halt("refund", when={"amount": le(1)})], False),
    ],
)
def test_what_could_never_run_is_not_offered(rules: Any, offered: bool) -> None:
    assert policy(*rules).offers("refund", ("payments",), ALICE) is offered


def test_a_policy_never_changes() -> None:
    rules: list[Any] = ["look"]
    when = {"amount": le(1)}
    rule = Allow("refund", when=when)
    made = PermissionPolicy.from_roles({"desk": rules}, role="desk")
    rules.append("refund")
    when["amount"] = le(1_000)
    assert made.check(request()).kind == "deny"
    assert not rule.holds({"amount": 2})
    with pytest.raises(TypeError):
        made.roles["desk"] = ()  # type: ignore[index]
    with pytest.raises(AttributeError):
        rule.tool = "x"  # type: ignore[misc]
    admin = PermissionPolicy.from_roles({"desk": [], "admin": ["refund"]}, role="desk")
    assert admin.with_active_role("admin").check(request()).kind == "allow"
    assert admin.check(request()).kind == "deny"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: PermissionPolicy.from_roles({}), "nobody"),
        (lambda: PermissionPolicy.from_roles({"a": ["x"]}, role="b"), "no role 'b', only 'a'"),
        (lambda: PermissionPolicy.from_roles({"a": ["x"]}).with_active_role("A"), "no role 'A'"),
        (lambda: PermissionPolicy.from_roles({"a": "x"}), "give a list"),
        (lambda: PermissionPolicy.from_roles({"a": [3]}), "neither the name of a tool"),  # type: ignore[list-item]
        (lambda: PermissionPolicy.from_roles({"a": ["x"]}, role=3), "must be a role"),  # type: ignore[arg-type]
        (lambda: PermissionPolicy.from_roles({"a": None}), "give a list"),  # type: ignore[dict-item]
        (lambda: PermissionPolicy.from_roles(["a"]), "lists by role"),  # type: ignore[arg-type]
        (lambda: Allow("x", when=[le(1)]), "checks by argument"),  # type: ignore[arg-type]
        (lambda: Allow(), "one tool or one capability"),
        (lambda: Allow("x", capability="y"), "one tool or one capability"),
        (lambda: Allow("x", when={"amount": 100}), "not a check"),  # type: ignore[dict-item]
    ],
)
def test_what_cannot_be_meant_is_refused(make: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        make()


def test_a_role_that_must_be_awaited_is_refused() -> None:
    async def role(identity: Any) -> str:
        return "a"

    with pytest.raises(ConfigurationError, match="plain def"):
        PermissionPolicy.from_roles({"a": ["x"]}, role=role)  # type: ignore[arg-type]
