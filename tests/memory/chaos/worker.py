"""One process of an agent that others run too, on the same memory and the same state.

    python -m tests.memory.chaos.worker KIND ADDRESS NAME WHO FIRST TURNS

KIND, ADDRESS and NAME are those of a store. It asks TURNS turns from number FIRST on, spread over
conversations of its own and over those that all processes share; the turn `WHO 7` is answered `to WHO 7`.
Prints `ready`, waits for a line, then prints each turn that was acknowledged, `CONVERSATION: WHO 7`, and in
the end what was told of failures, as JSON.
"""

from __future__ import annotations

import asyncio
import collections
import json
import sys
from typing import Any

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.agent import conversation
from agentfootprint.errors import AgentFootprintError
from agentfootprint.events import ConversationFailed, MemoryFailed, MemoryWritten
from agentfootprint.memory import Memory, Window
from agentfootprint.messages import LLMRequest
from agentfootprint.providers import MockProvider
from tests.servers.stores import memory_at, state_at

PERSON = MemoryIdentity("acme", "alice")
SHARED = ("shared 1", "shared 2")
LATENCY = 0.03
"""Seconds that the model takes, so that connections are cut while turns are under way."""


def of(name: str) -> MemoryIdentity:
    return MemoryIdentity(PERSON.tenant, PERSON.principal, name)


def answer(request: LLMRequest) -> str:
    return f"to {request.messages[-1].text}"


def desk(memory: Any, state: Any, latency: float = 0.0) -> Agent[Any, str]:
    return Agent(
        MockProvider(respond=answer, latency=latency),
        memory=[Memory("m", scope="principal", store=memory, strategy=Window(3))],
        state=state,
    )


async def main(kind: str, address: str, name: str, who: str, first: str, turns: str) -> None:
    # Who is killed holds its conversation until its lease is over.
    conversation.LEASE_SECONDS = 3.0
    told = {each: collections.Counter[str]() for each in ("conversation", "failed", "written")}
    mine = (f"{who} 1", f"{who} 2")
    async with memory_at(kind, address, name) as memory, state_at(kind, address, name) as state:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        async with desk(memory, state, LATENCY) as agent:
            agent.on(ConversationFailed, lambda event: told["conversation"].update([event.message]))
            agent.on(MemoryFailed, lambda event: told["failed"].update([str(event.run_id)]))
            agent.on(MemoryWritten, lambda event: told["written"].update([str(event.run_id)]))
            numbers = iter(range(int(first), int(first) + int(turns)))

            async def talk(conversations: tuple[str, ...]) -> None:
                for number in numbers:
                    where, question = conversations[number % len(conversations)], f"{who} {number}"
                    try:
                        await agent.run(question, identity=of(where), busy_timeout=30)
                    except AgentFootprintError as error:
                        told["conversation"].update([f"{question}: {error}"])
                    else:
                        print(f"{where}: {question}", flush=True)

            await asyncio.gather(talk(mine), talk((*SHARED, *mine)))
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
