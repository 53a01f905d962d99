"""A provider from its name, such as `anthropic:claude-sonnet-4-5`: for configuration and command lines."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import ConfigurationError
from ..vendors.http_client import key_of
from .base import ClosableProvider
from .mock import MockProvider

__all__ = ["create_provider", "provider_from_env"]

VARIABLE = "AGENTFOOTPRINT_MODEL"


class Compatible(NamedTuple):
    """A server that speaks Chat Completions; one on this machine has no key."""

    base_url: str
    key: str | None = None


COMPATIBLE = {
    "cohere": Compatible("https://api.cohere.ai/compatibility/v1", "COHERE_API_KEY"),
    "deepseek": Compatible("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "fireworks": Compatible("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "gemini": Compatible("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    "groq": Compatible("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "llamacpp": Compatible("http://127.0.0.1:8080/v1"),
    "lmstudio": Compatible("http://127.0.0.1:1234/v1"),
    "mistral": Compatible("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "ollama": Compatible("http://127.0.0.1:11434/v1"),
    "openrouter": Compatible("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "together": Compatible("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "vllm": Compatible("http://127.0.0.1:8000/v1"),
    "xai": Compatible("https://api.x.ai/v1", "XAI_API_KEY"),
}

OWN = ("anthropic", "bedrock", "http-anthropic", "http-openai", "mock", "openai")


def create_provider(name: str, **options: Any) -> ClosableProvider:
    """The provider for `"vendor:model"`.

    Vendors are `anthropic`, `openai` and `bedrock` through their SDKs; `http-anthropic` and `http-openai`
    without; `mock`, which says what stands behind the colon; and servers that speak Chat Completions:
    `cohere`, `deepseek`, `fireworks`, `gemini`, `groq`, `mistral`, `openrouter`, `together`, `xai`, and on
    this machine `llamacpp`, `lmstudio`, `ollama`, `vllm`.

    Args:
        name: such as `"anthropic:claude-sonnet-4-5"` or `"ollama:llama3.2:3b"`.
        options: those of the provider's class, such as `api_key=` and `base_url=`.

    Raises:
        ConfigurationError: the name is none, or there is no key.
        MissingExtra: what the provider needs is not installed.
    """
    vendor, colon, model = name.partition(":")
    if vendor in (*OWN, *COMPATIBLE) and colon and model:
        return _created(vendor, model, options)
    if vendor == "mock" and not colon:
        return MockProvider(reply="This is a mock model.", **options)
    known = sorted((*OWN, *COMPATIBLE))
    if vendor in known:
        raise ConfigurationError(f"{name!r} names no model: write vendor:model, such as {vendor}:MODEL")
    near = difflib.get_close_matches(vendor, known, 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(
        f"{name!r} is no provider: write vendor:model, such as anthropic:claude-sonnet-4-5.{meant} "
        f"Vendors are {', '.join(known)}"
    )


def provider_from_env(
    variable: str = VARIABLE, *, default: str | None = None, **options: Any
) -> ClosableProvider:
    """The provider that an environment variable names, so that the same code runs on a mock, on a model of
    this machine and on a vendor's.

    Args:
        variable: default AGENTFOOTPRINT_MODEL, which holds what `create_provider` takes.
        default: the name when the variable is not set; without it that is an error.
        options: those of `create_provider`.

    Raises:
        ConfigurationError: the variable is not set, or its value names no provider.
    """
    name = os.environ.get(variable) or default
    if not name:
        raise ConfigurationError(
            f"set {variable} to vendor:model, such as anthropic:claude-sonnet-4-5, ollama:llama3.2 or mock"
        )
    try:
        return create_provider(name, **options)
    except ConfigurationError as error:
        if os.environ.get(variable):
            error.add_note(f"The name is the value of {variable}.")
        raise


def _created(vendor: str, model: str, options: dict[str, Any]) -> ClosableProvider:
    from . import (
        AnthropicProvider,
        BedrockProvider,
        HTTPAnthropicProvider,
        HTTPOpenAIProvider,
        OpenAIProvider,
    )

    if vendor == "mock":
        return MockProvider(reply=model, **options)
    if (server := COMPATIBLE.get(vendor)) is None:
        classes: dict[str, Callable[..., ClosableProvider]] = {
            "anthropic": AnthropicProvider,
            "bedrock": BedrockProvider,
            "http-anthropic": HTTPAnthropicProvider,
            "http-openai": HTTPOpenAIProvider,
            "openai": OpenAIProvider,
        }
        return classes[vendor](model, **options)
    if server.key is not None:
        options["api_key"] = key_of(options.get("api_key"), server.key, vendor)
    return HTTPOpenAIProvider(model, **{"base_url": server.base_url, "name": vendor, **options})
