"""Labels that cannot grow without end, whatever models, tools and tenants are named."""

from __future__ import annotations

__all__ = ["OTHER", "Bounded"]

OTHER = "other"
"""What all further values of a label are told as."""


class Bounded:
    """The first `limit` different values of a label are told, later ones as "other"."""

    __slots__ = ("_limit", "_seen", "folded")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()
        self.folded = 0

    def __call__(self, value: str | None) -> str:
        if value is None:
            return ""
        if value in self._seen:
            return value
        if len(self._seen) >= self._limit:
            self.folded += 1
            return OTHER
        # A lone surrogate, which models do produce, has no place in any exporter's text.
        value = value[:_LONGEST].encode("utf-8", "replace").decode()
        self._seen.add(value)
        return value


_LONGEST = 128
