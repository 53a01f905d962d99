"""Text to vectors behind one port."""

from __future__ import annotations

from .base import Embedder, Embedding, Purpose
from .mock import MockEmbedder

__all__ = ["Embedder", "Embedding", "MockEmbedder", "Purpose"]
