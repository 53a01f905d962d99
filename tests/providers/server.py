"""A server on this machine that answers as a script says, also badly, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

from .amazon import Binary, frame

Script = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request, and the hands to answer it with."""

    path: str
    headers: dict[str, str]
    raw: bytes
    at: float
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    closed_at: float | None = None
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw or b"{}")
        return found

    async def head(self, status: int = 200, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Scripted"]
        headers = {"connection": "close", **headers}
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        """One piece of a chunked body."""
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    @property
    def streamed(self) -> bool:
        """Whether the client asked for a stream."""
        return bool(self.body.get("stream"))

    async def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def reset(self) -> None:
        """Breaks the connection as a crashed host does."""
        self.writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Waits until the client has closed the connection."""
        try:
            await self.reader.read()
        except ConnectionError:
            pass
        self.closed_at = asyncio.get_running_loop().time()
        self.left.set()

    async def closed(self, within: float) -> None:
        """Fails unless the client closes the connection in so many seconds."""
        await asyncio.wait_for(self.left.wait(), within)


@dataclass
class ScriptedServer:
    """Answers request number n with `scripts[n]`, the last one again when there is none.

    `async with ScriptedServer([...]) as server: ... server.url`.
    """

    scripts: list[Script]
    seen: list[Exchange] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> ScriptedServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._tasks: set[asyncio.Task[Any]] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
            content = await reader.readexactly(int(headers.get("content-length", 0)))
            at = asyncio.get_running_loop().time()
            exchange = Exchange(first.split()[1], headers, content, at, reader, writer)
            self.seen.append(exchange)
            await self.scripts[min(len(self.seen), len(self.scripts)) - 1](exchange)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def says(data: Any, status: int = 200, **headers: str) -> Script:
    """A JSON answer."""

    async def script(exchange: Exchange) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        given: dict[str, Any] = {
            "content_type": "application/json",
            "content_length": str(len(body)),
            **headers,
        }
        await exchange.head(status, **given)
        exchange.writer.write(body)
        await exchange.writer.drain()

    return script


def either(whole: Script, streamed: Script) -> Script:
    """Answers a client that asked for a stream with one script, any other with the other."""

    async def script(exchange: Exchange) -> None:
        await (streamed if exchange.streamed else whole)(exchange)

    return script


def after(seconds: float, script: Script) -> Script:
    """The script, but not at once; a client that leaves meanwhile is seen to."""

    async def late(exchange: Exchange) -> None:
        try:
            # Nothing more is sent by a client that waits: what can be read is its leaving.
            await asyncio.wait_for(exchange.gone(), seconds)
        except TimeoutError:
            await script(exchange)

    return late


def cut(data: Any, length: int, then: Script | None = None) -> Script:
    """The first `length` bytes of a JSON answer that was announced whole; `then` goes on instead of a
    broken connection."""

    async def script(exchange: Exchange) -> None:
        body = json.dumps(data).encode()
        await exchange.head(content_type="application/json", content_length=str(len(body)))
        exchange.writer.write(body[:length])
        await exchange.writer.drain()
        await (then or breaks)(exchange)

    return script


def frames(events: list[Any]) -> bytes:
    """Events as server-sent ones, or in binary frames; bytes stand as they are, a string is data."""
    out = b""
    for event in events:
        if isinstance(event, bytes):
            out += event
            continue
        if isinstance(event, Binary):
            out += frame(event)
            continue
        data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        kind = event.get("type") if isinstance(event, dict) else None
        out += (f"event: {kind}\n" if kind else "").encode() + f"data: {data}\n\n".encode()
    return out


def streams(events: list[Any], size: int = 7, then: Script | None = None, **headers: str) -> Script:
    """A stream of events in pieces of `size` bytes; `then` goes on instead of a proper end."""
    binary = any(isinstance(event, Binary) for event in events)
    kind = "application/vnd.amazon.eventstream" if binary else "text/event-stream"

    async def script(exchange: Exchange) -> None:
        given: dict[str, Any] = {
            "content_type": kind,
            "transfer_encoding": "chunked",
            **headers,
        }
        await exchange.head(**given)
        body = frames(events)
        for at in range(0, len(body), size):
            await exchange.chunk(body[at : at + size])
        if then is not None:
            await then(exchange)
        else:
            await exchange.end()

    return script


async def stays_silent(exchange: Exchange) -> None:
    """Nothing comes until the client leaves."""
    await exchange.gone()


async def breaks(exchange: Exchange) -> None:
    exchange.reset()


async def trickles(exchange: Exchange) -> None:
    """White space, piece by piece, until the client leaves: a JSON answer that never begins."""
    await exchange.head(content_type="application/json", transfer_encoding="chunked")
    await _until_gone(exchange, b" ")


async def beats(exchange: Exchange) -> None:
    """Heartbeats until the client leaves."""
    await _until_gone(exchange, b": heartbeat\n\n")


async def _until_gone(exchange: Exchange, piece: bytes) -> None:
    leaving = asyncio.ensure_future(exchange.gone())
    while not leaving.done():
        await exchange.chunk(piece)
        await asyncio.wait([leaving], timeout=0.02)
