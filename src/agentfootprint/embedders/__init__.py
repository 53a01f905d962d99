"""Text to vectors behind one port."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import Embedder, Embedding, MeasuringEmbedder, Purpose
from .mock import MockEmbedder
from .usage import EmbeddingUsage, metered

if TYPE_CHECKING:
    from .bedrock import BedrockEmbedder as BedrockEmbedder
    from .cohere import CohereEmbedder as CohereEmbedder
    from .local import LocalEmbedder as LocalEmbedder
    from .openai import OpenAIEmbedder as OpenAIEmbedder

# Name to module; loaded on first use: nobody waits for a vendor that is not used.
_LAZY = {
    "BedrockEmbedder": "bedrock",
    "CohereEmbedder": "cohere",
    "LocalEmbedder": "local",
    "OpenAIEmbedder": "openai",
}

__all__ = [
    "BedrockEmbedder",
    "CohereEmbedder",
    "Embedder",
    "Embedding",
    "EmbeddingUsage",
    "LocalEmbedder",
    "MeasuringEmbedder",
    "MockEmbedder",
    "OpenAIEmbedder",
    "Purpose",
    "metered",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
