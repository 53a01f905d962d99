"""The same answers in the words of each wire, and the providers that speak it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentfootprint.providers import (
    AnthropicProvider,
    BedrockProvider,
    HTTPAnthropicProvider,
    HTTPOpenAIProvider,
    LLMProvider,
    OpenAIProvider,
)

from .amazon import Binary, converse, converse_events

KEY = "sk-sentinel-0123456789"

Call = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True)
class Dialect:
    """How a vendor says things. `make` builds the provider for a server's address."""

    name: str
    make: Callable[[str], Any]
    whole: Callable[[str, list[Call], str], dict[str, Any]]
    events: Callable[[str, list[Call], str], list[Any]]
    error_event: Any
    context_error: Any
    tail: int = 1
    """How many events of a stream's end are its terminal event and what may be missing after it."""

    def answer(self, text: str = "", calls: list[Call] | None = None, stop: str = "") -> dict[str, Any]:
        return self.whole(text, calls or [], stop)

    def stream(self, text: str = "", calls: list[Call] | None = None, stop: str = "") -> list[Any]:
        return self.events(text, calls or [], stop)


# ── Anthropic ───────────────────────────────────────────────────────────────────────────────────


def _anthropic(text: str, calls: list[Call], stop: str) -> dict[str, Any]:
    content: list[Any] = [{"type": "text", "text": text}] if text else []
    content += [{"type": "tool_use", "id": i, "name": name, "input": given} for i, name, given in calls]
    reason = {"": "tool_use" if calls else "end_turn", "length": "max_tokens", "filter": "refusal"}[stop]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 20,
        },
    }


