"""The place in a listing where the next page begins."""

from __future__ import annotations

import math

from ...errors import InputInvalid

__all__ = ["read_cursor", "write_cursor"]


def write_cursor(created: float, number: int) -> str:
    """`number` tells entries of one time apart: it grows with every entry written."""
    return f"{created!r}:{number}"


def read_cursor(cursor: str) -> tuple[float, int]:
    try:
        created, number = cursor.split(":")
        place = float(created), int(number)
    except (AttributeError, ValueError):
        place = math.nan, 0
    if not math.isfinite(place[0]) or abs(place[1]) >= 2**63:
        raise InputInvalid("a cursor must be one that `list` of this store returned as `page.cursor`")
    return place
