"""What a provider over HTTP is made of: a codec for one wire, and a transport that carries it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Iterable, Mapping
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from ..errors import AgentFootprintError, ProviderError, StreamTruncated, Unavailable
from ..loops import Closing
from ..messages import LLMChunk, LLMRequest, LLMResponse, Opaque, ToolCall
from ..vendors.failures import REQUEST_IDS
from ..vendors.http_client import Reply
from ..vendors.parsing import parsed
from ..vendors.sse import ServerSentEvent
from .base import Capability

__all__ = ["Decoder", "Transport", "Wire", "WireProvider", "joined", "tool_call"]

T = TypeVar("T")

DRAIN_SECONDS = 0.05


class Decoder(Protocol):
    """Reads the events of one streamed answer."""

    @property
    def done(self) -> bool:
        """Whether the terminal event was seen: without it the answer is not whole."""
        ...

    @property
    def over(self) -> bool:
        """Whether nothing can follow that belongs to the answer."""
        ...

    def feed(self, event: Mapping[str, Any]) -> Iterable[LLMChunk]:
        """The chunks that an event makes. Raises the `ProviderError` that an error event says."""
        ...

    def response(self, request_id: str | None) -> LLMResponse:
        """The whole answer."""
        ...


class Wire(Protocol):
    """The request and the answers of one vendor's API, without any transport."""

    path: str
    stream_path: str

    def body(self, request: LLMRequest, model: str, *, stream: bool) -> dict[str, Any]: ...
    def whole(self, data: Mapping[str, Any], request_id: str | None) -> LLMResponse: ...
    def decoder(self) -> Decoder: ...


class Transport(Protocol):
    """Carries bodies to a server; raises `ProviderError` only."""

    base_url: str

    @property
    def account(self) -> Hashable:
        """Who asks: a key, what gives it, or a client that holds it."""
        ...

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply: ...
    def stream(
        self, path: str, body: Mapping[str, Any]
    ) -> AsyncGenerator[tuple[ServerSentEvent, Mapping[str, str]], None]: ...
    async def aclose(self) -> None: ...


class WireProvider(Closing):
    """A provider: one wire over one transport."""

    capabilities: frozenset[Capability] = frozenset()

    def __init__(self, name: str, model: str, wire: Wire, transport: Transport) -> None:
        self.name = name
        self.model = model
        self._wire = wire
        self._transport = transport

    @property
    def quota(self) -> Hashable:
        """What a vendor limits together: providers of one quota are told to wait together."""
        return (self._transport.base_url, self._transport.account, self.model)

    async def complete(self, request: LLMRequest) -> LLMResponse:
        body = self._wire.body(request, self.model, stream=False)
        reply = await self._transport.post(self._wire.path, body)
        return self._read(lambda: self._wire.whole(reply.data, _request_id(reply.headers)))

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        body = self._wire.body(request, self.model, stream=True)
        events = self._transport.stream(self._wire.stream_path, body)
        decoder = self._wire.decoder()
        request_id: str | None = None
        try:
            async for event, headers in events:
                if event.data == "[DONE]":
                    break
                request_id = _request_id(headers)
                for chunk in self._fed(decoder, event):
                    yield chunk
                if decoder.over:
                    break
            await _drain(events)
        finally:
            await events.aclose()
        if not decoder.done:
            raise StreamTruncated(
                f"{self.name}: the stream ended without its terminal event: this is no whole answer",
                provider=self.name,
            )
        yield LLMChunk(response=self._read(lambda: decoder.response(request_id)))

    async def _counted(self, path: str, body: Mapping[str, Any], field: str = "input_tokens") -> int:
        reply = await self._transport.post(path, body)
        return self._read(lambda: int(reply.data[field]))

    def _fed(self, decoder: Decoder, event: ServerSentEvent) -> list[LLMChunk]:
        try:
            data = parsed(event.data)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise StreamTruncated(
                f"{self.name}: an event of the stream is no JSON object; the answer cannot be whole",
                provider=self.name,
            )
        return self._read(lambda: list(decoder.feed(data)))

    def _read(self, read: Callable[[], T]) -> T:
        """What was read. Where the vendor said something of another form, the error stands alone: that of
        the reading would quote it."""
        try:
            return read()
        except AgentFootprintError:
            raise
        except Exception as error:
            malformed = self._malformed(error)
        raise malformed

    def _malformed(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"{self.name}: the answer is not of the form of this API ({type(error).__name__}): is base_url "
            "that of another one?",
            provider=self.name,
        )

    async def aclose(self) -> None:
        """Closes the connections of the running event loop."""
        await self._transport.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model!r}>"


async def _drain(events: AsyncIterator[object]) -> None:
    """Reads to the end of a stream, so that its connection can be used again. Servers and proxies that
    hold it open after the last event are not waited for: the answer is whole."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in events:
                pass
    except (TimeoutError, ProviderError):
        pass


_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxTokens")
"""What APIs call the most tokens of an answer."""


def joined(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """A body with the caller's own fields, which go first. Tools join those of the request: the vendor's own
    tools stand beside functions. Of two limits to the answer the lower holds: a budget may have set one."""
    both = body | dict(extra)
    for key, value in extra.items():
        there = body.get(key)
        if key == "tools" and there is not None:
            both[key] = [*there, *value]
        elif isinstance(there, dict) and isinstance(value, Mapping):
            both[key] = joined(there, value)
        elif key in _LIMITS and (limits := [body[name] for name in _LIMITS if name in body]):
            both[key] = min(value, *limits)
            for other in _LIMITS:
                if other != key:
                    both.pop(other, None)  # The caller knows what this server calls it.
    return both


def tool_call(call_id: str | None, name: str, text: str | None, extra: Opaque | None = None) -> ToolCall:
    """The call that the model wrote, also when its arguments are no JSON object."""
    text = text or ""
    # Servers that give no id mean the order; others want ids that are unique in a conversation.
    call_id = call_id or f"call_{uuid4().hex[:24]}"
    try:
        arguments = parsed(text) if text.strip() else {}
    except ValueError:
        arguments = None
    if isinstance(arguments, dict):
        return ToolCall(call_id, name, arguments, extra=extra)
    return ToolCall(call_id, name, {}, raw=text, extra=extra)


def _request_id(headers: Mapping[str, str]) -> str | None:
    return next((headers[name] for name in REQUEST_IDS if name in headers), None)
