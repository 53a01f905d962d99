"""Text of models, tools and users made fit for one line: short, printable, without escape sequences."""

from __future__ import annotations

import reprlib

__all__ = ["seconds", "shown", "snippet"]


def snippet(text: str, limit: int) -> str:
    """The text on one line of at most `limit` characters; cut text ends in `…`.

    Control, formatting and other characters that do not print become `�`, so that no content can move
    the cursor, colour a terminal or turn the reading direction.
    """
    cut = len(text) > limit
    text = " ".join(text[:limit].split())
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "�" for char in text)
    return text[: limit - 1] + "…" if cut else text


def shown(value: object, limit: int) -> str:
    """Any value on one line; of nested data only the beginning is looked at."""
    return snippet(value if isinstance(value, str) else _REPR.repr(value), limit)


def seconds(duration: float) -> str:
    """A duration for people: `35 ms`, `1.2 s`, `3 min 5 s`."""
    if duration < 1:
        return f"{duration * 1000:.0f} ms"
    if duration < 60:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest} s"


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 120
_REPR.maxlevel = 3
