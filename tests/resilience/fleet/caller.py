"""One process of a fleet: asks a backend again and again through a decorator whose state all share.

    python -m tests.resilience.fleet.caller KIND ADDRESS NAME URL DECORATOR OPTIONS SECONDS

KIND, ADDRESS and NAME are those of a store; OPTIONS are the decorator's, as JSON. Its model is its process
id, so that the backend knows who asks. Prints "ready", waits for a line, asks until there is another one, at
most for so many seconds, then prints as JSON what it was told, and the events of its decorator. Events of the
store are printed as they come too.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import sys
import time
from typing import Any

from agentfootprint.errors import AgentFootprintError
from agentfootprint.events import Event
from agentfootprint.messages import LLMRequest, Message
from agentfootprint.providers import HTTPOpenAIProvider
from agentfootprint.resilience import shared, with_circuit_breaker, with_rate_limit
from agentfootprint.state import CheckedStore
from tests.servers.stores import state_at

PAUSE = 0.01
"""Seconds between two questions, when the backend was not asked."""

shared.ANSWER_SECONDS = 30.0
"""On a busy machine a store that is well may take longer than a decision does wait for it."""


async def lines() -> asyncio.StreamReader:
    """What is told to this process."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    return reader


async def main(kind: str, address: str, name: str, url: str, how: str, options: str, seconds: str) -> None:
    decorate: Any = {"breaker": with_circuit_breaker, "limiter": with_rate_limit}[how]
    events: collections.Counter[str] = collections.Counter()
    answers: collections.Counter[str] = collections.Counter()

    def hear(event: Event) -> None:
        events[event.type] += 1
        if event.type.startswith("state."):
            print(event.type, flush=True)

    told = await lines()
    async with state_at(kind, address, name) as state:
        model = HTTPOpenAIProvider(str(os.getpid()), base_url=f"{url}/v1", api_key="none")
        provider = decorate(
            model,
            state=state,
            name="fleet",
            hook=hear,
            **json.loads(options),
        )
        if isinstance(state, CheckedStore):
            await state.check()  # Tables are made here, not within the time that a decision may take.
        print("ready", flush=True)
        await told.readline()
        stop = asyncio.create_task(told.readline())
        until = time.monotonic() + float(seconds)
        while time.monotonic() < until and not stop.done():
            try:
                await provider.complete(LLMRequest((Message.user("Well?"),)))
                answers["ok"] += 1
            except AgentFootprintError as error:
                answers[error.code] += 1
            await asyncio.sleep(PAUSE)
        stop.cancel()
        await model.aclose()
    print(json.dumps({"answers": answers, "events": events}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
