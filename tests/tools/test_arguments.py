"""Binding a model's arguments, and what the model reads when they do not fit."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field

from agentfootprint.flow.seq import Seq
from agentfootprint.tools import ArgumentsInvalid, Tool, tool


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Line:
    sku: str
    quantity: int = 1


class Address(BaseModel):
    city: str
    zip_code: str | None = None


@tool
def refund(order_id: str, amount: int, reason: Literal["broken", "late"] = "late") -> str:
    return f"{order_id} {amount} {reason}"


@tool
def place(lines: list[Line], to: Address, size: Size = Size.SMALL, extra: Any = None) -> None: ...


def told(made: Tool[..., Any], arguments: Mapping[str, Any], raw: str | None = None) -> str:
    with pytest.raises(ArgumentsInvalid) as caught:
        made.bind(arguments, raw)
    assert caught.value.code == "arguments_invalid"
    return str(caught.value)


class TestBinding:
    def test_what_was_not_sent_is_left_to_the_functions_own_defaults(self) -> None:
        bound = refund.bind({"order_id": "A-1", "amount": 5})
        assert bound == {"order_id": "A-1", "amount": 5}
        assert refund(**bound) == "A-1 5 late"

    def test_values_become_the_declared_types(self) -> None:
        @tool
        def pay(
            on: date, amount: Decimal, size: Size, lines: list[Line], to: Address, tags: set[str]
        ) -> None: ...

        assert pay.bind(
            {
                "on": "2026-01-31",
                "amount": "1.10",
                "size": "l",
                "lines": [{"sku": "x"}],
                "to": {"city": "Bern"},
                "tags": ["a", "a"],
            }
        ) == {
            "on": date(2026, 1, 31),
            "amount": Decimal("1.10"),
            "size": Size.LARGE,
            "lines": [Line("x")],
            "to": Address(city="Bern"),
            "tags": {"a"},
        }

    def test_a_number_written_as_text_is_a_number_but_not_the_other_way_round(self) -> None:
        assert refund.bind({"order_id": "1", "amount": "3"})["amount"] == 3
        assert "order_id: should be a valid string" in told(refund, {"order_id": 1, "amount": 3})
        assert "fractional part" in told(refund, {"order_id": "1", "amount": 3.5})

    def test_changing_bound_values_never_changes_the_call(self) -> None:
        @tool
        def store(data: Any, items: list[Any], table: dict[str, list[int]], raw: dict) -> None: ...  # type: ignore[type-arg]

        sent = {
            "data": {"a": [1, {"b": 2}]},
            "items": [[1], {"c": []}],
            "table": {"t": [1]},
            "raw": {"x": {"y": 1}},
        }
        before = json.dumps(sent)
        bound = store.bind(sent)
        assert bound == sent
        bound["data"]["a"][1]["b"] = 99
        bound["items"][0].append(99)
        bound["items"][1]["c"].append(99)
        bound["table"]["t"].append(99)
        bound["raw"]["x"]["y"] = 99
        assert json.dumps(sent) == before

    def test_read_only_mappings_and_sequences_are_read_like_plain_ones(self) -> None:
        bound = place.bind(
            MappingProxyType(
                {
                    "lines": (MappingProxyType({"sku": "x"}),),
                    "to": MappingProxyType({"city": "B"}),
                    "extra": Seq([1]),
                }
            )
        )
        assert bound == {"lines": [Line("x")], "to": Address(city="B"), "extra": [1]}
        assert type(bound["extra"]) is list


class TestWhatTheModelReads:
    def test_the_tool_and_its_signature_are_named(self) -> None:
        text = told(refund, {})
        assert text.startswith("refund was not run, its arguments do not fit:")
        assert 'Expected: refund({order_id: string, amount: integer, reason?: "broken" | "late"})' in text

    def test_missing_arguments_with_their_types(self) -> None:
        text = told(refund, {"order_id": "A"})
        assert "- amount: missing, it is required (integer)" in text
        assert "- order_id" not in text

    def test_an_unknown_argument_with_the_close_name(self) -> None:
        assert "- orderId: there is no such argument; did you mean order_id?" in told(
            refund, {"orderId": "A", "amount": 1}
        )
        assert "- verbose: there is no such argument; leave it out" in told(
            refund, {"order_id": "A", "amount": 1, "verbose": True}
        )

    def test_close_names_are_looked_for_only_where_they_are_shown(self, monkeypatch: Any) -> None:
        looked: list[str] = []

        def look(name: str, *_: Any, **__: Any) -> list[str]:
            looked.append(name)
            return []

        monkeypatch.setattr("difflib.get_close_matches", look)
        more = {f"more{n}": n for n in range(1_000)}
        assert "- and 990 more" in told(refund, {"order_id": "A", "amount": 1, **more})
        assert len(looked) == 10

    def test_what_was_sent_and_what_is_expected(self) -> None:
        text = told(refund, {"order_id": "A", "amount": "lots", "reason": "whim"})
        assert (
            '- amount: should be a valid integer, unable to parse string as an integer (you sent "lots")'
            in text
        )
        assert "- reason: should be 'broken' or 'late' (you sent \"whim\")" in text

    def test_nested_places_are_spelled_out(self) -> None:
        text = told(place, {"lines": [{"sku": "x"}, {"quantity": "y"}], "to": {"zip_code": 3}})
        assert "- lines[1].sku: missing, it is required" in text
        assert "- lines[1].quantity: should be a valid integer" in text
        assert "- to.city: missing, it is required" in text
        assert "- to.zip_code: should be a valid string (you sent 3)" in text
        assert "{sku: string, quantity?: integer}[]" in text

    def test_an_unknown_nested_field_with_the_close_name(self) -> None:
        text = told(place, {"lines": [{"skus": "x"}], "to": {"city": "B"}})
        assert "- lines[0].skus: there is no such argument; did you mean sku?" in text

    def test_the_members_of_a_union_are_one_problem(self) -> None:
        @tool
        def find(key: int | bool | None = None) -> None: ...

        text = told(find, {"key": [1]})
        assert text.count("- key:") == 1
        assert "valid integer" in text
        assert "valid boolean" in text
        assert "find({key?: integer | boolean | null})" in text

    def test_a_validators_own_message(self) -> None:
        def even(value: int) -> int:
            if value % 2:
                raise ValueError("give an even number")
            return value

        @tool
        def take(count: Annotated[int, AfterValidator(even), Field(ge=2)]) -> None: ...

        assert "- count: give an even number (you sent 3)" in told(take, {"count": 3})
        assert "greater than or equal to 2 (you sent 0)" in told(take, {"count": 0})

    def test_a_validator_that_breaks_is_an_answer_too(self) -> None:
        def broken(value: int) -> int:
            raise KeyError("secret-detail")

        @tool
        def take(count: Annotated[int, AfterValidator(broken)]) -> None: ...

        text = told(take, {"count": 3})
        assert "could not be checked (KeyError)" in text
        assert "secret-detail" not in text

    def test_a_type_inside_itself_is_written_once(self) -> None:
        @tool
        def grow(tree: Tree) -> None: ...

        assert "Expected: grow({tree: {name: string, children?: Tree[]}})" in told(grow, {})

    def test_large_values_and_many_problems_are_shortened(self) -> None:
        text = told(refund, {"order_id": 1, "amount": "x" * 1_000_000, **{f"k{i}": i for i in range(1000)}})
        assert len(text) < 3000
        assert "more" in text
        assert "…" in text

    def test_surrogates_come_out_as_text_that_can_be_sent(self) -> None:
        text = told(refund, {"order_id": "\ud800", "amount": "\udfff", "\ud83d": 1})
        assert text.encode("utf-8")


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


class TestArgumentsThatWereNoObject:
    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            ('{"order_id": "A-1", "amount"', "Expecting ':' delimiter at line 1, column 29"),
            ('{"order_id": "A-1"\n "amount": 1}', "Expecting ',' delimiter at line 2, column 2"),
            ("", "there were none; send a JSON object"),
            ("  ", "there were none; send a JSON object"),
            ("[1, 2]", "they are a list, not a JSON object: [1, 2]"),
            ('"A-1"', 'they are a string, not a JSON object: "A-1"'),
            ("null", "they are null, not a JSON object"),
            ("3", "they are a number, not a JSON object: 3"),
            ("[" * 200_000, "nested too deep"),
        ],
    )
    def test_the_model_is_told_where_reading_failed(self, raw: str, expected: str) -> None:
        text = told(refund, {}, raw)
        assert expected in text
        assert "Expected: refund({" in text

    def test_it_is_refused_even_when_the_text_would_fit(self) -> None:
        # What a person approved is `arguments`; something else must not run in its place.
        assert "object sent as text" in told(refund, {}, '{"order_id": "A", "amount": 1}')


class TestHostileNesting:
    def test_deep_arguments_are_refused_without_exhausting_the_stack(self) -> None:
        deep: Any = 1
        for _ in range(10_000):
            deep = [deep]
        assert "extra" in place.spec.schema["properties"]
        text = told(place, {"lines": [], "to": {"city": "B"}, "extra": deep})
        assert "nested deeper than 100 levels" in text
        deep = {}
        for _ in range(10_000):
            deep = {"name": "n", "children": [deep]}

        @tool
        def grow(tree: Tree) -> None: ...

        assert "nested deeper" in told(grow, {"tree": deep})

    def test_fifty_levels_are_fine(self) -> None:
        deep: Any = 1
        for _ in range(50):
            deep = [deep]
        assert place.bind({"lines": [], "to": {"city": "B"}, "extra": deep})["extra"] == deep


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@tool
def mixed(
    name: str,
    count: int,
    ratio: float,
    flags: list[bool],
    lines: list[Line],
    size: Size,
    maybe: str | None = None,
    table: dict[str, list[int]] | None = None,
    anything: Any = None,
) -> None: ...


WORDS = st.text(st.characters(exclude_categories=["Cs"]))
FITTING = st.fixed_dictionaries(
    {
        "name": WORDS,
        "count": st.integers(),
        "ratio": st.floats(allow_nan=False, allow_infinity=False),
        "flags": st.lists(st.booleans()),
        "lines": st.lists(st.fixed_dictionaries({"sku": WORDS}, optional={"quantity": st.integers()})),
        "size": st.sampled_from(["s", "l"]),
    },
    optional={
        "maybe": st.none() | WORDS,
        "table": st.none() | st.dictionaries(WORDS, st.lists(st.integers())),
        "anything": JSON,
    },
)


@given(FITTING)
def test_whatever_fits_the_schema_binds_to_the_same_values(sent: dict[str, Any]) -> None:
    sent = json.loads(json.dumps(sent))
    jsonschema_rs.validate(dict(mixed.spec.schema), sent)
    bound = mixed.bind(sent)
    back = {
        **bound,
        "size": bound["size"].value,
        "lines": [
            {"sku": line.sku, **({"quantity": line.quantity} if "quantity" in given else {})}
            for line, given in zip(bound["lines"], sent["lines"], strict=True)
        ],
    }
    assert back == sent


@given(st.dictionaries(st.sampled_from(["name", "count", "lines", "size", "flags", "x"]) | st.text(), JSON))
def test_whatever_does_not_fit_gets_a_text_and_nothing_else_happens(sent: dict[str, Any]) -> None:
    before = json.dumps(sent)
    assert "mixed was not run" in told(mixed, {**sent, "ratio": {}})
    assert json.dumps(sent) == before


@given(st.text())
def test_any_raw_text_gets_an_answer(raw: str) -> None:
    assert told(refund, {}, raw).encode()
