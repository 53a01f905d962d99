"""The provider that docs/providers.md writes, against a server that speaks the wire it claims to speak."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.docs.blocks import blocks

from agentfootprint import Agent, Completed, tool

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"

ANSWERS: list[dict[str, Any]] = [
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_abc",
                "type": "function",
                "function": {"name": "stock", "arguments": '{"item": "tent"}'},
            }
        ],
    },
    {"role": "assistant", "content": "There are 3 tents."},
]


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = ANSWERS[len(self.server.bodies)]
        self.server.bodies.append(body)
        self.server.keys.append(self.headers["Authorization"])
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
        data = json.dumps(answer).encode()
        self.send_response(200 if self.path == "/v1/chat/completions" else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def provider(server: Server) -> Any:
    (block,) = [block for block in blocks(PAGE) if "class ChatCompletions" in block.source]
    names: dict[str, Any] = {}
    exec(block.compile(), names)  # noqa: S102 - our own documentation
    return names["ChatCompletions"]("m", f"http://127.0.0.1:{server.server_port}/v1", "secret")


@tool
async def stock(item: str) -> str:
    """How many there are."""
    return f"3 of {item}"


async def test_it_carries_tools_calls_and_results_over_the_wire(server: Server, provider: Any) -> None:
    agent: Agent[None, str] = Agent(provider, system="Be short.", tools=[stock])
    result = await agent.run("How many tents are there?")
    assert isinstance(result, Completed)
    assert result.output == "There are 3 tents."
    assert result.usage.total_tokens == 30
    first, second = server.bodies
    assert first["messages"][0] == {"role": "system", "content": "Be short."}
    assert first["tools"][0]["function"]["name"] == "stock"
    asked, answered = second["messages"][2:]
    assert asked["tool_calls"][0]["function"] == {"name": "stock", "arguments": '{"item": "tent"}'}
    assert answered == {"role": "tool", "tool_call_id": "call_abc", "content": "3 of tent"}
    assert server.keys == ["Bearer secret"] * 2


async def test_it_streams_by_handing_on_the_whole_answer(server: Server, provider: Any) -> None:
    async with Agent[None, str](provider, tools=[stock]).stream("How many tents are there?") as run:
        seen = [event.type async for event in run]
    assert "model.text" in seen
    assert run.result.status == "completed"
