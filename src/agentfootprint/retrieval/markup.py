"""HTML in pieces, each with its place in the source, in one pass.

The standard library's parser gives lines and columns, and in the Python versions that are supported it takes
quadratic time for broken markup (a minute for 60 KB of `<a <a <a`) or fails on it. What is needed here is
little: where tags begin and end, by the rules of the HTML standard's tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Token", "tokens"]

_NAME = re.compile(r"[A-Za-z][^\s/>]*")
_STOP = re.compile(r"[>\"']")
_RAW = frozenset({"script", "style", "xmp", "iframe", "noembed", "noframes", "textarea", "title"})
"""Elements whose content is no markup."""
_RAW_END = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _RAW}
_SHOWN_WHEN_OPEN = frozenset({"textarea", "title"})
"""Without an end they are passed over: words are rather shown than lost. The rest of a script is no words."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the source from `start` to `end`. `raw` is what stands in an element without markup."""

    kind: Literal["text", "open", "close", "raw"]
    name: str
    start: int
    end: int


def tokens(text: str) -> Iterator[Token]:
    """The text and the tags of HTML, in order; comments, declarations and broken ends are left out."""
    at, size = 0, len(text)
    endless = set[str]()
    while at < size:
        mark = text.find("<", at)
        if mark != at:
            yield Token("text", "", at, size if mark < 0 else mark)
        if mark < 0:
            return
        after = text[mark + 1 : mark + 2]
        if text.startswith("<!--", mark):
            at = _past(text, "-->", mark + 2)
        elif (opened := _NAME.match(text, mark + 1)) is not None:
            name, at = opened.group().lower(), _tag_end(text, opened.end())
            yield Token("open", name, mark, at)
            if name in _RAW and name not in endless:
                end = _RAW_END[name].search(text, at)
                if end is not None:
                    yield Token("raw", name, at, end.start())
                    at = end.start()
                elif name in _SHOWN_WHEN_OPEN:
                    endless.add(name)
                else:
                    at = size
        elif after == "/" and (closed := _NAME.match(text, mark + 2)) is not None:
            at = _tag_end(text, closed.end())
            yield Token("close", closed.group().lower(), mark, at)
        elif after and after in "!?/":
            at = _past(text, ">", mark + 2)
        else:
            yield Token("text", "", mark, mark + 1)
            at = mark + 1


def _past(text: str, mark: str, at: int) -> int:
    found = text.find(mark, at)
    return len(text) if found < 0 else found + len(mark)


def _tag_end(text: str, at: int) -> int:
    """Where a tag ends; a `>` within a quoted value does not end it."""
    while (stop := _STOP.search(text, at)) is not None:
        if stop.group() == ">":
            return stop.end()
        before = stop.start() - 1
        while text[before].isspace():
            before -= 1
        at = stop.end()
        if text[before] == "=":
            closing = text.find(stop.group(), at)
            if closing < 0:  # No such quote is left in the text: this happens once for each kind.
                return _past(text, ">", at)
            at = closing + 1
    return len(text)
