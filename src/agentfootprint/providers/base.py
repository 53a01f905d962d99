"""The port to a language model: two methods, each derivable from the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal, Protocol, Self, TypeAlias, runtime_checkable

from ..errors import ConfigurationError, StreamTruncated
from ..messages import LLMChunk, LLMRequest, LLMResponse, Text, ToolCall, ToolCallDelta

__all__ = [
    "Capability",
    "ClosableProvider",
    "CountsTokens",
    "LLMProvider",
    "capabilities_of",
    "check_provider",
    "close_provider",
    "close_stream",
    "complete_from_stream",
    "leaves",
    "stream_from_complete",
]

Capability: TypeAlias = Literal[
    "tools", "images", "documents", "structured_output", "reasoning", "prompt_cache", "token_counting"
]
"""What a model behind a provider can do beyond text in, text out."""


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


class ClosableProvider(LLMProvider, Protocol):
    """One that holds connections: closed by `aclose()`, or at the end of `async with provider:`."""

    async def aclose(self) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *raised: object) -> None: ...


def check_provider(provider: Any) -> None:
    """Refuses what is none, as early as it is given to something.

    Raises:
        ConfigurationError: it has no `complete` and `stream`, or it is a class.
    """
    if isinstance(provider, type):
        name = provider.__name__
        raise ConfigurationError(f"a provider is an object, {name} is a class: make one with {name}(...)")
    if not callable(getattr(provider, "complete", None)) or not callable(getattr(provider, "stream", None)):
        raise ConfigurationError(
            f"a provider must have complete() and stream(), {type(provider).__name__} has not: "
            "MockProvider(reply='...') is one that needs no key"
        )


async def close_provider(provider: LLMProvider) -> None:
    """Closes what a provider holds, if it is one that can be closed."""
    close = getattr(provider, "aclose", None)
    if close is not None:
        await close()


@runtime_checkable
class CountsTokens(Protocol):
    """The optional ability to count exactly, before asking, what a request's input measures in tokens."""

    async def count_tokens(self, request: LLMRequest) -> int: ...


def capabilities_of(provider: LLMProvider) -> frozenset[Capability]:
    """What a provider says it can do in its attribute `capabilities`; nothing said is nothing promised."""
    found: Iterable[Capability] = getattr(provider, "capabilities", ())
    return frozenset(found)


def leaves(provider: LLMProvider) -> tuple[LLMProvider, ...]:
    """The providers that are asked in the end: those under decorators (which keep the wrapped one as
    `inner`, or several as `providers`), in the order they would be tried."""
    within: Any = getattr(provider, "providers", None)
    if within is None and (inner := getattr(provider, "inner", None)) is not None:
        within = (inner,)
    # A provider of somebody else's may mean something of its own by these names.
    if not isinstance(within, (tuple, list)) or not within or not all(map(_named, within)):
        return (provider,)
    return tuple(leaf for each in within for leaf in leaves(each))


def _named(each: Any) -> bool:
    return hasattr(each, "name") and hasattr(each, "model")


async def close_stream(stream: AsyncIterator[Any]) -> None:
    """Closes a stream that is left: the connection ends now, not when the collector comes by."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


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
