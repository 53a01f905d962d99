"""What every decorator over a provider is: a provider itself, that stands for the one it wraps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..errors import StreamTruncated
from ..loops import Closing
from ..messages import LLMChunk, LLMRequest, LLMResponse
from ..providers.base import (
    Capability,
    LLMProvider,
    capabilities_of,
    check_provider,
    close_provider,
    close_stream,
)

__all__ = ["Opened", "Wrapper", "open_stream"]


class Wrapper(Closing):
    """A provider that passes everything on; decorators override `complete` and `stream`."""

    def __init__(self, inner: LLMProvider) -> None:
        check_provider(inner)
        self.inner = inner

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def model(self) -> str:
        return self.inner.model

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the wrapped provider but counting tokens: that is no method of decorators."""
        return capabilities_of(self.inner) - {"token_counting"}

    async def complete(self, request: LLMRequest) -> LLMResponse:
        return await self.inner.complete(request)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        stream = self.inner.stream(request)
        try:
            async for chunk in stream:
                yield chunk
        finally:
            await close_stream(stream)

    async def aclose(self) -> None:
        """Closes what the wrapped provider holds."""
        await close_provider(self.inner)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self.inner!r}>"


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream whose first chunk is here: until then it may be tried again, from here on never. Whoever
    has it closes `rest`."""

    first: LLMChunk
    rest: AsyncIterator[LLMChunk]


async def open_stream(provider: LLMProvider, request: LLMRequest) -> Opened:
    """Asks for a stream and waits for its first chunk.

    Raises:
        StreamTruncated: it ended before any chunk.
    """
    stream = provider.stream(request)
    try:
        return Opened(await anext(stream), stream)
    except StopAsyncIteration:
        raise StreamTruncated(
            f"{provider.name}: the stream ended before its first chunk", provider=provider.name
        ) from None
    except BaseException:
        await close_stream(stream)
        raise
