"""Turns of models that hold everything a vendor says of its own: thoughts, signatures, its own tools."""

from __future__ import annotations

import json
from typing import Any

from tests.providers.dialects import Dialect

THOUGHT = 'Die Kundin fragt nach „Ä-1“ 📦.\n\nZwei Wege:\t\\ und ".'
SIGNED = "EqEECkYICxgCKkAo3UA4+Wwb/8ihhpyk==", "Sig2/+=="
REDACTED = "EmwKAhgBEgy3va3pzix/LafPsn4aDFIT2Xlxh0L5L8rLVyIwxtE3rAFBa8cr3qpP=="
SEALED = "gAAAAABo/+sealed-1==", "gAAAAABo/+sealed-2=="
ORDERS = ("Ä-1", "B-2")

PRIVATE = (THOUGHT[:20], *SIGNED, REDACTED, *SEALED, "srvtoolu_1", "ws_1", "secret-page", "thought-signature")
"""What no other vendor may read, as it would stand in JSON or a part of it."""

ANTHROPIC: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": THOUGHT, "signature": SIGNED[0]},
    {"type": "redacted_thinking", "data": REDACTED},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "Ä-1", "n": 1}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [
            {"type": "web_search_result", "url": "https://x.example", "encrypted_content": "secret-page"}
        ],
    },
    {
        "type": "text",
        "text": "Let me look.",
        "citations": [
            {
                "type": "web_search_result_location",
                "url": "https://x.example",
                "encrypted_index": "secret-page",
            }
        ],
    },
    {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "look",
        "input": {"order": ORDERS[0]},
        "caller": {"type": "direct"},
    },
    {"type": "thinking", "thinking": "", "signature": SIGNED[1]},
    {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {"order": ORDERS[1]}},
]

RESPONSES: list[dict[str, Any]] = [
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": THOUGHT}],
        "encrypted_content": SEALED[0],
    },
    {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "secret-page"},
    },
    {
        "type": "message",
        "role": "assistant",
        "phase": "commentary",
        "content": [
            {
                "type": "output_text",
                "text": "Let me look.",
                "annotations": [{"type": "url_citation", "url": "https://secret-page.example"}],
            }
        ],
    },
    {
        "type": "function_call",
        "call_id": "call_1",
        "name": "look",
        "arguments": '{"order":"Ä-1"}',
        "namespace": "shop",
    },
    {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": SEALED[1]},
    {"type": "function_call", "call_id": "call_2", "name": "look", "arguments": '{"order":"B-2"}'},
]

CHAT: dict[str, Any] = {
    "role": "assistant",
    "content": "Let me look.",
    "reasoning_content": THOUGHT,
    "reasoning_details": [
        {"type": "reasoning.text", "index": 0, "text": THOUGHT, "signature": SIGNED[0]},
        {"type": "reasoning.encrypted", "index": 1, "data": SEALED[0]},
    ],
    "tool_calls": [
        {
            "id": f"call_{number}",
            "type": "function",
            "extra_content": {"google": {"thought_signature": "thought-signature"}},
            "function": {"name": "look", "arguments": json.dumps({"order": order}, ensure_ascii=False)},
        }
        for number, order in enumerate(ORDERS)
    ],
}


def native(dialect: Dialect) -> dict[str, Any]:
    """The whole answer of a dialect that holds all of it."""
    whole = dialect.answer("", [("x", "look", {})])
    if "anthropic" in dialect.name:
        return {**whole, "content": ANTHROPIC}
    if "chat" in dialect.name:
        return {**whole, "choices": [{"index": 0, "message": CHAT, "finish_reason": "tool_calls"}]}
    # Ids and states of texts and calls name nothing at a vendor that stores nothing.
    output = [
        {"id": f"i{at}", "status": "completed", **item}
        if item["type"] in ("message", "function_call")
        else item
        for at, item in enumerate(RESPONSES)
    ]
    return {**whole, "output": output}


