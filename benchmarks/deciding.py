"""What a permission policy takes to decide about a call."""

from __future__ import annotations

from types import ModuleType

from measuring import Measures, timed_now

from agentfootprint import MemoryIdentity
from agentfootprint.flow import gt, le, one_of
from agentfootprint.security import Allow, Ask, Deny, PermissionPolicy, PermissionRequest

TOOLS = [f"tool_{n}" for n in range(20)]

ME = MemoryIdentity("acme", "alice", "t-1")


def asked(tool: str, **arguments: object) -> PermissionRequest:
    return PermissionRequest(tool, ("payments",), arguments, "call-1", ME, None, "run-1")


def policy(*rules: Allow | Ask | Deny) -> PermissionPolicy:
    """One of three roles with twenty tools each; the role is asked for at each call."""
    roles = {"alice": "clerk", "bob": "reader"}
    lists = {"reader": TOOLS, "clerk": [*TOOLS, *rules], "admin": TOOLS}
    return PermissionPolicy.from_roles(
        lists, role=lambda identity: None if identity is None else roles.get(identity.principal or "")
    )


async def permissions(framework: ModuleType, quick: bool) -> Measures:
    """A decision: by role alone, with conditions on arguments, of a tool that no rule names; and the menu."""
    calls = 2 if quick else 20_000
    plain = policy()
    bounded = policy(
        Allow("refund", when={"amount": le(100), "currency": one_of("USD", "EUR")}),
        Ask("refund", when={"amount": gt(50)}),
        Deny(capability="payments", when={"amount": gt(1_000)}),
    )
    last, refund, unknown = asked(TOOLS[-1]), asked("refund", amount=70, currency="EUR"), asked("other")
    assert plain.check(last).kind == "allow"
    assert (bounded.check(refund).kind, plain.check(unknown).kind) == ("ask", "deny")

    def menu() -> None:
        for tool in TOOLS:
            plain.offers(tool, (), ME)

    return {
        "decided_role": await timed_now(lambda: plain.check(last), calls, quick=quick),
        "decided_conditions": await timed_now(lambda: bounded.check(refund), calls, quick=quick),
        "decided_default": await timed_now(lambda: plain.check(unknown), calls, quick=quick),
        "decided_menu": await timed_now(menu, calls // 20 or 1, quick=quick),
    }
