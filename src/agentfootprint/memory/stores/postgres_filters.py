"""What can be filtered by, as the `jsonb` that PostgreSQL compares."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..base import Filter, Not

__all__ = ["filterable", "wanted"]

# jsonb holds neither NUL nor a lone surrogate.
_ESCAPED = re.compile("[\\\\\x00\ud800-\udfff]")


def filterable(metadata: Mapping[str, Any]) -> str:
    """The scalars at the top level of the metadata."""
    scalars = {_text(key): _scalar(value) for key, value in metadata.items() if _is_scalar(value)}
    return json.dumps(scalars)


def wanted(where: Filter) -> tuple[str, str]:
    """What an entry must contain, and a list of what it must not."""
    has: dict[str, Any] = {}
    lacks: list[dict[str, Any]] = []
    for key, value in where.items():
        if isinstance(value, Not):
            lacks.append({_text(key): _scalar(value.value)})
        else:
            has[_text(key)] = _scalar(value)
    return json.dumps(has), json.dumps(lacks)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)  # jsonb compares decimals, and 1e23 is none.
    return value


def _text(text: str) -> str:
    return _ESCAPED.sub(lambda found: f"\\{ord(found[0]):04x}", text)
