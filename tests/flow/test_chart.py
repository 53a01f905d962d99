"""Flows are checked before they run, and the errors say what to do."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest

from agentfootprint.errors import FlowInvalid
from agentfootprint.flow import Flow, Step
from agentfootprint.flow.chart import Chart


class State(TypedDict):
    items: tuple[int, ...]
    x: int


def nothing(step: Step[Any]) -> None: ...


def item(step: Step[Any], one: Any) -> None: ...


def flow_of(**steps: str | None) -> Flow[Any]:
    flow: Flow[Any] = Flow("checked", state=State)
    for name, to in steps.items():
        flow.step(to=to, name=name)(nothing)
    return flow


def checked(flow: Flow[Any]) -> Chart:
    return flow.chart


def test_a_flow_without_steps() -> None:
    with pytest.raises(FlowInvalid, match="'checked' has no steps"):
        checked(flow_of())


def test_a_missing_target_is_named_and_the_known_ones_are_listed() -> None:
    with pytest.raises(FlowInvalid, match="'a' leads to 'c', which is not there: a, b"):
        checked(flow_of(a="c", b=None))


def test_a_missing_branch_and_a_missing_choice_are_targets_too() -> None:
    flow = flow_of()
    flow.fork(branches=["a", "b"], name="split")(nothing)
    flow.step(name="a")(nothing)
    with pytest.raises(FlowInvalid, match="'split' leads to 'b'"):
        checked(flow)
    flow = flow_of()
    flow.decide(to={"yes": "a"}, name="choose")(lambda step: "yes")
    with pytest.raises(FlowInvalid, match="'choose' leads to 'a'"):
        checked(flow)


def test_a_step_that_nothing_leads_to() -> None:
    with pytest.raises(FlowInvalid, match="no way leads to b, c"):
        checked(flow_of(a=None, b="c", c=None))


def test_two_steps_of_one_name() -> None:
    flow = flow_of(a=None)
    with pytest.raises(FlowInvalid, match="two steps named 'a'"):
        flow.step(name="a")(nothing)


def test_a_loop_without_a_way_out() -> None:
    with pytest.raises(FlowInvalid, match="no way to the end"):
        checked(flow_of(a="b", b="a"))


def test_a_map_over_an_undeclared_key() -> None:
    flow = flow_of()
    flow.map(over="orders", name="each")(item)
    with pytest.raises(FlowInvalid, match="'each' goes over 'orders', which the state does not declare"):
        checked(flow)


def test_a_sub_flow_s_outputs_must_be_declared_on_both_sides() -> None:
    inner: Flow[Any] = Flow("inner", state=State)
    inner.step(name="a")(nothing)
    flow = flow_of()
    flow.sub("work", inner, input=lambda step: 1, outputs={"x": "y"})
    with pytest.raises(FlowInvalid, match="'work' gives y, which the state does not declare"):
        checked(flow)
    flow = flow_of()
    flow.sub("work", inner, input=lambda step: 1, outputs={"z": "x"})
    with pytest.raises(FlowInvalid, match="'work' does not declare z"):
        checked(flow)


def test_an_optional_branch_must_be_a_branch() -> None:
    flow = flow_of()
    flow.fork(branches=["a"], optional=["b"], name="split")(nothing)
    flow.step(name="a")(nothing)
    with pytest.raises(FlowInvalid, match=r"'split': optional \['b'\] are not its branches"):
        checked(flow)


def test_a_branch_named_twice() -> None:
    flow = flow_of()
    flow.fork(branches=["a", "a"], name="split")(nothing)
    flow.step(name="a")(nothing)
    with pytest.raises(FlowInvalid, match="'split' names a branch twice"):
        checked(flow)


def test_a_decision_without_targets() -> None:
    flow = flow_of()
    flow.decide(to={}, name="choose")(lambda step: "yes")
    with pytest.raises(FlowInvalid, match="'choose' leads nowhere"):
        checked(flow)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a#1", "[1]", "1a", "é", "a\n"])
def test_names_that_would_break_ids_are_refused(name: str) -> None:
    flow = flow_of()
    with pytest.raises(FlowInvalid, match="use letters, digits"):
        flow.step(name=name or " ")(nothing)
    with pytest.raises(FlowInvalid, match="use letters, digits"):
        Flow(name)


@pytest.mark.parametrize("name", ["input", "changed"])
def test_the_engine_s_own_names_are_refused(name: str) -> None:
    with pytest.raises(FlowInvalid, match=f"'{name}' is the name of a record that the engine makes"):
        flow_of().step(name=name)(nothing)


async def test_a_flow_that_has_run_does_not_change_any_more() -> None:
    flow = flow_of(a=None)
    await flow.start()
    with pytest.raises(FlowInvalid, match="comes too late"):
        flow.step(name="b")(nothing)


class Unknown(TypedDict):
    x: Missing  # type: ignore[name-defined]  # noqa: F821


def test_a_state_class_whose_types_cannot_be_found() -> None:
    flow: Flow[Any] = Flow("checked", state=Unknown)
    flow.step(name="a")(nothing)
    with pytest.raises(FlowInvalid, match=r"types of Unknown cannot be found.*Missing"):
        checked(flow)


def test_the_shape_of_a_flow_is_its_hash_not_its_functions() -> None:
    assert flow_of(a="b", b=None).chart.hash == flow_of(a="b", b=None).chart.hash
    assert flow_of(a="b", b=None).chart.hash != flow_of(a=None).chart.hash
    inner = [Flow[Any]("inner"), Flow[Any]("inner")]
    inner[0].step(name="one")(nothing)
    inner[1].step(name="two")(nothing)
    hashes = set()
    for child in inner:
        flow = flow_of()
        flow.sub("work", child, input=lambda step: 1, outputs={})
        hashes.add(flow.chart.hash)
    assert len(hashes) == 2


def test_a_flow_shows_itself() -> None:
    assert repr(flow_of(a="b", b=None)) == "<Flow checked: 2 steps>"
