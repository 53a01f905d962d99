"""JSON that a stranger wrote."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["parsed"]


def parsed(text: bytes | str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is none, or nested deeper than this process can read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
