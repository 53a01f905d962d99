from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from agentfootprint.errors import UnsupportedValue
from agentfootprint.messages import File, Image, Text
from agentfootprint.tools.result import MAX_RESULT_CHARS, render


class Status(enum.Enum):
    OPEN = "open"


class Word(enum.StrEnum):
    YES = "yes"


@dataclass
class Order:
    id: str
    paid: bool = False
    status: Status = Status.OPEN
    lines: list[str] = field(default_factory=list)


class Answer(BaseModel):
    amount: Decimal
    found: bool = False


def test_text_stays_as_it_is() -> None:
    assert render('{"a": 1} \n ü') == '{"a": 1} \n ü'


def test_nothing_is_said_in_words() -> None:
    assert render(None) == "(the tool returned nothing)"
    assert render("") == "(the tool returned an empty text)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (3, "3"),
        (0.5, "0.5"),
        (Decimal("1.10"), "1.10"),
        (date(2026, 1, 31), "2026-01-31"),
        (Status.OPEN, "open"),
        (Word.YES, "yes"),
        ([], "[]"),
        ((1, "ü", None), '[1,"ü",null]'),
        ({"a": [Decimal("1.10")]}, '{"a":["1.10"]}'),
        ({1: "a", Status.OPEN: "b"}, '{"1":"a","open":"b"}'),
        (Answer(amount=Decimal("1.5")), '{"amount":"1.5","found":false}'),
    ],
)
def test_data_becomes_json(value: Any, text: str) -> None:
    assert render(value) == text


def test_a_dataclass_is_shown_with_its_defaults_because_the_model_does_not_know_them() -> None:
    assert render([Order("A")]) == '[{"id":"A","paid":false,"status":"open","lines":[]}]'


def test_what_has_no_json_form_names_tool_and_type() -> None:
    for value in (object(), {"a": object()}, float("nan"), {(1, 2): 3}, {1, 2}):
        with pytest.raises(UnsupportedValue, match=rf"'find' returned a {type(value).__name__}"):
            render(value, tool="find")


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UnsupportedValue, match=r"'find' returned a list that contains itself"):
        render(loop, tool="find")


def test_parts_stay_parts() -> None:
    picture = Image(url="https://example.org/a.png")
    assert render(picture) == (picture,)
    assert render(["see", picture, Text("and"), File(url="u")]) == (
        Text("see"),
        picture,
        Text("and"),
        File(url="u"),
    )


def test_the_limit_counts_the_text_of_all_parts() -> None:
    picture = Image(url="u")
    shown = render([Text("a" * 400), picture, "b" * 1000, "c"], 500)
    assert isinstance(shown, tuple)
    first, kept, second, third = shown
    assert first == Text("a" * 400)
    assert kept is picture
    assert isinstance(second, Text)
    assert len(second.text) < 300
    assert "1,000 of 1,000 characters" in second.text
    assert isinstance(third, Text)
    assert "1 of 1 characters" in third.text


def test_a_long_result_keeps_head_and_tail_and_says_what_is_missing() -> None:
    text = "".join(f"{n:07d}\n" for n in range(1_250_000))
    cut = render(text)
    assert isinstance(cut, str)
    assert MAX_RESULT_CHARS - 10 < len(cut) <= MAX_RESULT_CHARS
    assert cut.startswith("0000000\n0000001\n")
    assert cut.endswith("1249999\n")
    head, _, rest = cut.partition("\n[… ")
    marker, _, tail = rest.partition("]\n")
    left_out = int(marker.split(" ", 1)[0].replace(",", ""))
    assert left_out == len(text) - len(head) - len(tail)
    assert "of 10,000,000 characters are left out" in marker
    assert "narrow the arguments" in marker


def test_at_the_limit_nothing_is_cut() -> None:
    assert render("x" * 500, 500) == "x" * 500
    assert render("x" * 501, 500) != "x" * 501


def test_lone_surrogates_become_encodable_and_pairs_become_their_character() -> None:
    assert render("a\ud800b") == "a\ufffdb"
    assert render("\ud83d\ude00") == "😀"
    assert render({"k\udfff": "\ud800"}) == '{"k\ufffd":"\ufffd"}'


@given(st.text(st.characters()), st.integers(1, 400))
def test_every_text_comes_out_encodable_and_within_the_limit_or_the_marker(text: str, limit: int) -> None:
    shown = render(text, limit)
    assert isinstance(shown, str)
    assert shown.encode("utf-8")
    assert len(shown) <= max(limit, 300)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
        ),
        max_leaves=20,
    ).filter(lambda value: value is not None and not isinstance(value, str))
)
def test_json_data_can_be_read_back(value: Any) -> None:
    shown = render(value)
    assert isinstance(shown, str)
    assert json.loads(shown) == value
