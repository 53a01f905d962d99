"""Numbers as users give them."""

from __future__ import annotations

from typing import Any

__all__ = ["is_number"]


def is_number(value: Any) -> bool:
    """Whether a value can be compared as a number: text from an environment variable cannot."""
    return isinstance(value, (int, float))
