from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfootprint.errors import InputInvalid, StoreCorrupt, UnsupportedValue
from agentfootprint.state.values import deadline, from_json, to_json
from agentfootprint.testing.kit import same

anything = st.text(st.characters(exclude_categories=[]), max_size=5)  # lone surrogates and NUL too
scalars = st.none() | st.booleans() | st.integers() | st.floats() | anything
data = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(anything | st.integers(), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=10,
)


@given(data)
def test_a_value_is_refused_or_comes_back_equal(value: Any) -> None:
    try:
        text = to_json(value)
    except UnsupportedValue:
        return
    text.encode("utf-8")
    assert same(from_json(text, "a test"), value)


def test_a_lone_surrogate_survives() -> None:
    assert from_json(to_json({"broken": "\ud83d!"}), "a test") == {"broken": "\ud83d!"}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"a": [1, (2, 3)]}, r"the value\['a'\]\[1\] is a tuple, which has no JSON form: use a list"),
        ({"a": {5: 1}}, r"the value\['a'\] has a key of type int: keys must be strings"),
        ([float("nan")], r"the value\[0\] is nan: store None or a string instead"),
        (object(), r"the value is a object, which has no JSON form"),
    ],
)
def test_the_refusal_says_where(value: Any, problem: str) -> None:
    with pytest.raises(UnsupportedValue, match=problem):
        to_json(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UnsupportedValue, match="nested too deeply or contains itself"):
        to_json(value)


@pytest.mark.parametrize("text", ["{", "", None, b"\xff"])
def test_text_that_is_no_json_is_corrupt(text: Any) -> None:
    with pytest.raises(StoreCorrupt, match=r"^the row 7 is not the JSON that was written"):
        from_json(text, "the row 7")


@pytest.mark.parametrize("ttl", [float("nan"), float("inf")])
def test_a_ttl_that_never_comes_is_refused(ttl: float) -> None:
    with pytest.raises(InputInvalid, match="finite"):
        deadline(0.0, ttl)
