"""The agents that the tests of the command talk to; copied into a folder of their own as `app.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agentfootprint import Agent, ToolContext, ask_human, tool
from agentfootprint.errors import RateLimited, Unauthorized
from agentfootprint.messages import LLMChunk, LLMRequest
from agentfootprint.providers import MockProvider
from agentfootprint.providers.mock import Reply
from agentfootprint.state import SQLiteState
from agentfootprint.tools import Tool


@tool
async def lookup_order(order_id: str) -> str:
    """Status and amount of an order, by its id."""
    return f"Order {order_id}: shipped, $299"


@tool(approval="Refund this order?")
async def refund(order_id: str, amount: float) -> str:
    """Refunds an order."""
    with Path("refunds.txt").open("a") as file:
        file.write(f"{order_id} {amount}\n")
    return f"Refunded ${amount:g} of {order_id}."


@tool
async def count(what: str) -> str:
    """Lets a person count."""
    number = await ask_human(f"How many {what}?", answer=int)
    return f"There are {number} {what}."


@tool
async def wait_for_ever(ctx: ToolContext[Any]) -> str:
    """Waits until it is cancelled."""
    ctx.progress("still waiting")
    await asyncio.Event().wait()
    return "never"


@tool
async def fail() -> str:
    """Cannot do it."""
    raise ValueError("the printer is on fire")


def respond(request: LLMRequest) -> Reply:
    last = request.messages[-1]
    text = last.text
    if last.role == "tool":
        return f"Done. {text}"
    if "look" in text:
        return MockProvider.call("lookup_order", order_id="A-1")
    if "refund" in text:
        return MockProvider.call("refund", order_id="A-1", amount=299)
    if "both" in text:
        return [
            MockProvider.call("refund", order_id="A-1", amount=299),
            MockProvider.call("count", what="parcels"),
        ]
    if "count" in text:
        return MockProvider.call("count", what="parcels")
    if "wait" in text:
        return MockProvider.call("wait_for_ever")
    if "fail" in text:
        return MockProvider.call("fail")
    if "key" in text:
        return MockProvider.fail(Unauthorized("the vendor refused the key"))
    if "rate" in text:
        return MockProvider.fail(RateLimited("too many requests", retry_after=12))
    if "escape" in text:
        return "red \x1b[31mtext\x07"
    users = [message.text for message in request.messages if message.role == "user"]
    return f"Heard: {' | '.join(users)}"


class Gated(MockProvider):
    """Streams its first word, then waits for a file named `go`."""

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        first = True
        async for chunk in super().stream(request):
            yield chunk
            while first and not Path("go").exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.01)
            first = False


TOOLS: list[Tool[..., Any]] = [lookup_order, refund, count, wait_for_ever, fail]

mock = MockProvider(respond=respond)
agent: Agent[Any, str] = Agent(provider=mock, system="Be brief.", tools=TOOLS, name="desk")
stored = agent.replace(state=SQLiteState("desk.db"))
signed = agent.replace(checkpoint_key="secret")
limited = agent.replace(max_iterations=1)
gated = agent.replace(provider=Gated(reply="Hello there, all of you", chunk_size=6))
terse = agent.replace(system="Be very brief.")


def make() -> Agent[object, str]:
    return agent


async def make_later() -> Agent[object, str]:
    await asyncio.sleep(0)
    return agent


def make_for(tenant: str) -> Agent[object, str]:
    return agent


def broken() -> Agent[object, str]:
    raise RuntimeError("no database")


motto = "Be brief."
