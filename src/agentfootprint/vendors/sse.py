"""Server-sent events from bytes that arrive in any pieces (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Lines", "ServerSentEvent", "ServerSentEvents"]


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    data: str
    event: str = ""


class Lines:
    """Whole lines of UTF-8 text, ended by LF, CRLF or CR, from pieces cut anywhere."""

    __slots__ = ("_decode", "_rest", "_skip")

    def __init__(self) -> None:
        # The first character may be a byte order mark, which is no part of the text.
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._rest: list[str] = []
        self._skip = False

    def feed(self, piece: bytes) -> list[str]:
        text = self._decode(piece)
        if not text:
            return []
        ended = text.endswith("\r")
        if self._skip:
            # The LF of a CRLF that was cut in two.
            text = text.removeprefix("\n")
        self._skip = ended
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        # Not splitlines(): that ends lines at characters which JSON may hold as they are.
        first, *others = text.split("\n")
        # A long line is put together once, when it is whole: adding piece to piece would copy it each time.
        self._rest.append(first)
        if not others:
            return []
        lines = ["".join(self._rest), *others]
        self._rest = [lines.pop()]
        return lines


class ServerSentEvents:
    """`feed` takes bytes and gives the events that are whole; comments (heartbeats) give none."""

    __slots__ = ("_data", "_event", "_lines")

    def __init__(self) -> None:
        self._lines = Lines()
        self._data: list[str] = []
        self._event = ""

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        for line in self._lines.feed(piece):
            if not line:
                if self._data:
                    yield ServerSentEvent("\n".join(self._data), self._event)
                self._data, self._event = [], ""
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                self._data.append(value)
            elif name == "event":
                self._event = value
