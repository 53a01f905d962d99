"""Runs of agents that call tools of servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.messages import Message
from agentfootprint.providers import MockProvider
from agentfootprint.tools import Toolset

__all__ = ["called", "caller", "until"]


def caller(*toolsets: Toolset, calls: Sequence[tuple[str, dict[str, Any]]], **options: Any) -> Agent[Any]:
    """An agent that makes these calls at once, and then answers."""

    def respond(request: Any) -> Any:
        if request.messages[-1].role == "tool":
            return "done"
        return [MockProvider.call(name, **arguments) for name, arguments in calls]

    return Agent(MockProvider(respond=respond), tools=toolsets, **options)


async def called(
    toolset: Toolset,
    name: str,
    identity: MemoryIdentity | None = None,
    /,
    tool_timeout: float | None = None,
    **arguments: Any,
) -> Message:
    """What a call gives in a run of its own."""
    async with caller(toolset, calls=[(name, arguments)], tool_timeout=tool_timeout) as agent:
        result = await agent.run("Go.", identity=identity)
    [answer] = [message for message in result.messages if message.role == "tool"]
    return answer


async def until(holds: Callable[[], bool | Awaitable[bool]], seconds: float = 60.0) -> None:
    """Waits until something holds, which it does soon on any machine that is not very busy."""
    async with asyncio.timeout(seconds):
        while True:
            held = holds()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.01)
