"""A desk with a tool that must not run as it must not, and what it paid."""

from __future__ import annotations

from typing import Any

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.messages import LLMResponse, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.security import PermissionRequest, Verdict

ALICE = MemoryIdentity("acme", "alice", "t-1")
MALLORY = MemoryIdentity("evil", "mallory", "t-1")
PAID: list[tuple[str, Any]] = []


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


def explodes(request: PermissionRequest) -> Verdict:
    raise RuntimeError("the policy server is away")
