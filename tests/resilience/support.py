"""Providers that do as a script says, and ways to ask them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agentfootprint.events import Event
from agentfootprint.messages import LLMChunk, LLMRequest, LLMResponse, Message
from agentfootprint.providers import LLMProvider

REQUEST = LLMRequest((Message.user("Where is order A-1?"),))


class Scripted:
    """Each item answers one request: text, an error, or a list of chunks and errors.

    Text is streamed in two chunks and the response; asked more often than scripted, the last item
    answers again. `closed` counts the streams that were closed by their reader.
    """

    def __init__(self, *script: Any, name: str = "scripted", model: str = "scripted-1") -> None:
        self.name = name
        self.model = model
        self.script = list(script)
        self.asked = 0
        self.closed = 0

    def _next(self) -> Any:
        item = self.script[min(self.asked, len(self.script) - 1)]
        self.asked += 1
        return item

    async def complete(self, request: LLMRequest) -> LLMResponse:
        item = self._next()
        if isinstance(item, list):
            item = next(each for each in item if isinstance(each, BaseException))
        if isinstance(item, BaseException):
            raise item
        if callable(item):
            await item()
            item = "late"
        return LLMResponse(item, model=self.model, provider=self.name)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        item = self._next()
        if isinstance(item, BaseException):
            raise item
        if callable(item):
            await item()
            item = "late"
        if isinstance(item, str):
            half = len(item) // 2
            response = LLMResponse(item, model=self.model, provider=self.name)
            item = [item[:half], item[half:], response]
        try:
            for piece in item:
                if isinstance(piece, BaseException):
                    raise piece
                if callable(piece):
                    await piece()
                elif isinstance(piece, LLMResponse):
                    yield LLMChunk(response=piece)
                else:
                    yield LLMChunk(piece)
        except GeneratorExit:
            self.closed += 1
            raise


async def complete(provider: LLMProvider) -> str:
    return (await provider.complete(REQUEST)).text


async def stream(provider: LLMProvider) -> str:
    """The answer, read chunk by chunk; what was read must be the response's own text."""
    read = ""
    async for chunk in provider.stream(REQUEST):
        read += chunk.text
        if chunk.response is not None:
            assert read == chunk.response.text
            return read
    raise AssertionError("the stream ended without its response")


Ask = Callable[[LLMProvider], Any]

both_ways = pytest.mark.parametrize("ask", [complete, stream])


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]