def _anthropic_events(text: str, calls: list[Call], stop: str) -> list[Any]:
    whole = _anthropic(text, calls, stop)
    events: list[Any] = [
        {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
        {"type": "ping"},
    ]
    index = 0
    if text:
        events.append(
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        )
        events += [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in _pieces(text)
        ]
        events.append({"type": "content_block_stop", "index": 0})
        index = 1
    for at, (call_id, name, _) in enumerate(calls):
        block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
        events.append({"type": "content_block_start", "index": index + at, "content_block": block})
    for at, piece in _interleaved(calls):
        delta = {"type": "input_json_delta", "partial_json": piece}
        events.append({"type": "content_block_delta", "index": index + at, "delta": delta})
    return [
        *events,
        {
            "type": "message_delta",
            "delta": {"stop_reason": whole["stop_reason"]},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]


# ── OpenAI ──────────────────────────────────────────────────────────────────────────────────────

_CHAT_USAGE = {
    "prompt_tokens": 130,
    "completion_tokens": 5,
    "total_tokens": 135,
    "prompt_tokens_details": {"cached_tokens": 100},
}


def _chat(text: str, calls: list[Call], stop: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
            for i, name, given in calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": _chat_stop(calls, stop)}
    return {
        "id": "c",
        "object": "chat.completion",
        "model": "gpt-test",
        "choices": [choice],
        "usage": _CHAT_USAGE,
    }


def _chat_stop(calls: list[Call], stop: str) -> str:
    return {"": "tool_calls" if calls else "stop", "length": "length", "filter": "content_filter"}[stop]


def _chat_events(text: str, calls: list[Call], stop: str) -> list[Any]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"object": "chat.completion.chunk", "model": "gpt-test", "choices": [choice]}

    events = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": p}) for p in _pieces(text))]
    for at, (call_id, name, _) in enumerate(calls):
        function = {"name": name, "arguments": ""}
        events.append(chunk({"tool_calls": [{"index": at, "id": call_id, "function": function}]}))
    for at, piece in _interleaved(calls):
        events.append(chunk({"tool_calls": [{"index": at, "function": {"arguments": piece}}]}))
    events.append(chunk({}, _chat_stop(calls, stop)))
    events.append(
        {"object": "chat.completion.chunk", "model": "gpt-test", "choices": [], "usage": _CHAT_USAGE}
    )
    return [*events, "[DONE]"]


def _responses(text: str, calls: list[Call], stop: str) -> dict[str, Any]:
    output: list[Any] = []
    if text:
        block = {"type": "output_text", "text": text, "annotations": []}
        output.append({"type": "message", "id": "m", "role": "assistant", "content": [block]})
    output += [
        {"type": "function_call", "id": f"f{i}", "call_id": i, "name": name, "arguments": json.dumps(given)}
        for i, name, given in calls
    ]
    reason = {"": None, "length": "max_output_tokens", "filter": "content_filter"}[stop]
    return {
        "id": "r",
        "object": "response",
        "model": "gpt-test",
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "error": None,
        "output": output,
        "usage": {
            "input_tokens": 130,
            "output_tokens": 5,
            "total_tokens": 135,
            "input_tokens_details": {"cached_tokens": 100},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _responses_events(text: str, calls: list[Call], stop: str) -> list[Any]:
    whole = _responses(text, calls, stop)
    events: list[Any] = [{"type": "response.created", "response": {**whole, "output": []}}]
    events += [
        {"type": "response.output_text.delta", "output_index": 0, "delta": piece} for piece in _pieces(text)
    ]
    first = 1 if text else 0
    for at, (call_id, name, _) in enumerate(calls):
        item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": ""}
        events.append({"type": "response.output_item.added", "output_index": first + at, "item": item})
    for at, piece in _interleaved(calls):
        kind = "response.function_call_arguments.delta"
        events.append({"type": kind, "output_index": first + at, "delta": piece})
    return [*events, {"type": f"response.{whole['status']}", "response": whole}]


def _pieces(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def _interleaved(calls: list[Call]) -> list[tuple[int, str]]:
    """Pieces of all calls' arguments, in turn."""
    texts = [_pieces(json.dumps(given)) for _, _, given in calls]
    longest = max(map(len, texts), default=0)
    return [(at, pieces[n]) for n in range(longest) for at, pieces in enumerate(texts) if n < len(pieces)]


_OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
_SERVER_ERROR = {"error": {"type": "server_error", "code": 503, "message": "Overloaded"}}
_FAILED = {
    "type": "response.failed",
    "response": {"status": "failed", "error": {"code": "server_error", "message": "Overloaded"}},
}
_TOO_LONG = {
    "type": "error",
    "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"},
}
_TOO_LONG_TOO = {
    "error": {"type": "invalid_request_error", "code": "context_length_exceeded", "message": "no"}
}

Maker = Callable[[str], LLMProvider]


def _dialects() -> list[Dialect]:
    def anthropic(kind: Any) -> Maker:
        return lambda url: kind("claude-test", api_key=KEY, base_url=url)

    def openai(kind: Any, api: str) -> Maker:
        return lambda url: kind("gpt-test", api=api, api_key=KEY, base_url=f"{url}/v1")

    found = []
    for name, kind in (("http-anthropic", HTTPAnthropicProvider), ("anthropic", AnthropicProvider)):
        found.append(Dialect(name, anthropic(kind), _anthropic, _anthropic_events, _OVERLOADED, _TOO_LONG))
    for prefix, made in (("http-", HTTPOpenAIProvider), ("", OpenAIProvider)):
        found.append(
            Dialect(
                f"{prefix}chat", openai(made, "chat"), _chat, _chat_events, _SERVER_ERROR, _TOO_LONG_TOO, 2
            )
        )
        found.append(
            Dialect(
                f"{prefix}responses",
                openai(made, "responses"),
                _responses,
                _responses_events,
                _FAILED,
                _TOO_LONG_TOO,
            )
        )
    return found


DIALECTS = _dialects()
"""Those of the makers of models, each over plain HTTP and over its SDK."""

BEDROCK = Dialect(
    "bedrock",
    lambda url: BedrockProvider("nova-test", api_key=KEY, endpoint_url=url),
    converse,
    lambda text, calls, stop: converse_events(text, calls, stop, _pieces, _interleaved),
    Binary({"serviceUnavailableException": {"message": "Overloaded"}}),
    {"message": "Input is too long for requested model."},
    2,
)
