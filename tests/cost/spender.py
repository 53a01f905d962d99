"""One process of a fleet: runs of one tenant at once, against a budget that all processes share.

    python -m tests.cost.spender STORE ADDRESS NAME LIMIT RUNS

Prints one line "ready", waits for a line, then prints as JSON how the
runs ended and how many cents the model was paid by this process.
"""

from __future__ import annotations

import asyncio
import collections
import json
import random
import sys

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.cost import CostBudget, Price, PriceList
from agentfootprint.messages import LLMRequest, LLMResponse, ToolCall, Usage
from agentfootprint.providers import MockProvider
from tests.servers.stores import state_at

MOST = 50
"""Cents of a call at its worst."""

paid = 0


@tool
def look() -> str:
    """Looks."""
    return "seen"


async def answer(request: LLMRequest) -> LLMResponse:
    """Costs between nothing and the worst; the run goes on for a few calls."""
    global paid
    await asyncio.sleep(random.random() * 0.01)
    cents = random.randint(0, MOST)
    paid += cents
    more = (ToolCall("c", "look"),) if len(request.messages) < 7 else ()
    return LLMResponse("" if more else "Yes.", more, Usage(1, cents), model="mock", provider="mock")


async def main(store: str, address: str, name: str, limit: str, runs: str) -> None:
    state = state_at(store, address, name)
    agent = Agent(
        MockProvider(respond=answer),
        tools=[look],
        max_tokens=MOST,
        state=state,
        pricing_table=PriceList({"mock": Price(input=0, output=10_000)}),
        cost_budget=CostBudget(per_tenant_daily_usd=limit),
    )
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    ended = await asyncio.gather(
        *(agent.run("Well?", identity=MemoryIdentity("acme", f"p-{n}")) for n in range(int(runs)))
    )
    told = collections.Counter(result.status for result in ended)
    cents = sum(int((result.cost or 0) * 100) for result in ended)
    print(json.dumps({"paid": paid, "cents": cents, **told}), flush=True)
    await state.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
