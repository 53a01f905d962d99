"""What tests of streams share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.events import (
    Event,
)
from agentfootprint.messages import LLMChunk, LLMRequest, LLMResponse

ME = MemoryIdentity("acme", "alice", "t-1")


@tool
async def echo(text: str) -> str:
    """Says it again."""
    return text


@tool
async def fail(text: str) -> str:
    """Fails."""
    raise ValueError(text)


async def read(agent: Agent[Any, str], *arguments: Any, **options: Any) -> tuple[list[Event], Any]:
    async with agent.stream(*arguments, **options) as run:
        events = [event async for event in run]
    return events, run.result


class Endless:
    """A model that writes until it is stopped, and says when it was."""

    name = model = "endless"

    def __init__(self) -> None:
        self.written = 0
        self.started = asyncio.Event()
        self.closed = asyncio.Event()
        self.enough: int | None = None

    async def complete(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse("done")

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        try:
            while self.enough is None or self.written < self.enough:
                self.written += 1
                self.started.set()
                yield LLMChunk(text="x")
                await asyncio.sleep(0)
            yield LLMChunk(response=LLMResponse("x" * self.written))
        finally:
            self.closed.set()
