"""What users, models and tools said, on its way into a span: only when asked for, and redacted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from ..flow.codec import encode

__all__ = ["Content", "plain"]

_LONGEST = 8192
_UNREADABLE = "[left out: redact= failed]"


class Content:
    """Text for attributes; None where content is not told.

    Args:
        on: whether it is told at all.
        redact: sees every text before it leaves, and returns what may.
    """

    __slots__ = ("_redact", "on")

    def __init__(self, on: bool, redact: Callable[[str], str] | None) -> None:
        self.on = on
        self._redact = redact

    def text(self, text: str) -> str | None:
        if not self.on:
            return None
        if self._redact is not None:
            try:
                text = str(self._redact(text))
            except Exception:
                return _UNREADABLE
        if len(text) > _LONGEST:
            text = text[: _LONGEST - 1] + "…"
        return plain(text)

    def data(self, value: Any) -> str | None:
        """Data as JSON, its texts redacted one by one, so that what is left is JSON still."""
        if not self.on:
            return None
        return _shortened(json.dumps(self._each(encode(value)), ensure_ascii=False))

    def message(self, role: str, text: str) -> str | None:
        """One message as the conventions write it."""
        shown = self.text(text)
        if shown is None:
            return None
        return json.dumps([{"role": role, "parts": [{"type": "text", "content": shown}]}], ensure_ascii=False)

    def _each(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._each(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._each(item) for item in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            # A number may be what must not be told, such as that of a card.
            plain = str(value)
            shown = self.text(plain)
            return value if shown == plain else shown
        return value


T = TypeVar("T")


def plain(value: T) -> T:
    """Text without lone surrogates, which models do produce and no wire takes; all else as it is."""
    if isinstance(value, str) and not value.isascii():
        return cast(T, value.encode("utf-8", "replace").decode())
    return value


def _shortened(text: str) -> str:
    return text if len(text) <= 4 * _LONGEST else text[: 4 * _LONGEST - 1] + "…"
