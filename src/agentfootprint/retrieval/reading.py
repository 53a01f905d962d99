"""What of a document is read: its words, its headings, and where in the source they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .document import Document

__all__ = ["Heading", "Reading", "read"]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading at a place of the words; level 1 is the highest."""

    at: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The words of a document from `begin` on. `place` gives the source's offsets of a range of them that
    begins and ends with a character that is no white space."""

    words: str
    begin: int
    headings: tuple[Heading, ...]
    title: str | None
    place: Callable[[int, int], tuple[int, int]]


def read(document: Document) -> Reading:
    if document.kind == "html":
        from .html import read_html

        return read_html(document.text)
    if document.kind == "markdown":
        return _read_markdown(document.text)
    return Reading(document.text, 0, (), None, _itself)


def _itself(start: int, end: int) -> tuple[int, int]:
    return start, end


_FRONT = re.compile(r"---[ \t]*\r?\n(.*?\r?\n)?(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title[ \t]*:[ \t]*(\S[^\r\n]*)", re.MULTILINE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_CLOSING = re.compile(r"(?:^|[ \t]+)#+[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_NO_TITLE = re.compile(r"[ \t]*(?:$|[-*+>|#]|\d+[.)]|(?:---|===))")
_LONGEST_TITLE = 200
_MARKS = str.maketrans("", "", "`*")


def _read_markdown(text: str) -> Reading:
    begin, title = 0, None
    if (front := _FRONT.match(text)) is not None:
        begin = front.end()
        if (named := _TITLE.search(front.group(1) or "")) is not None:
            title = named.group(1).strip().strip("\"'")[:_LONGEST_TITLE] or None
    headings = tuple(_markdown_headings(text, begin))
    if title is None and headings and headings[0].level == 1:
        title = headings[0].title
    return Reading(text, begin, headings, title, _itself)


def _markdown_headings(text: str, begin: int) -> list[Heading]:
    found: list[Heading] = []
    fence = ""
    at = before = begin
    previous = ""
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end].rstrip("\r")
        if fence:
            stripped = line.strip()
            if stripped.startswith(fence) and not stripped.strip(fence[0]):
                fence = ""
            line = ""
        elif (opens := _FENCE.match(line)) is not None:
            fence, line = opens.group(1), ""
        elif (atx := _ATX.match(line)) is not None:
            _add(found, at, len(atx.group(1)), _CLOSING.sub("", atx.group(2) or ""))
            line = ""
        elif previous and (under := _UNDERLINE.match(line)) is not None and not _NO_TITLE.match(previous):
            _add(found, before, 1 if under.group(1)[0] == "=" else 2, previous)
            line = ""
        previous, before = line.strip(), at
        at = end + 1
    return found


def _add(found: list[Heading], at: int, level: int, title: str) -> None:
    if title := title.translate(_MARKS).strip()[:_LONGEST_TITLE]:
        found.append(Heading(at, level, title))
