"""Addresses that answer what they should not: each call ends with what is known of it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentfootprint.retry import RetryPolicy
from agentfootprint.tools import MCPClient
from agentfootprint.tools.mcp.http import Steady, verdict
from agentfootprint.tools.mcp.session import Lost
from tests.servers.proxy import Proxy
from tests.tools.mcp import tiny_server
from tests.tools.mcp.calling import called, until
from tests.tools.mcp.conftest import HTTPServer

AT_ONCE = RetryPolicy(max_attempts=3, initial_delay=0.01, max_delay=0.01)
JSON = "application/json"

Body = bytes | Iterable[bytes]
Reply = tuple[int, dict[str, str], Body]


@asynccontextmanager
async def answering(calls: Callable[[dict[str, Any]], Reply], **options: Any) -> AsyncIterator[Any]:
    """A client of a server that does as it should but for calls of tools, and the methods it was asked."""
    methods: list[str] = []

    def replied(message: dict[str, Any]) -> Reply:
        if message["method"] == "tools/call":
            return calls(message)
        head = {"jsonrpc": "2.0", "id": message.get("id")}
        if "id" not in message:
            return 202, {}, b""
        try:
            body = {**head, "result": tiny_server.answer(message["method"], {})}
        except KeyError:
            body = {**head, "error": {"code": -32601, "message": "Method not found"}}
        return 200, {"content-type": JSON, "mcp-session-id": f"s{len(methods)}"}, json.dumps(body).encode()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for what in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{what}.complete"})
            return
        reply: Reply = (405, {}, b"")
        if scope["method"] == "POST":
            sent, more = b"", True
            while more:
                event = await receive()
                sent, more = sent + event.get("body", b""), event.get("more_body", False)
            message = json.loads(sent)
            methods.append(message["method"])
            reply = replied(message)
        status, headers, body = reply
        told = [(k.encode(), v.encode()) for k, v in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": told})
        for piece in [body] if isinstance(body, bytes) else body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    server = HTTPServer(lambda: app)
    await server.start()
    try:
        async with MCPClient.http(server.url, protocol="2025-11-25", retry=AT_ONCE, **options) as mcp:
            yield mcp, methods
    finally:
        await server.stop()


def result(message: dict[str, Any], text: str = "fine", **more: Any) -> dict[str, Any]:
    content = {"content": [{"type": "text", "text": text}]}
    return {"jsonrpc": "2.0", "id": message["id"], "result": content, **more}


def said(message: Any) -> Reply:
    return 200, {"content-type": JSON}, json.dumps(message).encode()


@pytest.mark.parametrize(
    ("calls", "says"),
    [
        (lambda m: said(result(m, id=m["id"] + 1000)), "its answer is not one to the request"),
        (lambda m: said({"jsonrpc": "2.0", "method": "notifications/none"}), "its answer is not one"),
        (lambda m: said([result(m)]), "its answer is not one"),
        (lambda m: said("fine"), "its answer is not one"),
        (lambda m: (200, {"content-type": JSON}, b'{"jsonrpc": "2.0", "id"'), "its answer is not one"),
        (lambda m: (200, {"content-type": JSON}, b"[" * 100_000), "its answer is not one"),
        (
            lambda m: said({"jsonrpc": "2.0", "id": None, "error": {"code": -5, "message": "boom"}}),
            "failed: boom (error -5)",
        ),
        (lambda m: (200, {"content-type": "text/html"}, b"<p>Sign in"), "Unexpected content type: text/html"),
        (lambda m: (200, {}, b""), "Unexpected content type"),
        (lambda m: (202, {}, b""), "202 Accepted"),
        (lambda m: (200, {"content-type": "text/event-stream"}, b"data: {\n\n"), "cannot be read"),
        (lambda m: (200, {"content-type": "text/event-stream"}, b": nothing\n\n"), "the connection broke"),
        (
            lambda m: (
                200,
                {"content-type": JSON, "content-encoding": "gzip"},
                gzip.compress(json.dumps(result(m, "x" * 50_000_000)).encode(), 1),
            ),
            "its answer is compressed, which it was not asked for",
        ),
        (
            lambda m: (200, {"content-type": JSON}, (b" " * 1_000_000 for _ in range(100))),
            "its answer is larger than 10,002,000 bytes",
        ),
        (
            lambda m: (
                200,
                {"content-type": "text/event-stream"},
                (b"data: " + b"x" * 10**6 for _ in range(100)),
            ),
            "the connection broke",
        ),
    ],
)
async def test_an_answer_that_is_none_ends_its_call_and_no_other(
    calls: Callable[[dict[str, Any]], Reply], says: str
) -> None:
    rude = True

    def either(message: dict[str, Any]) -> Reply:
        return calls(message) if rude else said(result(message))

    async with answering(either, max_data_bytes=1000) as (mcp, methods):
        answer = await called(mcp, "double", n=1)
        assert answer.is_error
        assert says in answer.text
        assert methods.count("tools/call") == 1
        rude = False
        assert (await called(mcp, "double", n=1)).text == "fine"
        assert methods.count("initialize") == 1


@pytest.mark.parametrize("status", [404, 400])
async def test_a_session_that_its_server_does_not_know_is_opened_again(status: int) -> None:
    known: list[str] = []

    def calls(message: dict[str, Any]) -> Reply:
        known.append(message["method"])
        error = {"code": -32000, "message": "Bad Request: No valid session ID provided"}
        gone = {"jsonrpc": "2.0", "id": None, "error": error}
        if len(known) == 1:
            return status, {"content-type": JSON}, json.dumps(gone).encode()
        return said(result(message))

    async with answering(calls) as (mcp, methods):
        assert (await called(mcp, "double", n=1)).text == "fine"
        assert methods.count("initialize") == 2


async def test_an_answer_with_status_400_that_is_one_ends_no_session() -> None:
    def calls(message: dict[str, Any]) -> Reply:
        error = {"code": -32602, "message": "n is odd"}
        told = {"jsonrpc": "2.0", "id": message["id"], "error": error}
        return 400, {"content-type": JSON}, json.dumps(told).encode()

    async with answering(calls) as (mcp, methods):
        assert (await called(mcp, "double", n=1)).text == "double failed: n is odd (error -32602)"
        assert methods.count("initialize") == methods.count("tools/call") == 1


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (httpx2.ConnectError("x"), False),
        (httpx2.ConnectTimeout("x"), False),
        (httpx2.PoolTimeout("x"), False),
        (httpx2.ReadError("x"), True),
        (httpx2.ReadTimeout("x"), True),
        (httpx2.RemoteProtocolError("x"), True),
    ],
)
async def test_what_fails_on_the_way_ends_no_session(error: Exception, sent: bool) -> None:
    class Broken(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raise error

    async def headers() -> dict[str, str]:
        return {}

    steady = Steady(httpx2.URL("http://h/mcp"), headers, 1000, Broken())
    request = httpx2.Request("POST", "http://h/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "m"})
    response = await steady.handle_async_request(request)
    found = verdict(json.loads(response.content)["error"]["data"])
    assert isinstance(found, Lost)
    assert (found.sent, found.gone) == (sent, False)


async def test_calls_that_cannot_connect_leave_those_alone_that_are_under_way(
    http_server: HTTPServer, journal: Path
) -> None:
    async with Proxy(http_server.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/mcp"
        async with MCPClient.http(url, protocol="2025-11-25", retry=AT_ONCE) as mcp:
            waiting = asyncio.create_task(called(mcp, "wait", key="k"))
            await until(lambda: "wait k" in journal.read_text())
            proxy.refuse()
            answers = await asyncio.gather(*(called(mcp, "add", a=i, b=i) for i in range(20)))
            assert any("was not run" in each.text for each in answers), "they needed no connection"
            await proxy.listen()
            assert (await called(mcp, "add", a=1, b=2)).text == "3"
            assert len({h["mcp-session-id"] for h in http_server.headers if "mcp-session-id" in h}) == 1
            assert not waiting.done()
            waiting.cancel()
            await asyncio.wait({waiting})


@pytest.mark.parametrize("protocol", ["2025-11-25", "2026-07-28"])
async def test_changes_are_heard_after_the_connection_for_them_broke(
    http_server: HTTPServer, protocol: Any
) -> None:
    def listening() -> int:
        return sum(
            method == "GET" or headers.get("mcp-method") == "subscriptions/listen"
            for method, headers in zip(http_server.methods, http_server.headers, strict=True)
        )

    async with Proxy(http_server.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/mcp"
        async with MCPClient.http(url, protocol=protocol, refresh=3600, retry=AT_ONCE) as mcp:
            await mcp.digests()
            for times in (1, 2, 3):
                await until(lambda times=times: listening() >= times)  # type: ignore[misc]
                proxy.cut()
            await until(lambda: listening() >= 4)
            assert (await called(mcp, "add", a=1, b=2)).text == "3"

            async def heard() -> bool:
                # What is told while the connection is made is told to nobody.
                await called(mcp, "grow")
                return any(name.startswith("more_") for name in await mcp.digests())

            await until(heard)
