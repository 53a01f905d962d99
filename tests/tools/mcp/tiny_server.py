"""The least MCP server over standard input and output. It starts in no time: to be killed and restarted."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

TOOL = {
    "name": "double",
    "description": "Doubles a number.",
    "inputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
}


def answer(method: str, params: dict[str, Any]) -> Any:
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "tiny", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": str(2 * params["arguments"]["n"])}]}
    raise KeyError(method)


def serve() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        told: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            told["result"] = answer(message["method"], message.get("params", {}))
        except KeyError:
            told["error"] = {"code": -32601, "message": "Method not found"}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    with open(sys.argv[1], "a") as pids:
        pids.write(f"{os.getpid()}\n")
    serve()
