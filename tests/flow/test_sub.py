"""Sub-flows: frames of their own state in the same journal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypedDict

import pytest
from tests.flow.support import answers_to, loaded, stored, told

from agentfootprint.errors import FlowInvalid, JoinConflict, StepFailed
from agentfootprint.flow import SECRET, Decision, Flow, Seq, Step, decide, ge, rule


class Lists(TypedDict):
    log: Seq[int]


class Amounts(TypedDict):
    amount: Decimal
    doubled: Decimal
    ok: bool


def child() -> Flow[Any]:
    flow: Flow[Any] = Flow("child")

    @flow.step(to="judge")
    def double(step: Step[Any]) -> None:
        step["doubled"] = step.input * 2

    @flow.decide(to={"big": "big", "small": "small"})
    def judge(step: Step[Any]) -> Decision:
        return decide(step, [rule("big enough", "big", doubled=ge(10))], "small")

    for name in ("big", "small"):

        @flow.step(name=name)
        def end(step: Step[Any]) -> None:
            step["size"] = step.node

    return flow


def parent(outputs: dict[str, str] | None = None, inner: Flow[Any] | None = None) -> Flow[Any]:
    flow: Flow[Any] = Flow("parent")

    @flow.step(to="work")
    def before(step: Step[Any]) -> None:
        step["a"], step["b"], step["private"] = step.input, 100, "mine"

    flow.sub(
        "work",
        inner or child(),
        input=lambda step: step["a"] + 1,
        outputs=outputs or {"doubled": "result", "size": "size"},
        to="after",
    )

    @flow.step
    def after(step: Step[Any]) -> None:
        step["told"] = f"{step['result']} is {step['size']}"

    return flow


async def test_a_sub_flow_s_steps_stand_in_the_same_journal_under_its_path() -> None:
    run = await parent().start(4)
    assert run["told"] == "10 is big"
    assert [step.id for step in run.journal] == [
        "input#0",
        "before#0",
        "work#0",
        "work#0/input#0",
        "work#0/double#0",
        "work#0/judge#0",
        "work#0/big#0",
        "after#0",
    ]


async def test_a_sub_flow_sees_only_its_input_and_gives_only_its_outputs() -> None:
    run = await parent({"doubled": "result", "size": "size"}).start(4)
    assert run.footprint.at("work#0/double#0") == {"input": 5}
    assert "doubled" not in run.footprint.state
    assert run.footprint.at("work#0/big#0") == {"input": 5, "doubled": 10}


async def test_why_crosses_the_boundary_in_both_directions() -> None:
    run = await parent().start(4)
    assert run.footprint.slice("told").ids() == [
        "after#0:told",
        "work#0:result",
        "work#0:size",
        "work#0/double#0:doubled",
        "work#0/big#0:size",
        "work#0/input#0:input",
        "before#0:a",
        "input#0:input",
    ]
    assert [step.id for step in run.footprint.slice("told").decisions] == ["work#0/judge#0"]
    why = run.footprint.why("told")
    assert "work#0/judge#0 chose big because big enough (doubled is 10, >= 10)" in why
    reached = run.footprint.impact(run.footprint.version("a")).ids()
    assert {"work#0/input#0:input", "work#0/double#0:doubled", "work#0:result", "after#0:told"} <= set(
        reached
    )
    assert "before#0:b" not in run.footprint.slice("told").ids()


async def test_an_output_does_not_rest_on_the_value_it_replaced() -> None:
    run = await parent({"doubled": "b", "size": "size"}).start(4, stop_after=5)
    assert run["b"] == 10
    assert "before#0:b" not in run.footprint.slice("b").ids()


async def test_a_decision_that_leads_to_a_sub_flow_leads_to_its_steps() -> None:
    flow: Flow[Any] = Flow("maybe")

    @flow.decide(to={"yes": "work", "no": "end"})
    def choose(step: Step[Any]) -> str:
        return "yes" if step["wanted"] else "no"

    flow.sub("work", child(), input=lambda step: 7, outputs={"size": "size"}, to="end")

    @flow.step
    def end(step: Step[Any]) -> None:
        step["end"] = step.get("size")

    run = await flow.start(state={"wanted": True})
    assert run.footprint.step("work#0/double#0").because is run.footprint.step("choose#0")
    assert "input#0:wanted" in run.footprint.slice("end").ids()


async def test_sub_flows_nest_and_run_again_in_a_loop() -> None:
    middle: Flow[Any] = Flow("middle")
    middle.sub("deep", child(), input=lambda step: step.input, outputs={"doubled": "out"})
    flow: Flow[Any] = Flow("loops")

    @flow.step(to="work")
    def start(step: Step[Any]) -> None:
        step["n"] = step.get("n", step.input)

    flow.sub("work", middle, input=lambda step: step["n"], outputs={"out": "n"}, to="again")

    @flow.decide(to={"more": "work", "enough": "end"})
    def again(step: Step[Any]) -> str:
        return "more" if step["n"] < 20 else "enough"

    @flow.step
    def end(step: Step[Any]) -> None:
        step["end"] = step["n"]

    run = await flow.start(3)
    assert run["end"] == 24
    assert "work#2/deep#0/double#0" in [step.id for step in run.journal]
    assert "work#0/deep#0/double#0:doubled" in run.footprint.slice("end").ids()
    assert told(loaded(run, flow)) == told(run)


async def test_a_missing_output_is_named_and_nothing_is_taken_over() -> None:
    flow = parent({"doubled": "result", "nothing": "size"})
    with pytest.raises(FlowInvalid, match=r"work#0.*ended without writing nothing") as caught:
        await flow.start(1)
    assert caught.value.footprint is not None
    assert "result" not in caught.value.footprint.state


async def test_a_failure_inside_is_named_by_its_whole_path() -> None:
    inner: Flow[Any] = Flow("inner")

    @inner.step
    def boom(step: Step[Any]) -> None:
        raise ValueError("inside")

    with pytest.raises(StepFailed, match="'work#0/boom#0' raised ValueError: inside"):
        await parent(inner=inner).start(1)


async def test_a_list_that_a_sub_flow_gave_is_not_taken_for_one_that_grew() -> None:
    """A branch that takes a whole list from a sub-flow, and one that appends: a conflict, by name."""
    inner: Flow[Any] = Flow("inner")

    @inner.step
    def make(step: Step[Any]) -> None:
        step.append("out", 7)
        step.append("out", 8)

    flow: Flow[Any] = Flow("lists", state=Lists)

    @flow.step(to="split")
    def before(step: Step[Any]) -> None:
        step.extend("log", [1, 2])

    @flow.fork(branches=["work", "other"])
    def split(step: Step[Any]) -> None: ...

    flow.sub("work", inner, input=lambda step: None, outputs={"out": "log"})

    @flow.step
    def other(step: Step[Any]) -> None:
        step.append("log", 3)

    # Which of the two a reader would keep cannot be guessed.
    with pytest.raises(JoinConflict, match="'log' was written by"):
        await flow.start()


async def test_a_sub_flow_s_labels_cross_its_boundary() -> None:
    inner: Flow[Any] = Flow("inner")

    @inner.step
    def make(step: Step[Any]) -> None:
        step["out"] = step.input + "!"

    flow: Flow[Any] = Flow("labels")

    @flow.step(to="work")
    def before(step: Step[Any]) -> None:
        step.set("secret", "sentinel", labels=frozenset({SECRET}))

    flow.sub("work", inner, input=lambda step: step["secret"], outputs={"out": "copy"})
    run = await flow.start()
    assert run.footprint.version("copy").labels == frozenset({SECRET})
    assert "sentinel" not in run.footprint.to_jsonl()


async def test_what_the_input_function_writes_stays_readable() -> None:
    flow: Flow[Any] = Flow("writes")

    def given(step: Step[Any]) -> int:
        step["asked"] = 3
        return int(step["asked"]) + 1

    flow.sub("work", child(), input=given, outputs={"doubled": "result"})
    run = await flow.start()
    assert (run["asked"], run["result"]) == (3, 8)
    assert told(loaded(run, flow)) == told(run)
    assert "work#0:asked" in run.footprint.slice("result").ids()


async def test_a_value_keeps_the_type_its_taker_declares() -> None:
    """The sub-flow declares nothing, so its file holds plain JSON; its parent knows better."""
    inner: Flow[Any] = Flow("inner")

    @inner.step
    def make(step: Step[Any]) -> None:
        step["out"] = Decimal("1.50")

    flow: Flow[Any] = Flow("types", state=Amounts)
    flow.sub("work", inner, input=lambda step: None, outputs={"out": "amount"}, to="ask")

    @flow.step
    async def ask(step: Step[Any]) -> None:
        step["ok"] = await step.ask("sure?")
        step["doubled"] = step["amount"] * 2

    paused = await flow.start()
    run = await flow.resume(stored(paused), answers=answers_to(paused))
    assert run["doubled"] == Decimal("3.00")
