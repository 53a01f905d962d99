"""A language model that says what it is told to: for tests, for demos, for a laptop without a key."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import ConfigurationError, MockExhausted
from ..flow.codec import dumps, encode
from ..loops import Closing
from ..messages import (
    LLMChunk,
    LLMRequest,
    LLMResponse,
    Part,
    Reasoning,
    StopKind,
    Text,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from .base import Capability

__all__ = ["MockCall", "MockFailure", "MockProvider", "Reply"]


@dataclass(frozen=True, slots=True)
class MockCall:
    """A tool call a mock will make. Its id is given when it is made."""

    name: str
    arguments: Mapping[str, Any]
    chars: int


@dataclass(frozen=True, slots=True)
class MockFailure:
    """An error a mock will raise; when streamed, after this many chunks of text."""

    error: BaseException | type[BaseException]
    after_chunks: int = 0


Reply: TypeAlias = (
    str | MockCall | MockFailure | LLMResponse | Sequence[str | MockCall] | Callable[[LLMRequest], Any]
)
"""Text · a tool call · several calls at once, also with text · a failure · a whole response · a
function, also an async one, of the request that gives one of these."""


class MockProvider(Closing):
    """Answers from a script, deterministically; one object serves any number of concurrent runs.

    Give exactly one of:
        reply: the answer to every request.
        replies: one answer per request, in the order of the requests; asking for more raises.
        respond: a function, also an async one, from the request to a reply.

    Args:
        latency: seconds to sleep before an answer; 0 does not even yield to the event loop.
        chunk_size: characters per chunk when streamed.

    `requests` holds every request in the order they came. Tool calls get the ids call_1, call_2, …
    Usage is an estimate of one token per four characters, of the answer and of the *last* message of
    the request only: a mock does not read the whole history again at every turn.

    Raises:
        ConfigurationError: none or several of the three, or a reply that is none.
        MockExhausted: when it is asked more often than there are `replies`.
    """

    capabilities: frozenset[Capability] = frozenset(
        ("tools", "images", "documents", "structured_output", "reasoning")
    )

    def __init__(
        self,
        *,
        reply: Reply | None = None,
        replies: Sequence[Reply] | None = None,
        respond: Callable[[LLMRequest], Reply | Awaitable[Reply]] | None = None,
        latency: float = 0.0,
        chunk_size: int = 16,
        name: str = "mock",
        model: str = "mock",
    ) -> None:
        if sum(each is not None for each in (reply, replies, respond)) != 1:
            raise ConfigurationError(
                "MockProvider needs exactly one of reply='the same every time', replies=['first', 'second'] "
                "and respond=lambda request: 'made from the request'"
            )
        if isinstance(replies, str) or not isinstance(replies, (Sequence, type(None))):
            raise ConfigurationError("replies= takes a list with one reply per request; for one, use reply=")
        if respond is not None and not callable(respond):
            raise ConfigurationError(
                "respond= takes a function of the request; for a fixed answer use reply="
            )
        if chunk_size < 1 or latency < 0:
            raise ConfigurationError("chunk_size must be at least 1, and latency at least 0 seconds")
        self.name = name
        self.model = model
        self.requests: list[LLMRequest] = []
        self._replies = None if replies is None else [_checked(each) for each in replies]
        self._always: Reply = respond if respond is not None else _checked("" if reply is None else reply)
        self._latency = latency
        self._chunk_size = chunk_size
        self._asked = itertools.count()
        self._calls = itertools.count(1)

    @staticmethod
    def call(name: str, /, **arguments: Any) -> MockCall:
        """A reply that calls a tool. Arguments are JSON, or become it as the codec writes them."""
        data = encode(arguments)
        return MockCall(name, data, len(name) + len(dumps(data)))

    @staticmethod
    def fail(error: BaseException | type[BaseException], after_chunks: int = 0) -> MockFailure:
        """A reply that raises; when streamed, after this many chunks."""
        return MockFailure(error, after_chunks)

    async def complete(self, request: LLMRequest) -> LLMResponse:
        answer = await self._answer(request)
        if isinstance(answer, MockFailure):
            raise _error_of(answer)
        return answer

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        answer = await self._answer(request)
        if isinstance(answer, MockFailure):
            for number in range(1, answer.after_chunks + 1):
                yield LLMChunk(text=f"chunk {number} ")
            raise _error_of(answer)
        index = 0
        for part in answer.parts:
            if isinstance(part, Text):
                for piece in self._pieces(part.text):
                    yield LLMChunk(text=piece)
            elif isinstance(part, Reasoning):
                for piece in self._pieces(part.text):
                    yield LLMChunk(reasoning=piece)
            elif isinstance(part, ToolCall):
                yield LLMChunk(tool_call_delta=ToolCallDelta(index, part.id, part.name))
                for piece in self._pieces(_arguments_text(part)):
                    yield LLMChunk(tool_call_delta=ToolCallDelta(index, arguments=piece))
                index += 1
        yield LLMChunk(response=answer)

    async def _answer(self, request: LLMRequest) -> LLMResponse | MockFailure:
        """Chooses the reply, for `complete` and `stream` alike."""
        number = next(self._asked)
        self.requests.append(request)
        reply = self._always
        if self._replies is not None:
            if number >= len(self._replies):
                raise self._exhausted(request, number + 1)
            reply = self._replies[number]
        while callable(reply):
            reply = reply(request)
            if inspect.isawaitable(reply):
                reply = await reply
            reply = _checked(reply)
        if self._latency:
            await asyncio.sleep(self._latency)
        if isinstance(reply, (LLMResponse, MockFailure)):
            return reply
        return self._response(reply, request)

    def _response(self, reply: str | MockCall | Sequence[Any], request: LLMRequest) -> LLMResponse:
        parts: list[Part] = []
        said = 0
        stop: StopKind = "end"
        for item in (reply,) if isinstance(reply, (str, MockCall)) else reply:
            if isinstance(item, MockCall):
                parts.append(ToolCall(f"call_{next(self._calls)}", item.name, dict(item.arguments)))
                said += item.chars
                stop = "tool_calls"
            elif item:
                parts.append(Text(item))
                said += len(item)
        asked = len(request.messages[-1].text) if request.messages else 0
        usage = Usage((asked + 3) // 4, (said + 3) // 4)
        return LLMResponse(usage=usage, stop_reason=stop, model=self.model, parts=parts, provider=self.name)

    def _pieces(self, text: str) -> list[str]:
        size = self._chunk_size
        return [text[at : at + size] for at in range(0, len(text), size)]

    def _exhausted(self, request: LLMRequest, asked: int) -> MockExhausted:
        last = "no message"
        if request.messages:
            message = request.messages[-1]
            text = message.text or ", ".join(part.kind for part in message.parts)
            last = f"{message.role}: {text[:80]!r}"
        count = len(self._replies or ())
        return MockExhausted(
            f"MockProvider has {count} {'reply' if count == 1 else 'replies'} and was asked "
            f"{asked} times; the last message was {last}. Add a reply, or use reply= or respond=",
            provider=self.name,
        )


def _checked(reply: Any) -> Any:
    if isinstance(reply, (str, MockCall, MockFailure, LLMResponse)) or callable(reply):
        return reply
    if isinstance(reply, Sequence) and all(isinstance(each, (str, MockCall)) for each in reply):
        return reply
    raise ConfigurationError(
        f"MockProvider cannot reply with a {type(reply).__name__}: give text, MockProvider.call(...), a list "
        "of calls, MockProvider.fail(...), an LLMResponse, or a function of the request"
    )


def _error_of(failure: MockFailure) -> BaseException:
    if isinstance(failure.error, type):
        return failure.error()
    # The same object is raised again and again: without this its traceback would grow each time.
    return failure.error.with_traceback(None)


def _arguments_text(call: ToolCall) -> str:
    return call.raw if call.raw is not None else dumps(encode(call.arguments))
