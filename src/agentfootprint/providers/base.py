"""The port to a language model: two methods, each derivable from the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from ..errors import StreamTruncated
from ..messages import LLMChunk, LLMRequest, LLMResponse, Text, ToolCall, ToolCallDelta

__all__ = ["LLMProvider", "complete_from_stream", "stream_from_complete"]


@runtime_checkable
class LLMProvider(Protocol):
    """Anything that answers an `LLMRequest`.

    `stream` yields chunks and ends with one chunk that carries the whole `response`. Vendor errors
    are raised as `ProviderError`s. `name` is the vendor, `model` the model asked.
    """

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    async def complete(self, request: LLMRequest) -> LLMResponse: ...
    def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]: ...


async def complete_from_stream(provider: LLMProvider, request: LLMRequest) -> LLMResponse:
    """`complete` for a provider that only streams.

    Raises:
        StreamTruncated: the stream ended without a chunk that carries the response.
    """
    async for chunk in provider.stream(request):
        if chunk.response is not None:
            return chunk.response
    raise StreamTruncated(
        f"{provider.name}: the stream ended without its final chunk; what arrived is not an answer",
        provider=provider.name,
    )


async def stream_from_complete(provider: LLMProvider, request: LLMRequest) -> AsyncIterator[LLMChunk]:
    """`stream` for a provider that only completes: one chunk per part, then the response."""
    response = await provider.complete(request)
    index = 0
    for part in response.parts:
        if isinstance(part, Text):
            yield LLMChunk(text=part.text)
        elif isinstance(part, ToolCall):
            yield LLMChunk(tool_call_delta=ToolCallDelta(index, part.id, part.name))
            index += 1
    yield LLMChunk(response=response)
