"""A document: a name, the text of its file, and what kind of text that is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal, get_args

from ..errors import InputInvalid
from ..flow.codec import has_utf8

__all__ = ["KINDS", "Document", "Kind", "printable", "quoted"]

Kind = Literal["text", "markdown", "html"]

KINDS: Mapping[str, Kind] = {
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
}
"""What a file is by its suffix."""

_LONGEST_NAME = 300


@dataclass(frozen=True, slots=True)
class Document:
    """What is indexed. Offsets of its chunks count the characters of `text`, from 0.

    Args:
        source: the name that citations give, such as `guide/returns.md`. It is a name only: nothing opens it.
        text: the whole text as it is in the file, line ends and markup included, without a byte order mark.
        kind: `"text"`, `"markdown"` or `"html"`; by the suffix of `source` unless given, else `"text"`.
        metadata: JSON that is kept with each chunk.
        folder: the folder it belongs to: what is indexed of a folder goes when it is gone from there.

    Raises:
        InputInvalid: the name is empty, or a text holds a NUL or half a character, which stores refuse.
    """

    source: str
    text: str = field(repr=False)
    kind: Kind | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None

    def __post_init__(self) -> None:
        for what, value in (("the source", self.source), ("the text", self.text)):
            if not isinstance(value, str):
                raise InputInvalid(f"{what} of a document must be text, not {type(value).__name__}")
            if "\x00" in value:
                place = value.index("\x00")
                raise InputInvalid(
                    f"{what} of document {quoted(self.source)} holds a NUL at character {place}: no text"
                )
            if not has_utf8(value):
                raise InputInvalid(
                    f"{what} of document {quoted(self.source)} holds half a character (a surrogate)"
                )
        if not self.source.strip():
            raise InputInvalid("a document needs a name: Document('returns.md', text)")
        if self.kind is None:
            object.__setattr__(self, "kind", KINDS.get(PurePath(self.source).suffix.lower(), "text"))
        elif self.kind not in get_args(Kind):
            kinds = ", ".join(map(repr, get_args(Kind)))
            raise InputInvalid(
                f"document {quoted(self.source)}: kind={self.kind!r} is unknown: use one of {kinds}"
            )


def quoted(name: str) -> str:
    """A name in quotes, on one line, whatever is in it."""
    name = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    return json.dumps(name, ensure_ascii=not name.isprintable())


def printable(name: str) -> str:
    """A name as it is where that can be read on one line, else in quotes."""
    return name if name.isprintable() and len(name) <= _LONGEST_NAME else quoted(name)
