"""What every store does to a value on its way in and out: JSON text, deadlines, totals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from ..errors import InputInvalid, StoreCorrupt, UnsupportedValue

__all__ = ["alive", "check_limit", "deadline", "from_json", "to_json", "total"]


def _encoder(*, ensure_ascii: bool) -> Callable[[Any], str]:
    """`json.dumps` that does not look for what contains itself: that ends in a RecursionError as well.

    The encoder in C is made once, where there is one of this form; `JSONEncoder` makes it for each value,
    which takes as long as to encode a small one.
    """
    slower = json.JSONEncoder(
        separators=(",", ":"), ensure_ascii=ensure_ascii, allow_nan=False, check_circular=False
    )
    escape = json.encoder.encode_basestring_ascii if ensure_ascii else json.encoder.encode_basestring
    try:
        parts = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
            None, slower.default, escape, None, ":", ",", False, False, False
        )
    except (AttributeError, TypeError):
        return slower.encode
    return lambda value: "".join(parts(value, 0))


_encode, _encode_ascii = _encoder(ensure_ascii=False), _encoder(ensure_ascii=True)
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

_MAX_TOTAL = 2**63


def to_json(value: Any) -> str:
    """The text to store for a value that will come back equal.

    Raises:
        UnsupportedValue: it would come back as something else, or not at all; the message says where.
    """
    try:
        text = _encode(value)
        if not text.isascii() and _has_lone_surrogate(text):
            text = _encode_ascii(value)
        if _decode(text) == value:
            return text
    except (TypeError, ValueError, RecursionError):
        pass
    raise UnsupportedValue(f"what is stored must be JSON: {_problem(value)}") from None


def _decode(text: str) -> Any:
    """As `json.loads` of text that begins and ends with the value, for less than half of its price."""
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        raise ValueError("no JSON") from None
    if end != len(text):
        raise ValueError("more than one JSON value")
    return value


def from_json(text: Any, where: str) -> Any:
    """A stored text as a fresh value; `where` names the row for whoever has to repair it.

    Raises:
        StoreCorrupt: it is no JSON text.
    """
    try:
        return _decode(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreCorrupt(
            f"{where} is not the JSON that was written ({type(error).__name__}): something else changed "
            "it; restore it from a backup or delete it"
        ) from None


def deadline(now: float, ttl: float | None) -> float | None:
    """When something with this time to live (seconds) expires; None is never."""
    if ttl is None:
        return None
    if not math.isfinite(ttl):
        raise InputInvalid(f"ttl must be a finite number of seconds or None, not {ttl!r}")
    return now + ttl


def alive(expires: float | None, now: float) -> bool:
    return expires is None or expires > now


def total(before: int, by: int, limit: int | None) -> int | None:
    """A counter's next total; None when it would exceed the limit.

    Raises:
        UnsupportedValue: `by` is no integer, or the total leaves 64 bits.
    """
    if not isinstance(by, int):
        raise UnsupportedValue(f"a counter counts integers, not {type(by).__name__}: use a smaller unit")
    after = before + by
    if limit is not None and after > limit:
        return None
    if not -_MAX_TOTAL <= after < _MAX_TOTAL:
        raise UnsupportedValue("a counter's total must fit into 64 bits")
    return after


def check_limit(limit: int | None, least: int) -> None:
    if limit is not None and limit < least:
        raise InputInvalid(f"limit must be at least {least}, not {limit}")


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _problem(value: Any) -> str:
    try:
        return _search(value, "the value") or "the value would not come back equal"
    except RecursionError:
        return "the value is nested too deeply or contains itself"


def _search(value: Any, where: str) -> str | None:
    if value is None or isinstance(value, (bool, int, str)):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{where} is {value!r}: store None or a string instead"
    if isinstance(value, list):
        found = (_search(item, f"{where}[{index}]") for index, item in enumerate(value))
        return next(filter(None, found), None)
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                return f"{where} has a key of type {type(key).__name__}: keys must be strings"
            if problem := _search(item, f"{where}[{key!r}]"):
                return problem
        return None
    hint = ": use a list" if isinstance(value, (tuple, set, frozenset)) else ""
    return f"{where} is a {type(value).__qualname__}, which has no JSON form{hint}"
