"""What the tests of conversations share: agents that say what they have heard, also in another process."""

from __future__ import annotations

import asyncio
from typing import Any

from agentfootprint import Agent, tool
from agentfootprint.messages import LLMRequest
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState

from .support import call


def echo(request: LLMRequest) -> str:
    return f"You said {request.messages[-1].text}."


def agent_of(state: Any = None, **options: Any) -> Agent[Any, Any]:
    return Agent(options.pop("provider", None) or MockProvider(respond=echo), state=state, **options)


def said(result: Any) -> list[str]:
    return [message.text for message in result.messages if message.role == "user"]


class Held:
    """A model that answers when it is let go."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.provider = MockProvider(respond=self._respond)

    async def _respond(self, request: LLMRequest) -> str:
        self.asked.set()
        await self.go.wait()
        return echo(request)


class Asking:
    """An agent whose first turn waits for a person."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.state = InMemoryState()

        @tool(approval=True)
        async def pay() -> str:
            self.done.append("paid")
            return "paid"

        def respond(request: LLMRequest) -> Any:
            last = request.messages[-1]
            return call("pay") if last.text == "pay" else f"Yes, {last.text}."

        self.provider = MockProvider(respond=respond)
        self.agent = agent_of(self.state, provider=self.provider, tools=[pay])


PROCESS = """
import asyncio, sys
from pathlib import Path
from agentfootprint import Agent, MemoryIdentity
from agentfootprint.providers import MockProvider
from agentfootprint.state import SQLiteState

HERE = Path(__file__).parent

async def main():
    name, turns = sys.argv[1], int(sys.argv[2])
    while not (HERE / "go").exists():
        await asyncio.sleep(0.002)
    async with SQLiteState(HERE / "state.db", timeout=60) as state:
        agent = Agent(MockProvider(reply="Yes."), state=state)
        identity = MemoryIdentity("acme", "alice", "t-1")
        for n in range(turns):
            await agent.run(f"{name} {n}", identity=identity, busy_timeout=60)
        print("done")

asyncio.run(main())
"""
