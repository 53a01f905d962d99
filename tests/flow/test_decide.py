"""Decisions and their evidence."""

from __future__ import annotations

from typing import Any

import pytest
from tests.flow.support import loaded, told

from agentfootprint.errors import FlowInvalid, StepFailed
from agentfootprint.flow import (
    Decision,
    Flow,
    Run,
    Step,
    check,
    decide,
    empty,
    eq,
    ge,
    gt,
    is_false,
    is_true,
    le,
    lt,
    ne,
    nonempty,
    one_of,
    rule,
)

RULES = [
    rule("too young", "refuse", age=lt(18)),
    rule("rich and sound", "accept", income=ge(50_000), debts=le(10_000)),
    rule("vip", "accept", vip=is_true()),
]


async def decided(state: dict[str, Any], rules: Any = RULES) -> Run:
    flow: Flow[Any] = Flow("deciding")

    @flow.decide(to=["refuse", "accept", "look"])
    def choose(step: Step[Any]) -> Decision:
        return decide(step, rules, "look", "nothing says yes or no")

    for name in ("refuse", "accept", "look"):

        @flow.step(name=name)
        def end(step: Step[Any]) -> None:
            step["end"] = step.node

    return await flow.start(state=state)


def evidence(run: Run) -> Any:
    decision = run.footprint.step("choose#0").decision
    assert decision is not None
    return (
        decision.choice,
        decision.rule,
        [
            (
                tried.rule,
                [(one.key, one.test, one.version and one.version.value, one.held) for one in tried.compared],
            )
            for tried in decision.tried
        ],
    )


async def test_the_first_rule_that_holds_decides_and_later_ones_are_not_tried() -> None:
    run = await decided({"age": 17, "income": 90_000, "debts": 0, "vip": True})
    assert run["end"] == "refuse"
    assert evidence(run) == ("refuse", "too young", [("too young", [("age", "< 18", 17, True)])])


async def test_a_rule_stops_at_its_first_failing_check_which_alone_is_evidence() -> None:
    run = await decided({"age": 40, "income": 10, "debts": 99, "vip": True})
    assert evidence(run) == (
        "accept",
        "vip",
        [
            ("too young", [("age", "< 18", 40, False)]),
            ("rich and sound", [("income", ">= 50000", 10, False)]),
            ("vip", [("vip", "is true", True, True)]),
        ],
    )
    assert [v.key for v in run.footprint.step("choose#0").reads] == ["age", "income", "vip"]


async def test_all_checks_of_the_rule_that_matched_are_evidence() -> None:
    run = await decided({"age": 40, "income": 60_000, "debts": 5})
    assert evidence(run)[2][1] == (
        "rich and sound",
        [("income", ">= 50000", 60_000, True), ("debts", "<= 10000", 5, True)],
    )


async def test_the_default_names_itself_and_says_what_failed() -> None:
    run = await decided({"age": 40, "income": 60_000, "debts": 50_000, "vip": False})
    choice, why, tried = evidence(run)
    assert (choice, why) == ("look", "nothing says yes or no")
    assert [(name, compared[-1][3]) for name, compared in tried] == [
        ("too young", False),
        ("rich and sound", False),
        ("vip", False),
    ]
    assert "debts is 50000, not <= 10000" in run.footprint.narrative()


async def test_a_key_that_was_never_written_fails_every_check() -> None:
    run = await decided({"age": 40})
    assert evidence(run)[2] == [
        ("too young", [("age", "< 18", 40, False)]),
        ("rich and sound", [("income", ">= 50000", None, False)]),
        ("vip", [("vip", "is true", None, False)]),
    ]
    assert "vip was never written" in run.footprint.narrative()


async def test_evidence_points_at_versions_so_that_why_reaches_their_makers() -> None:
    run = await decided({"age": 17})
    why = run.footprint.why("end")
    assert "choose#0 chose refuse because too young (age is 17, < 18)" in why
    assert "input#0:age" in run.footprint.slice("end").ids()


async def test_evidence_survives_the_file() -> None:
    for state in (
        {"age": 17},
        {"age": 40},
        {"age": 40, "vip": True},
        {"age": 40, "income": 60_000, "debts": 1},
    ):
        run = await decided(state)
        again = loaded(run)
        mine, theirs = run.footprint.step("choose#0").decision, again.step("choose#0").decision
        assert mine is not None
        assert theirs is not None
        spelled = [
            [(t.rule, t.to, [(c.key, c.test, c.held) for c in t.compared]) for t in d.tried]
            for d in (mine, theirs)
        ]
        assert spelled[0] == spelled[1]
        assert told(again) == told(run)


