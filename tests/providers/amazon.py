"""Bedrock's answers as its Converse API gives them, and the binary frames of its streams."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

__all__ = ["Binary", "converse", "converse_events", "frame"]


class Binary(dict[str, Any]):
    """An event that is sent as a binary frame."""


def frame(event: dict[str, Any]) -> bytes:
    """One message of `application/vnd.amazon.eventstream`: `{name: payload}`; names of exceptions end so."""
    ((name, payload),) = event.items()
    failed = name.endswith("Exception")
    told = {
        ":exception-type" if failed else ":event-type": name,
        ":content-type": "application/json",
        ":message-type": "exception" if failed else "event",
    }
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in told.items()
    )
    body = json.dumps(payload, ensure_ascii=False).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))


def converse(text: str, calls: list[Any], stop: str) -> dict[str, Any]:
    content: list[Any] = [{"text": text}] if text else []
    content += [{"toolUse": {"toolUseId": i, "name": name, "input": given}} for i, name, given in calls]
    reason = {"": "tool_use" if calls else "end_turn", "length": "max_tokens", "filter": "content_filtered"}
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": reason[stop],
        "usage": {
            "inputTokens": 10,
            "outputTokens": 5,
            "totalTokens": 135,
            "cacheReadInputTokens": 100,
            "cacheWriteInputTokens": 20,
        },
        "metrics": {"latencyMs": 1},
    }


def converse_events(text: str, calls: list[Any], stop: str, pieces: Any, interleaved: Any) -> list[Any]:
    whole = converse(text, calls, stop)
    events: list[dict[str, Any]] = [{"messageStart": {"role": "assistant"}}]
    events += [
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": piece}, "p": "abc"}}
        for piece in pieces(text)
    ]
    first = 1 if text else 0
    for at, (call_id, name, _) in enumerate(calls):
        start = {"toolUse": {"toolUseId": call_id, "name": name}}
        events.append({"contentBlockStart": {"contentBlockIndex": first + at, "start": start}})
    for at, piece in interleaved(calls):
        delta = {"toolUse": {"input": piece}}
        events.append({"contentBlockDelta": {"contentBlockIndex": first + at, "delta": delta}})
    events.append({"messageStop": {"stopReason": whole["stopReason"]}})
    events.append({"metadata": {"usage": whole["usage"], "metrics": whole["metrics"]}})
    return [Binary(event) for event in events]