def native_events(dialect: Dialect) -> list[Any]:
    """The same answer as a stream."""
    whole = native(dialect)
    if "anthropic" in dialect.name:
        return _anthropic_events(whole)
    if "chat" in dialect.name:
        return _chat_events(whole)
    events: list[Any] = [{"type": "response.created", "response": {**whole, "output": []}}]
    for at, item in enumerate(whole["output"]):
        begun = {**item, "arguments": ""} if item["type"] == "function_call" else item
        events.append({"type": "response.output_item.added", "output_index": at, "item": begun})
        if item["type"] == "function_call":
            kind = "response.function_call_arguments.delta"
            events += [
                {"type": kind, "output_index": at, "delta": each} for each in pieces(item["arguments"])
            ]
        events.append({"type": "response.output_item.done", "output_index": at, "item": item})
    return [*events, {"type": "response.completed", "response": whole}]


def pieces(text: str, size: int = 3) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


_DELTAS = {
    "thinking": ("thinking_delta", "thinking"),
    "signature": ("signature_delta", "signature"),
    "text": ("text_delta", "text"),
    "input": ("input_json_delta", "partial_json"),
    "citations": ("citations_delta", "citation"),
}


def _anthropic_events(whole: dict[str, Any]) -> list[Any]:
    events: list[Any] = [{"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}]
    for index, block in enumerate(whole["content"]):
        begun = {
            key: [] if key == "citations" else {} if key == "input" else "" for key in _DELTAS if key in block
        }
        events.append({"type": "content_block_start", "index": index, "content_block": {**block, **begun}})
        for key in ("thinking", "signature", "citations", "text", "input"):
            kind, name = _DELTAS[key]
            value = block.get(key, "")
            if isinstance(value, dict):
                value = json.dumps(value, ensure_ascii=False)
            for piece in [value] if value and isinstance(value, list) else pieces(value) if value else []:
                delta = {"type": kind, name: piece[0] if isinstance(piece, list) else piece}
                events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": whole["stop_reason"]},
            "usage": {"output_tokens": 5},
        }
    )
    return [*events, {"type": "message_stop"}]


def _chat_events(whole: dict[str, Any]) -> list[Any]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"object": "chat.completion.chunk", "model": whole["model"], "choices": [choice]}

    message = whole["choices"][0]["message"]
    first, second = message["reasoning_details"]
    events = [chunk({"reasoning_content": each}) for each in pieces(message["reasoning_content"])]
    begun = {key: value for key, value in first.items() if key != "signature"}
    events += [chunk({"reasoning_details": [{**begun, "text": each}]}) for each in pieces(first["text"])]
    events.append(chunk({"reasoning_details": [{**first, "text": ""}]}))
    events += [chunk({"reasoning_details": [{**second, "data": each}]}) for each in pieces(second["data"])]
    events += [chunk({"content": each}) for each in pieces(message["content"])]
    for index, call in enumerate(message["tool_calls"]):
        function = {"name": call["function"]["name"], "arguments": ""}
        events.append(chunk({"tool_calls": [{**call, "index": index, "function": function}]}))
        for each in pieces(call["function"]["arguments"]):
            events.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": each}}]}))
    events.append(chunk({}, "tool_calls"))
    return [*events, {**chunk({}), "choices": [], "usage": whole["usage"]}, "[DONE]"]


def sent_back(dialect: Dialect, body: dict[str, Any]) -> Any:
    """What a request holds of the model's turn."""
    if "anthropic" in dialect.name:
        return next(turn["content"] for turn in body["messages"] if turn["role"] == "assistant")
    if "chat" in dialect.name:
        return next(message for message in body["messages"] if message["role"] == "assistant")
    items = body["input"]
    return [item for item in items if item.get("role") != "user" and item["type"] != "function_call_output"][
        : len(RESPONSES)
    ]


def expected(dialect: Dialect) -> Any:
    if "anthropic" in dialect.name:
        return ANTHROPIC
    if "chat" not in dialect.name:
        return RESPONSES
    calls = [
        {
            **call,
            "function": {**call["function"], "arguments": json.dumps({"order": order}, ensure_ascii=False)},
        }
        for call, order in zip(CHAT["tool_calls"], ORDERS, strict=True)
    ]
    return {**CHAT, "tool_calls": calls}
