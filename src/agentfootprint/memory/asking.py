"""What a memory asks a language model on the side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ..errors import ConfigurationError, MemoryModelFailed
from ..messages import LLMRequest, LLMResponse
from ..providers.base import LLMProvider, check_provider

__all__ = ["Ask", "ask_directly", "check_model", "text_of"]

Ask: TypeAlias = Callable[[LLMRequest, LLMProvider | None], Awaitable[LLMResponse]]
"""Asks a model. None is the model of whoever asks: within a run, that of the agent. An agent's calls stand
in the run's record, are priced, and keep to its budget."""

_WHOLE = ("end", "other")


async def ask_directly(request: LLMRequest, provider: LLMProvider | None) -> LLMResponse:
    """Asks the provider that is given, outside any run.

    Raises:
        ConfigurationError: none is given.
    """
    if provider is None:
        raise ConfigurationError(
            "this memory asks a model, and outside an agent it has none: give its strategy provider="
        )
    return await provider.complete(request)


def text_of(reply: LLMResponse, memory_id: str) -> str:
    """What the model wrote, if it is whole.

    Raises:
        MemoryModelFailed: it is empty or cut off.
    """
    text = reply.text.strip()
    if not text or reply.tool_calls or reply.stop_reason not in _WHOLE:
        how = f"it ended with {reply.stop_reason!r}" if text else "it is empty"
        raise MemoryModelFailed(
            f"memory {memory_id!r}: the model's answer cannot be used, {how}: nothing was made of it"
        )
    return text


def check_model(owner: str, provider: object) -> None:
    """Refuses what is no provider.

    Raises:
        ConfigurationError: it is neither a provider nor None.
    """
    try:
        if provider is not None:
            check_provider(provider)
    except ConfigurationError as error:
        raise ConfigurationError(f"{owner}(provider=...): {error}") from None
