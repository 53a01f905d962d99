"""Events as JSON Lines: written by any number of processes, read back as events."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import fields
from typing import TextIO

from ..errors import ConfigurationError, JournalInvalid
from ..events import CATALOGUE, Event
from ..flow.codec import decode, dumps, encode
from .base import Recorder

__all__ = ["SCHEMA", "jsonl_observability", "read_events"]

SCHEMA = 1
"""Version of the lines, written into each as `v`."""

_HEAD = b'{"v":'


def jsonl_observability(
    path_or_file: str | os.PathLike[str] | TextIO, *, max_bytes: int | None = None
) -> Recorder:
    """A recorder that writes one JSON line per event: `v`, `type`, `run_id`, `at`, `step`, then its fields.

    A path is appended to with one write per line, so several processes may share it; it is created
    readable by its owner only. A write goes to the operating system at once, so a killed process loses
    nothing; on a slow disk put `queued(..., in_thread=True)` in front. A file object is written and
    flushed, and left open.

    Args:
        max_bytes: a file that has reached this size is renamed to `<path>.1`, replacing the one before,
            and a new one is begun, so at most about twice as much is kept. Not on Windows.

    Raises:
        ConfigurationError: the path cannot be opened for appending, or `max_bytes` makes no sense.
    """
    if max_bytes is not None and max_bytes < 1:
        raise ConfigurationError(
            f"max_bytes={max_bytes} leaves no room for a line: use a positive number or None"
        )
    if max_bytes is not None and sys.platform == "win32":
        raise ConfigurationError("max_bytes= renames a file in use, which Windows cannot: leave it out")
    if isinstance(path_or_file, (str, os.PathLike)):
        return _AppendedFile(os.fspath(path_or_file), max_bytes)
    if max_bytes is not None:
        raise ConfigurationError("max_bytes= needs a path: a file that is already open cannot be renamed")
    return _OpenFile(path_or_file)


def read_events(path: str | os.PathLike[str]) -> Iterator[Event]:
    """The events of a file, in its order. A line cut off by a crash or a full disk is left out.

    Raises:
        JournalInvalid: a line is no event of this version: an unknown type, a wrong or missing field,
            another schema version; the message says which line and why.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            event = _parse(line, f"line {number} of {os.fspath(path)}")
            if event is not None:
                yield event


def _line(event: Event) -> bytes:
    text = dumps({"v": SCHEMA, "type": event.type, **encode(event)}) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A lone surrogate, which models do produce, has no UTF-8 form; a line nobody can read helps less.
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()


def _parse(line: bytes, where: str) -> Event | None:
    try:
        data = json.loads(line)
    except ValueError:
        # What was cut off begins like a line of ours and is no JSON, since its last brace is missing.
        if line.startswith(_HEAD) or _HEAD.startswith(line.rstrip(b"\n")):
            return None
        raise JournalInvalid(f"{where} is no JSON: is this a file of jsonl_observability?") from None
    if not isinstance(data, dict):
        raise JournalInvalid(f"{where} is no event: an event is a JSON object")
    version = data.pop("v", None)
    if type(version) is not int or version != SCHEMA:
        raise JournalInvalid(f"{where} has schema version {version!r}, this program reads version {SCHEMA}")
    name = data.pop("type", None)
    kind = CATALOGUE.get(name) if isinstance(name, str) else None
    if kind is None:
        raise JournalInvalid(f"{where} has the event type {name!r}, which is not in the catalogue")
    unknown = data.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise JournalInvalid(f"{where}: {name} has no field {min(unknown)!r}")
    try:
        event: Event = decode(kind, data)
    except JournalInvalid as error:
        raise JournalInvalid(f"{where}: {error}") from None
    return event


class _OpenFile:
    __slots__ = ("_file",)

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def on_event(self, event: Event, /) -> None:
        self._file.write(_line(event).decode())
        self._file.flush()


class _AppendedFile:
    def __init__(self, path: str, max_bytes: int | None) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._torn = False
        try:
            self._open()
        except OSError as error:
            raise ConfigurationError(f"cannot append events to {path}: {error.strerror}") from error

    def on_event(self, event: Event, /) -> None:
        line = _line(event)
        with self._lock:
            if self._fd < 0:
                raise ValueError("the recorder was closed")
            if self._max_bytes is not None and os.fstat(self._fd).st_size >= self._max_bytes:
                self._rotate()
            if self._torn:
                line = b"\n" + line
            written = os.write(self._fd, line)
            # A full disk may take a part of the line; the next one then begins on a line of its own.
            self._torn = written < len(line)
            if self._torn:
                raise OSError(f"only {written} of {len(line)} bytes of an event were written")

    async def aclose(self) -> None:
        with self._lock:
            self._fd = -1
            self._close()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        fd = os.open(self._path, flags, 0o600)
        self._fd = fd
        self._close = weakref.finalize(self, os.close, fd)
        self._torn = _ends_torn(fd)

    def _rotate(self) -> None:
        from fcntl import LOCK_EX, LOCK_UN, flock

        # Several processes may be here at once: the lock belongs to the full file, and whoever finds
        # that the path names another file by now only opens that one.
        full, close_full = self._fd, self._close
        flock(full, LOCK_EX)
        try:
            if _same_file(self._path, full):
                os.replace(self._path, self._path + ".1")
            self._open()
        finally:
            # When nothing could be renamed or opened, the full file goes on.
            if self._fd == full:
                flock(full, LOCK_UN)
            else:
                close_full()


def _same_file(path: str, fd: int) -> bool:
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))


def _ends_torn(fd: int) -> bool:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:  # a pipe or a terminal has no end to look at
        return False
    os.lseek(fd, -1, os.SEEK_END)
    return os.read(fd, 1) != b"\n"
