"""Answers, as they are typed and as they stand on the command line."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from agentfootprint.cli.asking import ask_all, given_answers, parsed
from agentfootprint.errors import AnswerInvalid
from agentfootprint.flow import Ask
from agentfootprint.tools.dispatch import APPROVAL_SCHEMA


def ask(schema: dict[str, Any] | None = None, name: str = "call_tools#0[0]?0") -> Ask:
    return Ask(name, "How many?", schema=schema)


@pytest.mark.parametrize(
    ("schema", "typed", "answer"),
    [
        (None, "42", 42),
        (None, "forty-two", "forty-two"),
        (None, '{"a": [1]}', {"a": [1]}),
        (None, "NaN", "NaN"),
        ({"type": "integer"}, "42", 42),
        ({"type": "string"}, "42", "42"),
        ({"type": "string"}, '"42"', "42"),
        ({"type": "string"}, "yes, please", "yes, please"),
        ({"enum": ["red", "green"]}, "red", "red"),
        (dict(APPROVAL_SCHEMA), '{"approved": false, "reason": "no"}', {"approved": False, "reason": "no"}),
    ],
)
def test_an_answer_is_json_where_that_fits_else_the_text(schema: Any, typed: str, answer: Any) -> None:
    assert parsed(ask(schema), typed) == answer


@pytest.mark.parametrize(
    ("schema", "typed"),
    [({"type": "integer"}, "many"), ({"type": "integer"}, "1.5"), ({"enum": ["red"]}, "blue")],
)
def test_an_answer_that_does_not_fit_is_refused_with_what_is_expected(schema: Any, typed: str) -> None:
    with pytest.raises(AnswerInvalid, match="expected"):
        parsed(ask(schema), typed)


def test_answers_go_to_their_questions() -> None:
    asks = [ask({"type": "integer"}, "a?0"), ask({"type": "string"}, "b?0")]
    given = given_answers(asks, ["b?0=x=y", "a?0=3"], approve=False, reject=False)
    assert given == {"a?0": 3, "b?0": "x=y"}


@pytest.mark.parametrize(("approve", "answer"), [(True, True), (False, False)])
def test_approve_and_reject_answer_the_one_question(approve: bool, answer: bool) -> None:
    asks = [ask(dict(APPROVAL_SCHEMA))]
    assert given_answers(asks, [], approve=approve, reject=not approve) == {asks[0].id: answer}


def test_a_question_whose_time_is_over_is_shown_and_gets_no_answer() -> None:
    console = Console(file=io.StringIO())
    late = Ask("a?0", "How many?", schema={"type": "boolean"}, expires_at=1.0)
    assert ask_all(console, [late]) == {}
    assert isinstance(console.file, io.StringIO)
    assert "Nobody answered in time: How many?" in console.file.getvalue()


def test_no_answers_are_none() -> None:
    assert given_answers([ask()], [], approve=False, reject=False) is None


@pytest.mark.parametrize("text", ["nobody?0=1", "1", "call_tools#0[0]?0"])
def test_an_answer_without_its_question_lists_the_open_ones(text: str) -> None:
    with pytest.raises(AnswerInvalid, match=r"Open: call_tools#0\[0\]\?0 \(How many\?\)"):
        given_answers([ask()], [text], approve=False, reject=False)


@pytest.mark.parametrize("asks", [[], [ask(name="a?0"), ask(name="b?0")]])
def test_approve_is_refused_unless_one_question_is_open(asks: list[Ask]) -> None:
    with pytest.raises(AnswerInvalid, match=f"one question, {len(asks)} are open"):
        given_answers(asks, [], approve=True, reject=False)


@pytest.mark.parametrize("also", [{"reject": True, "given": []}, {"reject": False, "given": ["a=1"]}])
def test_two_ways_to_answer_at_once_are_refused(also: dict[str, Any]) -> None:
    with pytest.raises(AnswerInvalid, match="one of --approve, --reject and --answer"):
        given_answers([ask()], also["given"], approve=True, reject=also["reject"])
