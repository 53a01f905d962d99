"""Language models behind one port."""

from __future__ import annotations

from .base import LLMProvider, complete_from_stream, stream_from_complete
from .mock import MockProvider

__all__ = ["LLMProvider", "MockProvider", "complete_from_stream", "stream_from_complete"]
