"""The wire of Anthropic's Messages API (https://docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..messages import (
    File,
    Image,
    LLMChunk,
    LLMRequest,
    LLMResponse,
    Message,
    Opaque,
    Part,
    Reasoning,
    StopKind,
    Text,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from ..vendors.failures import failure_in
from .media import called, refusal, source
from .turns import CallIds, turns
from .wire import joined, tool_call

__all__ = ["AnthropicWire"]

VENDOR = "anthropic"
"""Marks what only this vendor understands; it travels back to it and to nobody else."""

_STOPS: Mapping[str, StopKind] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "tool_use": "tool_calls",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "refusal": "refusal",
    "pause_turn": "paused",
}

_COUNTED = frozenset(
    ("model", "tools", "system", "messages", "output_config", "tool_choice", "thinking", "cache_control")
)
"""What counting tokens takes of a body."""

_CACHED = {"type": "ephemeral"}


class AnthropicWire:
    """Requests and answers of the Messages API.

    `max_tokens` is asked for when the request does not say; the API wants a number. With `cache` the ends
    of the tools, of the system prompt and (automatically) of the conversation so far are marked for the
    vendor's prompt cache: three of the four marks that it allows. `extra` joins every body.
    """

    path = stream_path = "/v1/messages"

    def __init__(
        self, name: str, max_tokens: int = 4096, cache: bool = True, extra: Mapping[str, Any] | None = None
    ) -> None:
        self._name = name
        self._max_tokens = max_tokens
        self._cache = cache
        self._extra = dict(extra or {})

    def body(self, request: LLMRequest, model: str, *, stream: bool) -> dict[str, Any]:
        # Keys stand in the order of the vendor's prefix: tools, system, messages.
        body: dict[str, Any] = {"model": model, "max_tokens": request.max_tokens or self._max_tokens}
        if request.tools:
            body["tools"] = [
                {"name": each.name, "description": each.description, "input_schema": dict(each.schema)}
                for each in request.tools
            ]
            if self._cache:
                body["tools"][-1]["cache_control"] = _CACHED
        if request.system:
            block: dict[str, Any] = {"type": "text", "text": request.system}
            body["system"] = [{**block, "cache_control": _CACHED} if self._cache else block]
        body["messages"] = _Blocks(self._name).of(request.messages)
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.output_schema is not None:
            schema = _closed(request.output_schema)
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        if self._cache:
            body["cache_control"] = _CACHED
        if stream:
            body["stream"] = True
        return joined(body, self._extra)

    def counted(self, request: LLMRequest, model: str) -> dict[str, Any]:
        """What token counting is asked for."""
        body = self.body(request, model, stream=False)
        return {key: value for key, value in body.items() if key in _COUNTED}

    def whole(self, data: Mapping[str, Any], request_id: str | None) -> LLMResponse:
        if data.get("type") == "error" or data.get("error"):
            raise failure_in(self._name, data, request_id)
        return LLMResponse(
            parts=[part for block in data["content"] if (part := _part(block)) is not None],
            usage=_usage(data.get("usage")),
            stop_reason=_STOPS.get(data.get("stop_reason") or "", "other"),
            model=data.get("model"),
            request_id=request_id,
            provider=self._name,
        )

    def decoder(self) -> _Decoder:
        return _Decoder(self)


class _Decoder:
    """Puts a message together from its events; what comes out is read as a whole one is."""

    def __init__(self, wire: AnthropicWire) -> None:
        self._wire = wire
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._grown: dict[tuple[int, str], list[str]] = {}
        self._calls: dict[int, int] = {}
        self.done = self.over = False

    def feed(self, event: Mapping[str, Any]) -> Iterator[LLMChunk]:
        kind = event.get("type")
        if kind == "content_block_delta":
            yield from self._delta(event["index"], event["delta"])
        elif kind == "content_block_start":
            index = event["index"]
            block = self._blocks[index] = dict(event["content_block"])
            if block.get("type") == "tool_use":
                number = self._calls[index] = len(self._calls)
                yield LLMChunk(tool_call_delta=ToolCallDelta(number, block.get("id"), block.get("name")))
            elif block.get("type") == "text" and block.get("text"):
                yield LLMChunk(block["text"])
        elif kind == "message_start":
            self._message = dict(event["message"])
        elif kind == "message_delta":
            self._message |= {k: v for k, v in event["delta"].items() if v is not None}
            usage = {k: v for k, v in (event.get("usage") or {}).items() if v is not None}
            self._message["usage"] = {**(self._message.get("usage") or {}), **usage}
        elif kind == "message_stop":
            self.done = self.over = True
        elif kind == "error" or event.get("error"):
            raise failure_in(self._wire._name, event)

    def _delta(self, index: int, delta: Mapping[str, Any]) -> Iterator[LLMChunk]:
        block = self._blocks[index]
        kind = delta.get("type")
        field = _GROWS.get(str(kind))
        if field is not None:
            self._grown.setdefault((index, field), []).append(delta[_PIECE.get(field, field)])
        if kind == "text_delta":
            yield LLMChunk(delta["text"])
        elif kind == "thinking_delta":
            yield LLMChunk(reasoning=delta["thinking"])
        elif kind == "input_json_delta" and (number := self._calls.get(index)) is not None:
            yield LLMChunk(tool_call_delta=ToolCallDelta(number, arguments=delta["partial_json"]))
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]

    def response(self, request_id: str | None) -> LLMResponse:
        for (index, field), pieces in self._grown.items():
            block = self._blocks[index]
            # What a block of a tool begins with stands for nothing; its pieces are the whole input.
            begin = "" if field == "input" else block.get(field) or ""
            if text := begin + "".join(pieces):
                block[field] = text
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        return self._wire.whole({**self._message, "content": blocks}, request_id)


_GROWS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "input",
}
_PIECE = {"input": "partial_json"}


# ── parts ───────────────────────────────────────────────────────────────────────────────────────


class _Blocks:
    """The blocks of one request's messages."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._ids = CallIds()

    def of(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        return list(turns(messages, self._block, self._result))

    def _result(self, message: Message) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": self._ids.of_result(message.call_id)}
        if content := [made for part in message.parts if (made := self._block(part)) is not None]:
            block["content"] = content
        return {**block, "is_error": True} if message.is_error else block

    def _block(self, part: Part) -> dict[str, Any] | None:
        if isinstance(part, ToolCall):
            return {
                "type": "tool_use",
                "id": self._ids.of_call(part.id),
                "name": part.name,
                "input": dict(part.arguments),
                **_extra(part),
            }
        if isinstance(part, Image):
            return {"type": "image", "source": self._source(part)}
        if isinstance(part, File):
            block = {"type": "document", "source": self._source(part)}
            return {**block, "title": part.name} if part.name else block
        return _block(part)

    def _source(self, part: Image | File) -> dict[str, Any]:
        found = source(part, self._provider)
        if isinstance(found, str):
            return {"type": "url", "url": found}
        if isinstance(part, Image) or found.media_type == "application/pdf":
            return {"type": "base64", "media_type": found.media_type, "data": found.data}
        if not found.media_type.startswith("text/"):
            raise refusal(
                self._provider,
                f"{called(part)} is {found.media_type}, and this API takes documents as PDF or as text only",
            )
        text = base64.b64decode(found.data).decode("utf-8", "replace")
        return {"type": "text", "media_type": "text/plain", "data": text}


def _block(part: Text | Reasoning | Opaque) -> dict[str, Any] | None:
    if isinstance(part, Text):
        # The API refuses text without a visible character, which models do write between calls.
        return {"type": "text", "text": part.text, **_extra(part)} if part.text.strip() else None
    if part.provider != VENDOR:
        return None
    if isinstance(part, Opaque):
        return dict(part.data)
    if part.data is not None:
        return {"type": "redacted_thinking", "data": part.data}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature or ""}


