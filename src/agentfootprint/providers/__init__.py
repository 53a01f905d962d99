"""Language models behind one port."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..vendors.guard import allow_real_calls, forbid_real_calls
from .base import (
    Capability,
    ClosableProvider,
    CountsTokens,
    LLMProvider,
    capabilities_of,
    complete_from_stream,
    stream_from_complete,
)
from .mock import MockProvider

if TYPE_CHECKING:
    from .anthropic import AnthropicProvider as AnthropicProvider
    from .anthropic import HTTPAnthropicProvider as HTTPAnthropicProvider
    from .bedrock import BedrockProvider as BedrockProvider
    from .create import create_provider as create_provider
    from .create import provider_from_env as provider_from_env
    from .openai import HTTPOpenAIProvider as HTTPOpenAIProvider
    from .openai import OpenAIProvider as OpenAIProvider

# Name to module; loaded on first use: nobody waits for a vendor that is not used.
_LAZY = {
    "AnthropicProvider": "anthropic",
    "BedrockProvider": "bedrock",
    "HTTPAnthropicProvider": "anthropic",
    "HTTPOpenAIProvider": "openai",
    "OpenAIProvider": "openai",
    "create_provider": "create",
    "provider_from_env": "create",
}

__all__ = [
    "AnthropicProvider",
    "BedrockProvider",
    "Capability",
    "ClosableProvider",
    "CountsTokens",
    "HTTPAnthropicProvider",
    "HTTPOpenAIProvider",
    "LLMProvider",
    "MockProvider",
    "OpenAIProvider",
    "allow_real_calls",
    "capabilities_of",
    "complete_from_stream",
    "create_provider",
    "forbid_real_calls",
    "provider_from_env",
    "stream_from_complete",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
