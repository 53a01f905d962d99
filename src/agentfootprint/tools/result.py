"""A tool's result as the model reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any

from ..errors import UnsupportedValue
from ..flow.codec import dumps, encode, mended
from ..flow.seq import Seq
from ..messages import File, Image, Part, Text

__all__ = ["MAX_RESULT_CHARS", "render"]

MAX_RESULT_CHARS = 100_000
"""How many characters of a tool's result the model reads unless the tool says otherwise."""


def render(value: Any, limit: int = MAX_RESULT_CHARS, *, tool: str = "a tool") -> str | tuple[Part, ...]:
    """What a tool returned, as text; or as message parts when it returned `Text`, `Image` or `File`.

    Text stays as it is, anything else becomes JSON. What is longer than `limit` characters is cut in
    the middle, and a marker of some 200 characters, within the limit, says how much is missing. Lone
    surrogates, which no vendor accepts, become U+FFFD.

    Raises:
        UnsupportedValue: it has no JSON form; names the tool and the type.
    """
    if type(value) is str:
        return _readable(value, limit)
    parts = _as_parts(value)
    if parts is not None:
        return _readable_parts(parts, limit)
    if value is None:
        return "(the tool returned nothing)"
    try:
        data = encode(_whole(value))
        text = data if isinstance(data, str) else dumps(data)
    except RecursionError:
        raise UnsupportedValue(
            f"tool {tool!r} returned a {type(value).__name__} that contains itself or is nested too deep: "
            "return something flatter"
        ) from None
    except Exception as error:
        raise UnsupportedValue(
            f"tool {tool!r} returned a {type(value).__name__} that has no JSON form: {error}. Return text, "
            "JSON data, a dataclass or a pydantic model"
        ) from error
    return _readable(text, limit)


def _whole(value: Any) -> Any:
    """The value with every field of its dataclasses: the model does not know their defaults, which
    the codec leaves out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _whole(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(key): _whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, Seq)):
        return [_whole(item) for item in value]
    return value


def _key(key: Any) -> Any:
    key = key.value if isinstance(key, Enum) else key
    return str(key) if type(key) is int else key


def _as_parts(value: Any) -> tuple[Part, ...] | None:
    if isinstance(value, (Text, Image, File)):
        return (value,)
    if not isinstance(value, (list, tuple)) or not any(
        isinstance(each, (Text, Image, File)) for each in value
    ):
        return None
    if not all(isinstance(each, (str, Text, Image, File)) for each in value):
        return None
    return tuple(Text(each) if isinstance(each, str) else each for each in value)


def _readable_parts(parts: tuple[Part, ...], limit: int) -> tuple[Part, ...]:
    """The limit counts the text of all parts together."""
    out: list[Part] = []
    room = limit
    for part in parts:
        if isinstance(part, Text):
            out.append(Text(_readable(part.text, limit, room)))
            room = max(0, room - len(part.text))
        else:
            out.append(part)
    return tuple(out)


def _readable(text: str, limit: int, room: int | None = None) -> str:
    if not text:
        return "(the tool returned an empty text)"
    if len(text) > (limit if room is None else room):
        text = _cut(text, limit, limit if room is None else room)
    return mended(text)


def _cut(text: str, limit: int, room: int) -> str:
    def marker(left_out: int) -> str:
        return (
            f"\n[… {left_out:,} of {len(text):,} characters are left out here: a result may have {limit:,}. "
            "To see them, ask for less at once: narrow the arguments, or fetch it in parts.]\n"
        )

    kept = max(0, room - len(marker(len(text))))
    tail = kept // 5
    return text[: kept - tail] + marker(len(text) - kept) + text[len(text) - tail :]
