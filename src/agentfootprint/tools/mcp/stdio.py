"""A program as a transport of the SDK: a message a line.

The SDK's own reads a line from its beginning again with each piece that comes, and has no limit, so that one
large result holds up the event loop; and it cannot tell a call that its answer is of no use. Here a line has
a limit, is read once, and that it is of no use is told to the call it belongs to.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import IO, Any, TypeAlias, cast

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

__all__ = ["program"]

Heard: TypeAlias = MemoryObjectSendStream[SessionMessage | Exception]
Said: TypeAlias = MemoryObjectReceiveStream[SessionMessage]

PIECE = 256 * 1024
ENDS = 200
"""Bytes of a line's beginning and end that are kept of one that is too long."""

SECONDS_TO_FLUSH = 0.5
SECONDS_TO_END = 2.0
"""For a program to end when nobody speaks to it any more, and again when it is told to."""

_log = logging.getLogger("agentfootprint.tools.mcp")


@asynccontextmanager
async def program(
    command: str,
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None,
    cwd: str | None,
    stderr: IO[Any],
    max_bytes: int,
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[SessionMessage | Exception], Any]]:
    """Starts a program, and ends it and all below it: by the end of its input, then by signals.

    Raises:
        OSError: it cannot be started.
    """
    loop = asyncio.get_running_loop()
    transport, streams = await loop.subprocess_exec(
        lambda: _Streams(limit=PIECE, loop=loop),
        command,
        *arguments,
        stdin=PIPE,
        stdout=PIPE,
        stderr=stderr,
        env=get_default_environment() | dict(env or {}),
        cwd=cwd,
        start_new_session=True,
    )
    heard, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, said = anyio.create_memory_object_stream[SessionMessage](0)
    # Standard input and output are pipes, so both are there.
    stdin, stdout = cast(asyncio.StreamWriter, streams.stdin), cast(asyncio.StreamReader, streams.stdout)
    try:
        async with anyio.create_task_group() as group:
            written = anyio.Event()
            group.start_soon(_hear, stdout, heard, max_bytes)
            group.start_soon(_say, stdin, said, heard, written)
            try:
                yield read, write
            finally:
                with anyio.CancelScope(shield=True):
                    # Who hears nothing any more reads on, so that the program can end what it writes.
                    read.close()
                    write.close()
                    with anyio.move_on_after(SECONDS_TO_FLUSH):
                        await written.wait()
                    stdin.close()
                    await _ended(transport.get_pid(), streams)
                group.cancel_scope.cancel()
    finally:
        transport.close()


class _Streams(SubprocessStreamProtocol):
    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit, loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


async def _ended(group: int, streams: _Streams) -> None:
    if await _within(streams.exited):
        return
    # It leads a group of its own, in which all are that it started.
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
        if number is signal.SIGTERM:
            with anyio.move_on_after(SECONDS_TO_END):
                while _there(group):  # noqa: ASYNC110 - the system tells nobody that a group has ended
                    await asyncio.sleep(0.01)
    if not await _within(streams.exited):
        _log.warning("a program of an MCP server is still there after it was killed (process %d)", group)


async def _within(event: asyncio.Event) -> bool:
    with anyio.move_on_after(SECONDS_TO_END):
        await event.wait()
    return event.is_set()


def _there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


async def _say(stdin: asyncio.StreamWriter, said: Said, heard: Heard, written: anyio.Event) -> None:
    try:
        async with said:
            async for each in said:
                text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
                stdin.write(text.encode() + b"\n")
                await stdin.drain()
    except OSError:
        # It may be alive, but no answer will come.
        await heard.aclose()
    finally:
        written.set()


async def _hear(stdout: asyncio.StreamReader, heard: Heard, max_bytes: int) -> None:
    with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
        async with heard:
            async for line in _lines(stdout, max_bytes):
                if (message := _message(line)) is not None:
                    await heard.send(message)
    while await stdout.read(PIECE):
        pass


class _Line:
    """A line as it grows. Of one that is longer than `limit` only its ends are kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        self._pieces.append(piece)
        if self.too_long:
            kept = b"".join(self._pieces)
            self._pieces = [kept[:ENDS], kept[ENDS:][-ENDS:]]

    @property
    def too_long(self) -> bool:
        return self.size > self._limit

    @property
    def text(self) -> bytes:
        return b"".join(self._pieces)


async def _lines(stdout: asyncio.StreamReader, limit: int) -> AsyncIterator[_Line]:
    line = _Line(limit)
    while data := await stdout.read(PIECE):
        *ended, rest = data.split(b"\n")
        for piece in ended:
            line.add(piece)
            yield line
            line = _Line(limit)
        line.add(rest)


def _message(line: _Line) -> SessionMessage | None:
    text = line.text
    if line.too_long:
        return _useless(text, f"its {line.size:,} bytes are too many")
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(text, by_name=False))
    except ValueError:
        return _useless(text, "it is no message of JSON-RPC") if text.strip() else None


_FIRST = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15})\s*,(?!\s*"method")')
_LAST = re.compile(rb',\s*"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


def _useless(text: bytes, why: str) -> SessionMessage | None:
    """Tells the request that a line answers that it has no answer. Its id stands at an end of the line."""
    found = _FIRST.match(text) or (None if b'"method"' in text[:ENDS] else _LAST.search(text[-ENDS:]))
    if found is None:
        # What programs write by mistake stands here too; it may hold anything.
        _log.debug("an MCP server wrote a line of %d bytes that is of no use: %s", len(text), why)
        return None
    error = ErrorData(code=PARSE_ERROR, message=why)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=error))
