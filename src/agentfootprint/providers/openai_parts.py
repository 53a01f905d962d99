"""What both of OpenAI's wires write alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..flow.codec import dumps, encode
from ..messages import File, Image, ToolCall, Usage
from .media import source

__all__ = ["VENDOR", "arguments_text", "file_fields", "image_url", "strict", "usage"]

VENDOR = "openai"
"""Marks what only this vendor understands, its Responses API to be exact; it travels back to it and to
nobody else. Other servers that speak its APIs have marks of their own."""


def arguments_text(call: ToolCall) -> str:
    return call.raw if call.raw is not None else dumps(encode(call.arguments))


def image_url(part: Image, provider: str) -> str:
    found = source(part, provider)
    return found if isinstance(found, str) else found.url


def file_fields(part: File, provider: str) -> dict[str, Any]:
    found = source(part, provider)
    if isinstance(found, str):
        return {"file_url": found}
    return {"filename": part.name or "document", "file_data": found.url}


# What the vendor's strict mode does not know ("Structured Outputs", supported schemas).
_UNSUPPORTED = frozenset(
    ("allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else", "patternProperties")
)


def strict(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is one that the vendor can hold a model to exactly: an object whose objects list all
    of their properties as required and allow no others (OpenAI, "Structured Outputs", supported schemas)."""
    return schema.get("type") == "object" and "anyOf" not in schema and _strict(schema)


def _strict(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return True
    if not _UNSUPPORTED.isdisjoint(schema):
        return False
    properties = schema.get("properties", {})
    if schema.get("type") == "object" or properties:
        if schema.get("additionalProperties") is not False:
            return False
        if set(properties) != set(schema.get("required", ())):
            return False
    within = [*properties.values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    return all(map(_strict, [*within, schema.get("items")]))


def usage(data: Mapping[str, Any] | None) -> Usage | None:
    """Tokens in the words of either API."""
    if not data:
        return None
    read = data.get("input_tokens", data.get("prompt_tokens"))
    written = data.get("output_tokens", data.get("completion_tokens"))
    if read is None or written is None:
        return None
    inward = data.get("input_tokens_details") or data.get("prompt_tokens_details") or {}
    outward = data.get("output_tokens_details") or data.get("completion_tokens_details") or {}
    cached, thought = inward.get("cached_tokens") or 0, outward.get("reasoning_tokens") or 0
    return Usage(read, written, cached, inward.get("cache_write_tokens") or 0, thought)