def _extra(part: Text | ToolCall) -> dict[str, Any]:
    return dict(part.extra.data) if part.extra is not None and part.extra.provider == VENDOR else {}


def _beside(block: Mapping[str, Any], *known: str) -> Opaque | None:
    """What a block says beyond what is known of its kind."""
    rest = {k: v for k, v in block.items() if v and k not in ("type", *known)}
    return Opaque(VENDOR, rest) if rest else None


def _part(block: Mapping[str, Any]) -> Part | None:
    kind = block.get("type")
    if kind == "text":
        text = block.get("text")
        return Text(text, extra=_beside(block, "text")) if text else None
    if kind == "tool_use":
        given = block.get("input")
        text = given if isinstance(given, str) else json.dumps(given or {}, ensure_ascii=False)
        extra = _beside(block, "id", "name", "input")
        return tool_call(block.get("id"), block["name"], text, extra)
    if kind == "thinking":
        return Reasoning(block.get("thinking") or "", block.get("signature") or None, None, VENDOR)
    if kind == "redacted_thinking":
        return Reasoning("", None, block["data"], VENDOR)
    data = dict(block)
    if isinstance(given := data.get("input"), str):
        data["input"] = json.loads(given) if given else {}
    return Opaque(VENDOR, data)


def _usage(data: Mapping[str, Any] | None) -> Usage | None:
    if not data or data.get("input_tokens") is None or data.get("output_tokens") is None:
        return None
    read, written = data.get("cache_read_input_tokens") or 0, data.get("cache_creation_input_tokens") or 0
    details = data.get("output_tokens_details") or {}
    return Usage(
        # The vendor counts what it read from and wrote to the cache apart from the rest.
        data["input_tokens"] + read + written,
        data["output_tokens"],
        read,
        written,
        details.get("thinking_tokens") or 0,
    )


def _closed(schema: Any) -> Any:
    """The schema with objects that allow nothing beyond their properties, which the API demands to be said
    (Anthropic, "Structured outputs", JSON Schema limitations): what fits it fits the schema given."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    closed = {key: value if key in _VALUES else _closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties", {}), Mapping):
        closed.setdefault("additionalProperties", False)
    return closed


_VALUES = frozenset(("const", "default", "enum", "examples", "required"))
