"""A TCP proxy on this machine that can cut, stall and refuse connections."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Any

__all__ = ["Proxy"]


class Proxy:
    """Passes everything on to a port of this machine, until told otherwise.

    `async with Proxy(6379) as proxy: ... proxy.port`
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._swallow: float = 0
        self._tear = 0
        self._server: asyncio.Server | None = None
        self.port = 0
        self.accepted = 0
        self.torn = 0

    async def __aenter__(self) -> Proxy:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuses further connections and cuts those there are."""
        self.refuse()
        self.cut()

    def refuse(self) -> None:
        """Refuses further connections; those there are stay, until `listen` is called."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def cut(self) -> None:
        """Breaks every connection there is, as a crashed host does."""
        for writer in self._writers:
            writer.transport.abort()

    def swallow_answers(self, times: float = math.inf) -> None:
        """So many requests arrive, and their connection breaks instead of the answer."""
        self._swallow = times

    def tear_answers(self, times: int = 1) -> None:
        """So many requests arrive, and their connection breaks half-way through the answer."""
        self._tear += times

    def heal(self) -> None:
        self._swallow = self._tear = 0
        self._flowing.set()

    def stall(self) -> None:
        """Lets nothing through, and says nothing."""
        self._flowing.clear()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.accepted += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()  # What it stands for is down.
            return
        self._writers |= {writer, back}
        try:
            await asyncio.gather(self._pump(reader, back, False), self._pump(there, writer, True))
        finally:
            for each in (writer, back):
                self._writers.discard(each)
                each.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                await self._flowing.wait()
                if answers and self._swallow:
                    self._swallow -= 1
                    self.cut()
                    return
                if answers and self._tear:
                    self._tear -= 1
                    self.torn += 1
                    sink.write(data[: len(data) // 2])
                    await sink.drain()
                    sink.transport.abort()
                    return
                sink.write(data)
                await sink.drain()
        sink.close()
