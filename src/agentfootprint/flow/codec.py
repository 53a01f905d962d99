"""Values to JSON and back. Decoding is by declared type; data never names a type.

Encoding knows JSON scalars, tuples and lists, string-keyed mappings, `Seq`, dataclasses, pydantic
models, enums, dates, decimals and bytes (base64). Decoding validates strictly into the type the
program declares (an undeclared value decodes as plain JSON).
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from ..errors import JournalInvalid, UnsupportedValue
from .seq import Seq

__all__ = ["canonical", "decode", "digest", "dumps", "encode", "encodes", "has_utf8", "mended", "portable"]

_SCALARS = frozenset({str, bool, int, type(None)})


def encode(value: Any) -> Any:
    """The value as JSON data.

    Raises:
        UnsupportedValue: something in it has no JSON form; the message says where.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is float:
        if math.isfinite(value):
            return value
        raise UnsupportedValue(f"{value!r} has no JSON form: store None or a string instead")
    encoder = _ENCODERS.get(kind)
    if encoder is None:
        encoder = _ENCODERS[kind] = _encoder_for(kind)
    return encoder(value)


def _encode_items(value: Any) -> list[Any]:
    return [encode(item) for item in value]


def _encode_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    out = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise UnsupportedValue(f"a mapping with the key {key!r} has no JSON form: keys must be strings")
        out[key] = encode(item)
    return out


def _dataclass_encoder(kind: type) -> Callable[[Any], dict[str, Any]]:
    # A field at its default is left out, except `kind`, which tells the members of a union apart.
    fields = []
    for field in dataclasses.fields(kind):
        default = field.default if field.name != "kind" else dataclasses.MISSING
        if default is not dataclasses.MISSING and type(default) not in _SCALARS | {tuple}:
            default = dataclasses.MISSING
        fields.append((field.name, default))

    def encoder(value: Any) -> dict[str, Any]:
        out = {}
        for name, default in fields:
            item = getattr(value, name)
            if item is not default and not (item == default and type(item) is type(default)):
                out[name] = encode(item)
        return out

    return encoder


def _encoder_for(kind: type) -> Callable[[Any], Any]:
    if dataclasses.is_dataclass(kind):
        return _dataclass_encoder(kind)
    if hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_dump"):
        return lambda value: value.model_dump(mode="json")
    if issubclass(kind, enum.Enum):
        return lambda value: encode(value.value)
    if issubclass(kind, str):
        return lambda value: str(value)
    if issubclass(kind, int):
        return lambda value: int(value)
    if issubclass(kind, float):
        return lambda value: encode(float(value))
    if issubclass(kind, Mapping):
        return _encode_mapping
    if issubclass(kind, (tuple, list)):
        return _encode_items
    if issubclass(kind, (datetime.datetime, datetime.date, datetime.time)):
        return lambda value: value.isoformat()
    raise UnsupportedValue(
        f"a value of type {kind.__module__}.{kind.__qualname__} cannot be recorded: use JSON scalars, "
        "tuples, Seq, frozen dataclasses or frozen pydantic models, or keep it outside (deps) and "
        "store a reference"
    )


_ENCODERS: dict[type, Callable[[Any], Any]] = {
    tuple: _encode_items,
    list: _encode_items,
    Seq: _encode_items,
    dict: _encode_mapping,
    bytes: lambda value: base64.b64encode(value).decode("ascii"),
    Decimal: str,
    UUID: str,
}


def encodes(kind: type, encoder: Callable[[Any], Any]) -> None:
    """Has values of a class recorded as what `encoder` makes of them: JSON data."""
    _ENCODERS[kind] = encoder


# A whole number where a float is declared stays what the step wrote.
_AS_IT_IS: Mapping[Any, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (float, int)}


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    try:
        return TypeAdapter(kind, config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))
    except Exception:
        # Types that carry their own configuration refuse a second one.
        return TypeAdapter(kind)


def decode(kind: Any, data: Any) -> Any:
    """JSON data as a value of the declared type (`Any`: as it is).

    Halves of characters (lone surrogates), which models do send, come back as U+FFFD.

    Raises:
        JournalInvalid: the data does not fit the type.
    """
    if kind is Any or type(data) in _AS_IT_IS.get(kind, ()):
        return data
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        text = dumps(data)
        if (better := mended(text)) is not text:
            return decode(kind, json.loads(better))
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the value"
        name = getattr(kind, "__name__", str(kind))
        raise JournalInvalid(
            f"stored data does not fit the declared type {name}: {where}: {first['msg']}"
        ) from None


def dumps(data: Any) -> str:
    """JSON data as compact text."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def portable(data: Any) -> str:
    """JSON data as compact text that has a UTF-8 form: halves of characters are written as escapes."""
    text = dumps(data)
    return text if has_utf8(text) else json.dumps(data, separators=(",", ":"), allow_nan=False)


def has_utf8(text: str) -> bool:
    """Whether the text has a UTF-8 form: it holds no half of a character (a lone surrogate)."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def mended(text: str) -> str:
    """The text with halves of characters brought together, or replaced by U+FFFD."""
    # Through UTF-16, so that two halves of one character become that character.
    return text if has_utf8(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def canonical(value: Any) -> str:
    """The one text of a value: keys sorted, no white space. Equal values have equal texts."""
    return json.dumps(
        _whole(encode(value)), separators=(",", ":"), ensure_ascii=False, sort_keys=True, allow_nan=False
    )


def _whole(data: Any) -> Any:
    """The data with 5.0 as 5: which of the two stands there may depend on where it was declared."""
    kind = type(data)
    if kind is float:
        return int(data) if data.is_integer() else data
    if kind is list:
        return [_whole(item) for item in data]
    if kind is dict:
        return {key: _whole(item) for key, item in data.items()}
    return data


def digest(value: Any) -> str:
    """A short fingerprint of a value: 128 bits of SHA-256 of its canonical text, as hex.

    A `Seq` is hashed item by item and remembers the digests of its prefixes, so that a history
    that grows is never hashed twice.
    """
    if type(value) is Seq:
        return _seq_digest(value).hex()
    return hashlib.sha256(mended(canonical(value)).encode()).hexdigest()[:32]


def _seq_digest(seq: Seq[Any]) -> bytes:
    size = len(seq)
    known = seq.prefix_digests()
    last = known[min(len(known), size) - 1] if known and size else b""
    for index in range(len(known), size):
        last = hashlib.sha256(last + mended(canonical(seq[index])).encode()).digest()[:16]
        known.append(last)
    return last or b"\x00" * 16
