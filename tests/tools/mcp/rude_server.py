"""A server of bad manners over standard input and output: `python rude_server.py MANNERS JOURNAL`.

It answers rightly in the end. `JOURNAL` gets the method of each request, and the process that got it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

out = sys.stdout.buffer

GARBAGE = [
    b"Listening on standard input",
    b"{",
    b"[]",
    b"42",
    b"",
    b'{"jsonrpc": "2.0"}',
    b"\xff\xfe\x00 no text",
    b'{"jsonrpc": "2.0", "id": 99999, "result": {}}',
    b'{"jsonrpc": "2.0", "id": null, "error": {"code": -1, "message": "x"}}',
    b'{"jsonrpc": "2.0", "id": "x", "method": "no/such"}',
    b'{"jsonrpc": "2.0", "method": "notifications/none", "params": {"a": [1]}}',
    b'{"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 7}}',
    b'[{"jsonrpc": "2.0", "id": 1, "result": {}}]',
]


STORM = 500


def put(*lines: bytes) -> None:
    out.write(b"\n".join(lines) + b"\n")
    out.flush()


def told(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params}).encode()


def tool(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "description": "d", "inputSchema": {"type": "object", **schema}}


BAD: list[dict[str, Any]] = [
    {"properties": {"a": {"type": "no such type"}}},
    {"additionalProperties": 3},
    {"properties": {"a": {"pattern": "("}}},
    {"properties": {"a": {"$ref": "#/nowhere"}}},
    {"allOf": 3},
]


def tools(manners: str) -> list[dict[str, Any]]:
    if manners == "thousand":
        return [tool(f"t{i}", **(BAD[i // 10 % len(BAD)] if i % 10 == 3 else {})) for i in range(1000)]
    if manners == "endless":
        return [tool(f"t{i}") for i in range(10_001)]
    if manners == "twice":
        return [tool("t"), tool("t"), tool("u")]
    if manners == "no mcp":
        return [tool("t"), tool("u", properties="none")]
    if manners == "odd":
        anything = {"a": True, "b": {"$ref": "#"}, "c": {"type": ["string", "null"]}, "d": {"enum": []}}
        return [tool("t", properties=anything, required=["a", "c"])]
    return [tool("t")]


def answer(manners: str, method: str, params: dict[str, Any]) -> Any:
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "rude", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": tools(manners)}
    if method == "tools/call":
        if manners == "storm":
            token = params["_meta"]["progressToken"]
            for at in range(STORM):
                put(
                    told("tools/list_changed"),
                    told("progress", progressToken=token, progress=at, total=STORM, message="m"),
                    told("message", level="info", data="m"),
                )
        text = "x" * params["arguments"].get("size", 0) or "fine"
        return {"content": [{"type": "text", "text": text}]}
    raise KeyError(method)


def serve(manners: str, journal: str) -> None:
    if manners == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        message = json.loads(line)
        with open(journal, "a") as file:
            file.write(f"{message.get('method')} {os.getpid()}\n")
        if "id" not in message or "method" not in message:
            continue
        if manners == "garbage":
            put(*GARBAGE)
        if manners == "stubborn" and message["method"] == "tools/call":
            # It hangs up, and stays.
            os.close(1)
            time.sleep(600)
        head: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            body = {"result": answer(manners, message["method"], message.get("params", {}))}
        except KeyError:
            body = {"error": {"code": -32601, "message": "Method not found"}}
        # Servers of Python write the id first, those of TypeScript last.
        put(json.dumps(body | head if manners == "id last" else head | body).encode())
        if manners == "garbage":
            put(json.dumps(head | {"result": {"content": [{"type": "text", "text": "again"}]}}).encode())


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
