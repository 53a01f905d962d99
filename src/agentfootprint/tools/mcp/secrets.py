"""What must not be told: the values that open a server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["Secrets"]

SHORTEST = 8
"""Shorter values, such as `true` or a port, are no secrets and stand in texts by chance."""


KEPT = 1000
"""Tokens may be new for each request. What is said of one comes soon after it was used."""


class Secrets:
    """Values of headers and of the environment that were given, taken out of what a server says."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        # In the order in which they were given last.
        self._values: dict[str, None] = {}

    def learn(self, values: Iterable[str]) -> None:
        for value in values:
            # "Bearer abc": the word alone is none.
            for part in (value, *value.split()):
                if len(part) >= SHORTEST:
                    self._values.pop(part, None)
                    self._values[part] = None
        while len(self._values) > KEPT:
            del self._values[next(iter(self._values))]

    def hide(self, text: str) -> str:
        for value in self._values:
            if value in text:
                text = text.replace(value, "[secret]")
        return text

    def hide_in(self, data: Any) -> Any:
        if isinstance(data, str):
            return self.hide(data)
        if isinstance(data, dict):
            return {key: self.hide_in(value) for key, value in data.items()}
        if isinstance(data, list):
            return [self.hide_in(value) for value in data]
        return data

    def __repr__(self) -> str:
        return f"<{len(self._values)} secrets>"
