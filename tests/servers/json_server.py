"""A JSON server in a test's own event loop: what the stubs of cloud services are made of."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["JSONServer", "Refused"]


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers or {}


class JSONServer:
    """HTTP/1.1 on 127.0.0.1; a subclass says what is answered.

    `requests` are what came, as (method, path). The next request to a path that ends as one of `cut` is done,
    but its answer is lost: the connection breaks. The next ones are answered with `refusals`.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.headers: dict[str, str] = {}
        self.refusals: list[Refused] = []
        self.cut: list[str] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.url = ""

    def answer(self, method: str, path: list[str], query: dict[str, list[str]], body: Any) -> Any:
        raise Refused(404, {"message": "no such path"})

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for each in list(self._open):
            each.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, target, _ = head[0].split(" ")
                pairs = (line.split(":", 1) for line in head[1:] if line)
                self.headers = {name.lower(): value.strip() for name, value in pairs}
                data = await reader.readexactly(int(self.headers.get("content-length", 0)))
                status, headers, answer = self._answered(method, target, data)
                lost = [each for each in self.cut if urlsplit(target).path.endswith(each)]
                if lost:
                    self.cut.remove(lost[0])
                    writer.transport.abort()
                    return
                lines = [f"HTTP/1.1 {status} OK", "content-type: application/json"]
                lines += [f"content-length: {len(answer)}", *(f"{each}: {headers[each]}" for each in headers)]
                writer.write("\r\n".join([*lines, "", ""]).encode() + answer)
                await writer.drain()
        self._open.discard(writer)
        writer.close()

    def _answered(self, method: str, target: str, data: bytes) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(target)
        self.requests.append((method, parts.path))
        try:
            if self.refusals:
                raise self.refusals.pop(0)
            path = [unquote(each) for each in parts.path.strip("/").split("/")]
            query = parse_qs(parts.query, keep_blank_values=True)
            return 200, {}, json.dumps(self.answer(method, path, query, json.loads(data or b"{}"))).encode()
        except Refused as refused:
            return refused.status, refused.headers, json.dumps(refused.body).encode()
