"""What Cohere's embedding models are asked and answer, at Cohere and in Amazon Bedrock alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .base import Purpose
from .remote import Vector

__all__ = ["TEXTS", "asked", "vectors"]

TEXTS = 96
"""Texts of one request."""

_INPUT_TYPES: Mapping[Purpose, str] = {"document": "search_document", "query": "search_query"}


def asked(texts: Sequence[str], purpose: Purpose, dimensions: int | None) -> dict[str, Any]:
    """The body, but for the model. The vendor cuts long texts short silently unless it is told not to."""
    body: dict[str, Any] = {
        "texts": list(texts),
        "input_type": _INPUT_TYPES[purpose],
        "embedding_types": ["float"],
        "truncate": "NONE",
    }
    return body if dimensions is None else {**body, "output_dimension": dimensions}


def vectors(data: Mapping[str, Any]) -> Sequence[Vector]:
    found = data["embeddings"]
    # By type, as asked; older versions know one type only.
    chosen: Sequence[Vector] = found["float"] if isinstance(found, dict) else found
    return chosen
