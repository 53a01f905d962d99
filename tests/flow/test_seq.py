"""Growing lists."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.flow.support import SETTINGS

from agentfootprint.flow import Seq
from agentfootprint.flow.codec import digest


def test_a_version_never_sees_what_was_appended_to_another() -> None:
    base = Seq(["a"])
    left, right = base.append("b"), base.append("c")
    assert (list(base), list(left), list(right)) == (["a"], ["a", "b"], ["a", "c"])
    assert list(left.extend(["d", "e"])) == ["a", "b", "d", "e"]
    assert list(left) == ["a", "b"]


def test_appending_to_the_newest_version_shares_and_does_not_copy() -> None:
    grown = Seq(range(1000))
    buffer = grown._items
    for number in range(1000):
        grown = grown.append(number)
    assert grown._items is buffer


def test_it_is_a_sequence() -> None:
    one = Seq("abcd").append("e")
    assert (len(one), one[0], one[-1], "c" in one, one.index("d"), next(reversed(one))) == (
        5,
        "a",
        "e",
        True,
        3,
        "e",
    )
    assert (one[1:3], one[::-1], one[::2], one[10:]) == (("b", "c"), tuple("edcba"), ("a", "c", "e"), ())
    assert repr(Seq([1])) == "Seq([1])"
    with pytest.raises(IndexError):
        one[5]
    with pytest.raises(IndexError):
        one[-6]


def test_it_cannot_be_changed() -> None:
    one = Seq([1])
    with pytest.raises(TypeError):
        one[0] = 2  # type: ignore[index]
    with pytest.raises(AttributeError):
        one.more = 1  # type: ignore[attr-defined]


def test_equality_is_by_items_and_only_among_its_kind() -> None:
    assert Seq([1, 2]) == Seq([1]).append(2)
    assert hash(Seq([1, 2])) == hash(Seq([1]).append(2))
    assert Seq([1]) != Seq([2])
    assert Seq([1]) != [1]


@settings(SETTINGS, max_examples=60)
@given(st.data())
def test_any_family_of_versions_behaves_like_copied_lists_digests_included(data: st.DataObject) -> None:
    family: list[tuple[Seq[int], list[int]]] = [(Seq(), [])]
    for _ in range(data.draw(st.integers(0, 15))):
        seq, plain = data.draw(st.sampled_from(family))
        more = data.draw(st.lists(st.integers(0, 3), max_size=3))
        family.append((seq.extend(more), plain + more))
        if data.draw(st.booleans()):
            digest(data.draw(st.sampled_from(family))[0])
    for seq, plain in family:
        assert list(seq) == plain
        assert len(seq) == len(plain)
        start, stop = data.draw(st.integers(-5, 5)), data.draw(st.integers(-5, 5))
        assert seq[start:stop] == tuple(plain[start:stop])
        assert digest(seq) == digest(Seq(plain))
    for one, first in family:
        for other, second in family:
            assert (digest(one) == digest(other)) == (first == second)


def test_pydantic_reads_and_checks_it() -> None:
    adapter = TypeAdapter(Seq[int])
    assert adapter.validate_json("[1, 2]") == Seq([1, 2])
    assert json.loads(json.dumps([1, 2])) == list(adapter.validate_python(Seq([1, 2])))
    with pytest.raises(ValueError, match="valid integer"):
        adapter.validate_json('["x"]', strict=True)
