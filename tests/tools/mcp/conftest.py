"""Servers of MCP: in this process, over HTTP in this process, and as programs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.tools.mcp.calling import until
from tests.tools.mcp.server import make_server

PROGRAM = Path(__file__).with_name("server.py")
PYTHON = sys.executable


class HTTPServer:
    """An MCP server over HTTP that can be stopped and started again at the same address.

    `headers` are those of every request, in order. `refuse` is a status that answers every request instead.
    """

    def __init__(self, make_app: Callable[[], Any]) -> None:
        self._make_app = make_app
        self._task: asyncio.Task[None] | None = None
        self._server: uvicorn.Server | None = None
        self.port = 0
        self.headers: list[dict[str, str]] = []
        self.methods: list[str] = []
        self.refuse: tuple[int, dict[str, str]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    async def start(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        app = self._make_app()

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                self.headers.append({k.decode(): v.decode() for k, v in scope["headers"]})
                self.methods.append(scope["method"])
                if self.refuse is not None:
                    status, headers = self.refuse
                    told = [(k.encode(), v.encode()) for k, v in headers.items()]
                    await send({"type": "http.response.start", "status": status, "headers": told})
                    await send({"type": "http.response.body", "body": b"no"})
                    return
            await app(scope, receive, send)

        config = uvicorn.Config(watched, log_level="critical", lifespan="on", timeout_graceful_shutdown=1)
        server = self._server = uvicorn.Server(config)
        # Without the handlers of signals that serve() sets.
        self._task = asyncio.create_task(server._serve([listening]))
        await until(lambda: server.started)

    async def stop(self) -> None:
        """At once, as a killed process does."""
        if self._server is None or self._task is None:
            return
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        self._server.should_exit = self._server.force_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._server = self._task = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    path.touch()
    return path


@pytest.fixture
async def http_server(journal: Path) -> AsyncIterator[HTTPServer]:
    def app() -> Any:
        def die() -> None:
            assert server._server is not None
            for connection in list(server._server.server_state.connections):
                connection.transport.abort()

        return make_server(journal, die).streamable_http_app()

    server = HTTPServer(app)
    await server.start()
    yield server
    await server.stop()
