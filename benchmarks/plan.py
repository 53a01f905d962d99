"""The scripted conversation that every framework is driven through, and the one tool in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

SYSTEM = "You are a calculator. Use the tools."
PROMPT = "Add the numbers, then say done."
FINAL = "done"


@dataclass
class Plan:
    """What the scripted model does. It answers in no time, except where `latency` says otherwise.

    An adapter never decides what the model says: its fake model awaits `think()` and asks `calls(...)`.

    Attributes:
        turns: model turns that ask for tools before the final answer.
        width: tool calls in each of them.
        latency, tool_seconds: seconds that each model call and each tool call waits.
        chunks: pieces of a streamed answer.
        ran: how often the tool has run.
    """

    turns: int = 0
    width: int = 1
    latency: float = 0.0
    tool_seconds: float = 0.0
    chunks: int = 0
    ran: int = field(default=0, init=False)

    async def think(self) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)

    def calls(self, last: str | None) -> list[tuple[str, dict[str, int]]]:
        """Ids and arguments of the tool calls that follow the result with the id `last` (None: the
        first turn); empty when it is time to answer.

        The id tells the turn, so this takes the same time however long the conversation is.
        """
        turn = 0 if last is None else int(last.split("-")[1]) + 1
        if turn >= self.turns:
            return []
        return [(f"call-{turn}-{n}", {"a": turn, "b": n}) for n in range(self.width)]

    def pieces(self) -> list[str]:
        return [f"word{n} " for n in range(self.chunks)]

    def tool(self) -> Callable[[int, int], Awaitable[int]]:
        async def add(a: int, b: int) -> int:
            """Add two integers."""
            self.ran += 1
            if self.tool_seconds:
                await asyncio.sleep(self.tool_seconds)
            return a + b

        return add


@dataclass(frozen=True)
class Subject:
    """A framework set up for a plan.

    Attributes:
        run: one whole run; its final text.
        stream: one streamed run; the pieces of its text.
        build: makes an agent with the tool and the model, ready to run; None where there is none.
    """

    run: Callable[[], Awaitable[str]]
    stream: Callable[[], AsyncIterator[str]]
    build: Callable[[], Any] | None = None
