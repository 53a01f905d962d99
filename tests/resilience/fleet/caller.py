"""One process of a fleet: asks a backend again and again through a decorator whose state all share.

    python -m tests.resilience.fleet.caller KIND ADDRESS NAME URL DECORATOR OPTIONS SECONDS

KIND, ADDRESS and NAME are those of a store; OPTIONS are the decorator's, as JSON. Its model is its process
id, so that the backend knows who asks. Prints "ready", waits for a line, asks for so many seconds, then
prints as JSON what it was told, and the events of its decorator.
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
from agentfootprint.messages import LLMRequest, Message
from agentfootprint.providers import HTTPOpenAIProvider
from agentfootprint.resilience import with_circuit_breaker, with_rate_limit
from agentfootprint.state import CheckedStore
from tests.servers.stores import state_at

PAUSE = 0.01
"""Seconds between two questions, when the backend was not asked."""


async def main(kind: str, address: str, name: str, url: str, how: str, options: str, seconds: str) -> None:
    decorate: Any = {"breaker": with_circuit_breaker, "limiter": with_rate_limit}[how]
    events: collections.Counter[str] = collections.Counter()
    answers: collections.Counter[str] = collections.Counter()
    async with state_at(kind, address, name) as state:
        model = HTTPOpenAIProvider(str(os.getpid()), base_url=f"{url}/v1", api_key="none")
        provider = decorate(
            model,
            state=state,
            name="fleet",
            hook=lambda event: events.update([event.type]),
            **json.loads(options),
        )
        if isinstance(state, CheckedStore):
            await state.check()  # Tables are made here, not within the time that a decision may take.
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        until = time.monotonic() + float(seconds)
        while time.monotonic() < until:
            try:
                await provider.complete(LLMRequest((Message.user("Well?"),)))
                answers["ok"] += 1
            except AgentFootprintError as error:
                answers[error.code] += 1
            await asyncio.sleep(PAUSE)
        await model.aclose()
    print(json.dumps({"answers": answers, "events": events}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
