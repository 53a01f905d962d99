"""The words of an HTML page, each with its place in the source."""

from __future__ import annotations

import html
import re
from array import array
from bisect import bisect_right

from .markup import Token, tokens
from .reading import Heading, Reading

__all__ = ["read_html"]

_DROPPED = frozenset(
    {"script", "style", "template", "noscript", "svg", "object", "iframe", "noembed", "noframes"}
)
_NAVIGATION = re.compile(r"""\srole\s*=\s*["']?(?:navigation|search)\b""", re.IGNORECASE)
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track"}
    | {"wbr"}
)
_PARAGRAPHS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "details", "dialog", "div", "dl", "fieldset"}
    | {"figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "ol", "p"}
    | {"pre", "section", "table", "ul"}
)
_LINES = frozenset({"br", "caption", "dd", "dt", "figcaption", "legend", "li", "option", "summary", "tr"})
_CELLS = frozenset({"td", "th"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_REFERENCE = re.compile(r"&(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});?")
_WORDS = re.compile(r"\S+(?: \S+)*")
_PERMALINKS = frozenset({"¶", "🔗"})
_LONGEST_TITLE = 200
_GAPS = ("", " ", "\n", "\n\n")
_SPACE, _LINE, _PARAGRAPH = 1, 2, 3


def read_html(text: str) -> Reading:
    """What a page says: without scripts, styles and navigation. Navigation that is never closed is shown: it
    would hide the rest of the page."""
    page = _Page(text, navigation=False)
    if page.inside:
        page = _Page(text, navigation=True)
    return page.reading()


class _Page:
    def __init__(self, text: str, *, navigation: bool) -> None:
        self._text = text
        self._navigation = navigation
        self._out: list[str] = []
        self._size = 0
        self._gap = 0
        self._title: str | None = None
        self._headings: list[Heading] = []
        self._heading: tuple[int, int, int] | None = None  # level, place, first piece
        self._pre = 0
        self._hidden: tuple[str, int] | None = None
        # Of each piece: its place among the words, where it begins in the source, and, of a character
        # reference, where that ends; of all others each character stands for itself.
        self._at, self._from, self._to = array("q"), array("q"), array("q")
        for token in tokens(text):
            self._take(token)
        self._end_heading()

    @property
    def inside(self) -> bool:
        """Whether it ended within navigation."""
        return self._hidden is not None and self._hidden[0] not in _DROPPED

    def reading(self) -> Reading:
        return Reading("".join(self._out), 0, tuple(self._headings), self._title, self._place)

    def _take(self, token: Token) -> None:
        name = token.name
        if self._hidden is not None:
            hidden, depth = self._hidden
            if name == hidden and token.kind in ("open", "close"):
                depth += 1 if token.kind == "open" else -1
                self._hidden = (hidden, depth) if depth else None
        elif token.kind == "text":
            self._say(token.start, token.end)
        elif token.kind == "raw":
            if name == "title" and self._title is None:
                title = " ".join(html.unescape(self._text[token.start : token.end]).split())
                self._title = title[:_LONGEST_TITLE] or None
            elif name == "textarea":
                self._say(token.start, token.end)
        elif token.kind == "open" and name not in _VOID and self._hides(token):
            self._hidden = (name, 1)
            self._apart(_LINE)
        else:
            self._tag(token)

    def _hides(self, token: Token) -> bool:
        if token.name in _DROPPED:
            return True
        if self._navigation:
            return False
        return token.name == "nav" or _NAVIGATION.search(self._text, token.start, token.end) is not None

    def _tag(self, token: Token) -> None:
        name, opens = token.name, token.kind == "open"
        if name in _HEADINGS:
            self._end_heading()
        if name in _PARAGRAPHS:
            self._apart(_PARAGRAPH)
        elif name in _LINES:
            self._apart(_LINE)
        elif name in _CELLS:
            self._apart(_SPACE)
        if name in _HEADINGS and opens:
            self._heading = (_HEADINGS[name], -1, len(self._out))
        if name == "pre":
            self._pre = max(0, self._pre + (1 if opens else -1))

    def _end_heading(self) -> None:
        if self._heading is None:
            return
        level, place, first = self._heading
        self._heading = None
        if place >= 0 and (title := " ".join("".join(self._out[first:]).split())):
            self._headings.append(Heading(place, level, title[:_LONGEST_TITLE]))

    def _apart(self, gap: int) -> None:
        self._gap = max(self._gap, gap)

    def _say(self, start: int, end: int) -> None:
        if self._text[start:end].strip() in _PERMALINKS:
            return
        at = start
        for reference in _REFERENCE.finditer(self._text, start, end):
            said = html.unescape(reference.group())
            if said == reference.group():
                continue
            self._literal(at, reference.start())
            at = reference.end()
            if said.isspace():
                self._apart(_SPACE)
            else:
                self._put(said, reference.start(), at)
        self._literal(at, end)

    def _literal(self, start: int, end: int) -> None:
        if start >= end:
            return
        if self._pre:
            self._put(self._text[start:end], start)
            return
        at = start
        for words in _WORDS.finditer(self._text, start, end):
            if words.start() > at:
                self._apart(_SPACE)
            self._put(words.group(), words.start())
            at = words.end()
        if at < end:
            self._apart(_SPACE)

    def _put(self, said: str, start: int, end: int = -1) -> None:
        if self._out and self._gap:
            self._out.append(_GAPS[self._gap])
            self._size += len(_GAPS[self._gap])
        self._gap = 0
        if self._heading is not None and self._heading[1] < 0:
            self._heading = (self._heading[0], self._size, len(self._out))
        self._at.append(self._size)
        self._from.append(start)
        self._to.append(end)
        self._out.append(said)
        self._size += len(said)

    def _place(self, start: int, end: int) -> tuple[int, int]:
        return self._outer(start)[0], self._outer(end - 1)[1]

    def _outer(self, at: int) -> tuple[int, int]:
        """The place in the source of one character of the words; of a reference, all of it."""
        piece = bisect_right(self._at, at) - 1
        begin, end = self._from[piece], self._to[piece]
        if end >= 0:
            return begin, end
        place = begin + at - self._at[piece]
        return place, place + 1