@pytest.mark.parametrize(
    ("test", "holds", "fails", "text"),
    [
        (ge(2), 2, 1, ">= 2"),
        (gt(2), 3, 2, "> 2"),
        (le(2), 2, 3, "<= 2"),
        (lt(2), 1, 2, "< 2"),
        (eq("a"), "a", "b", "== 'a'"),
        (ne("a"), "b", "a", "!= 'a'"),
        (one_of(1, 2), 2, 3, "is one of (1, 2)"),
        (nonempty(), (1,), (), "is not empty"),
        (empty(), (), (1,), "is empty"),
        (is_true(), True, False, "is true"),
        (is_false(), False, True, "is false"),
        (check("is even", lambda n: n % 2 == 0), 4, 5, "is even"),
    ],
)
async def test_every_check_holds_fails_and_says_what_it_is(
    test: Any, holds: Any, fails: Any, text: str
) -> None:
    rules = [rule("it", "accept", value=test)]
    assert evidence(await decided({"value": holds}, rules)) == (
        "accept",
        "it",
        [("it", [("value", text, holds, True)])],
    )
    assert evidence(await decided({"value": fails}, rules))[2] == [("it", [("value", text, fails, False)])]


async def test_none_counts_as_empty() -> None:
    assert (await decided({"value": None}, [rule("none", "accept", value=empty())]))["end"] == "accept"


def test_a_rule_that_compares_nothing_is_refused() -> None:
    with pytest.raises(FlowInvalid, match="'always' compares nothing"):
        rule("always", "accept")


async def test_a_decision_may_be_a_bare_name_and_then_says_no_reason() -> None:
    flow: Flow[Any] = Flow("bare")

    @flow.decide(to={"left": "a", "right": "b"})
    async def choose(step: Step[Any]) -> str:
        return "right" if step.input else "left"

    for name in ("a", "b"):

        @flow.step(name=name)
        def end(step: Step[Any]) -> None:
            step["end"] = step.node

    run = await flow.start(1)
    assert run["end"] == "b"
    assert evidence_of(run) == ("right", "")


def evidence_of(run: Run) -> tuple[Any, str]:
    decision = run.footprint.step("choose#0").decision
    assert decision is not None
    return decision.choice, decision.rule


@pytest.mark.parametrize(
    ("returned", "says"),
    [("nowhere", "chose 'nowhere', but leads only to: yes"), (None, "returned None"), (7, "returned 7")],
)
async def test_a_choice_that_leads_nowhere_is_refused_by_name(returned: Any, says: str) -> None:
    flow: Flow[Any] = Flow("lost")

    @flow.decide(to={"yes": "end"})
    def choose(step: Step[Any]) -> Any:
        return returned

    @flow.step
    def end(step: Step[Any]) -> None: ...

    with pytest.raises(FlowInvalid, match=f"choose#0.*{says}"):
        await flow.start()


async def test_a_check_that_raises_fails_the_step_by_name() -> None:
    with pytest.raises(StepFailed, match=r"choose#0.*TypeError"):
        await decided({"age": "old"})


def looping() -> Flow[Any]:
    flow: Flow[Any] = Flow("looping")

    @flow.step(to="again")
    def work(step: Step[Any]) -> None:
        step["n"] = step.get("n", 0) + 1

    @flow.decide(to={"more": "work", "enough": "end"})
    def again(step: Step[Any]) -> Decision:
        return decide(step, [rule("enough rounds", "enough", n=ge(3))], "more")

    @flow.step
    def end(step: Step[Any]) -> None:
        step["end"] = True

    return flow


async def test_a_step_in_a_loop_was_led_to_by_the_decision_before_it() -> None:
    run = await looping().start()
    because = {step.id: step.because.id if step.because else None for step in run.journal}
    assert because == {
        "input#0": None,
        "work#0": None,
        "again#0": None,
        "work#1": "again#0",
        "again#1": "again#0",
        "work#2": "again#1",
        "again#2": "again#1",
        "end#0": None,  # comes whatever is decided
    }


async def test_after_the_ways_meet_again_a_decision_is_no_reason_any_more() -> None:
    flow: Flow[Any] = Flow("meeting")

    @flow.decide(to=["left", "right"])
    def choose(step: Step[Any]) -> str:
        return "left" if step.input else "right"

    @flow.step(to="inner")
    def left(step: Step[Any]) -> None:
        step["side"] = "left"

    @flow.step(to="end")
    def right(step: Step[Any]) -> None:
        step["side"] = "right"

    @flow.decide(to=["deep", "end"])
    def inner(step: Step[Any]) -> str:
        return "deep"

    @flow.step(to="end")
    def deep(step: Step[Any]) -> None:
        step["deep"] = True

    @flow.step
    def end(step: Step[Any]) -> None:
        step["end"] = step["side"]

    run = await flow.start(1)
    because = {step.node: step.because.id if step.because else None for step in run.journal}
    assert because == {
        "input": None,
        "choose": None,
        "left": "choose#0",
        "inner": "choose#0",
        "deep": "inner#0",
        "end": None,
    }
    assert [one.id for one in run.footprint.slice("deep").decisions] == ["inner#0", "choose#0"]
