"""Values to JSON and back."""

from __future__ import annotations

import datetime
import enum
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from tests.flow.support import SETTINGS

from agentfootprint.errors import JournalInvalid, UnsupportedValue
from agentfootprint.flow import Seq
from agentfootprint.flow.codec import canonical, decode, digest, dumps, encode


class Colour(enum.Enum):
    RED = "red"


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)
    name: str
    at: datetime.datetime | None = None


@dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0
    tags: tuple[str, ...] = ()
    more: Model | None = None


@dataclass(frozen=True)
class Circle:
    r: int
    kind: Literal["circle"] = "circle"


@dataclass(frozen=True)
class Square:
    a: int
    kind: Literal["square"] = "square"


@dataclass(frozen=True)
class Holder:
    shapes: tuple[Circle | Square, ...] = ()
    colour: Colour = Colour.RED
    lists: dict[str, list[int]] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, "é😀"),
        (int, 2**70),
        (float, 0.1),
        (bool, True),
        (type(None), None),
        (tuple[int, ...], (1, 2)),
        (list[str], ["a"]),
        (dict[str, int], {"a": 1}),
        (Seq[int], Seq([1, 2])),
        (Seq[Point], Seq([Point(1)])),
        (bytes, b"\x00\xff"),
        (Decimal, Decimal("1.10")),
        (UUID, UUID(int=7)),
        (Colour, Colour.RED),
        (datetime.datetime, datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)),
        (datetime.date, datetime.date(2026, 1, 2)),
        (Model, Model(name="a", at=datetime.datetime(2026, 1, 2))),
        (Point, Point(1, 2.5, ("t",), Model(name="m"))),
        (Holder, Holder((Circle(1), Square(2)), Colour.RED, {"a": [1]})),
        (Any, {"a": [1, None, {"b": "c"}]}),
    ],
)
def test_a_value_comes_back_as_its_declared_type(kind: Any, value: Any) -> None:
    data = json.loads(dumps(encode(value)))
    again = decode(kind, data)
    assert again == value
    assert kind is Any or type(again) is type(value)
    assert digest(again) == digest(value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "builtins.object cannot be recorded"),
        ({1: 2}, "the key 1"),
        (float("nan"), "nan has no JSON form"),
        ([{"a": float("inf")}], "inf has no JSON form"),
        ({"a": {1, 2}}, "builtins.set cannot be recorded"),
        (lambda: 1, "function cannot be recorded"),
    ],
)
def test_what_has_no_json_form_is_refused_and_says_what(value: Any, says: str) -> None:
    with pytest.raises(UnsupportedValue, match=says):
        encode(value)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (int, "1"),
        (int, 1.5),
        (int, True),
        (bool, 1),
        (str, 1),
        (float, "1.0"),
        (float, True),
        (tuple[int, ...], ["a"]),
        (Point, {"x": "1"}),
        (Point, {"x": 1, "tags": "t"}),
        (Colour, "blue"),
        (dict[str, int], {"a": None}),
        (type(None), 0),
    ],
)
def test_decoding_is_strict_and_does_not_quote_the_data(kind: Any, data: Any) -> None:
    with pytest.raises(JournalInvalid, match="does not fit the declared type") as caught:
        decode(kind, data)
    assert "input_value" not in str(caught.value)


def test_the_order_of_keys_is_not_part_of_a_value() -> None:
    assert canonical({"b": 1, "a": [2]}) == canonical({"a": [2], "b": 1}) == '{"a":[2],"b":1}'
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest(5) == digest(5.0)
    assert digest(0.5) != digest(0)


def test_a_field_at_its_default_is_left_out_but_the_kind_is_not() -> None:
    assert encode(Point(1)) == {"x": 1, "y": 0.0}  # 0, 0.0 and -0.0 are told apart
    assert encode(Point(1, 2.0, ("t",))) == {"x": 1, "y": 2.0, "tags": ["t"]}
    assert encode(Circle(1)) == {"r": 1, "kind": "circle"}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(SETTINGS, max_examples=80)
@given(_json)
def test_all_of_json_survives_and_equal_values_have_equal_texts(value: Any) -> None:
    again = json.loads(dumps(encode(value)))
    assert again == value
    assert decode(Any, again) == value
    assert canonical(again) == canonical(value)
