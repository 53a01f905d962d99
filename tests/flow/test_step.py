"""What a step reads and writes, and what the record says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from tests.flow.support import loaded, told

from agentfootprint.errors import FlowInvalid, StepFailed
from agentfootprint.flow import Flow, Run, Seq, Step


async def run_of(*functions: Any, state: type | None = None, given: Any = None) -> Run:
    """A flow of these plain steps one after the other."""
    flow: Flow[Any] = Flow("line", state=state)
    names = [function.__name__ for function in functions]
    for function, following in zip(functions, [*names[1:], None], strict=True):
        flow.step(to=following)(function)
    return await flow.start(given)


async def test_a_write_makes_a_version_that_knows_its_step_and_what_it_replaced() -> None:
    def first(step: Step[Any]) -> None:
        step["x"] = 1

    def second(step: Step[Any]) -> None:
        step["x"] = 2

    run = await run_of(first, second)
    newest = run.footprint.version("x")
    assert (newest.value, newest.verb, run.footprint.id_of(newest)) == (2, "set", "second#0:x")
    assert newest.previous is not None
    assert (newest.previous.value, run.footprint.id_of(newest.previous)) == (1, "first#0:x")


async def test_a_read_is_recorded_as_the_version_that_was_seen() -> None:
    def first(step: Step[Any]) -> None:
        step["x"] = 1

    def second(step: Step[Any]) -> None:
        step["y"] = step["x"]
        step["x"] = 5

    def third(step: Step[Any]) -> None:
        step["z"] = step["x"]

    run = await run_of(first, second, third)
    assert [v.value for v in run.footprint.step("second#0").reads] == [1]
    assert [v.value for v in run.footprint.step("third#0").reads] == [5]
    assert run.footprint.slice("y").ids() == ["second#0:y", "first#0:x"]


async def test_a_value_rests_only_on_what_was_read_before_it_was_written() -> None:
    def first(step: Step[Any]) -> None:
        step["a"], step["b"] = 1, 2

    def second(step: Step[Any]) -> None:
        a = step["a"]
        step["early"] = a
        step["late"] = a + step["b"]

    run = await run_of(first, second)
    assert run.footprint.slice("early").ids() == ["second#0:early", "first#0:a"]
    assert run.footprint.slice("late").ids() == ["second#0:late", "first#0:a", "first#0:b"]


async def test_reading_the_same_version_twice_is_one_read() -> None:
    def first(step: Step[Any]) -> None:
        step["a"] = 1

    def second(step: Step[Any]) -> None:
        step["b"] = step["a"] + step["a"] + step.get("a") + ("a" in step)

    run = await run_of(first, second)
    assert run["b"] == 4
    assert len(run.footprint.step("second#0").reads) == 1


async def test_a_step_may_read_what_it_wrote_itself_and_the_record_reads_back() -> None:
    def only(step: Step[Any]) -> None:
        step["x"] = 1
        step["x"] = step["x"] + 1
        step["y"] = step["x"]

    run = await run_of(only)
    assert run.footprint.slice("y").ids() == ["only#0:y", "only#0:x", "only#0:x@1"]
    assert told(loaded(run)) == told(run)


async def test_a_key_nobody_wrote_is_no_read_and_reads_as_the_default() -> None:
    def only(step: Step[Any]) -> None:
        step["x"] = (step.get("nothing", 7), "nothing" in step)

    run = await run_of(only)
    assert run["x"] == (7, False)
    assert run.footprint.step("only#0").reads == ()


async def test_reading_what_nobody_wrote_names_the_step_the_key_and_what_there_is() -> None:
    def only(step: Step[Any]) -> None:
        step["x"] = step["nothing"]

    with pytest.raises(StepFailed, match=r"only#0.*'nothing'.*there is: input"):
        await run_of(only)


async def test_appends_grow_one_list_and_every_version_keeps_its_own_length() -> None:
    def first(step: Step[Any]) -> None:
        step.append("log", "a")
        step.extend("log", ["b", "c"])

    def second(step: Step[Any]) -> None:
        step.append("log", "d")

    run = await run_of(first, second)
    assert list(run["log"]) == ["a", "b", "c", "d"]
    written = [v for s in run.footprint.who_wrote("log") for v in s.writes]
    assert [list(v.value) for v in written] == [["a"], ["a", "b", "c"], ["a", "b", "c", "d"]]
    assert [v.verb for v in written] == ["append"] * 3


async def test_appending_to_something_else_than_a_seq_is_refused_with_the_way_out() -> None:
    def only(step: Step[Any]) -> None:
        step["log"] = ["a"]
        step.append("log", "b")

    with pytest.raises(FlowInvalid, match=r"only#0.*'log'.*holds list.*Seq"):
        await run_of(only)


async def test_a_failed_step_takes_back_what_it_wrote() -> None:
    def first(step: Step[Any]) -> None:
        step["x"] = 1

    def second(step: Step[Any]) -> None:
        step["x"] = 2
        step["y"] = step["x"]
        step.append("log", 1)
        raise ValueError("no")

    with pytest.raises(StepFailed, match=r"second#0.*ValueError: no") as caught:
        await run_of(first, second)
    assert isinstance(caught.value.__cause__, ValueError)
    footprint = caught.value.footprint
    assert footprint is not None
    assert footprint.state == {"input": None, "x": 1}
    failed = footprint.step("second#0")
    assert (failed.status, failed.error, list(failed.writes)) == ("failed", ("ValueError", "no"), [])


async def test_what_a_failed_step_left_reads_back() -> None:
    def only(step: Step[Any]) -> None:
        step["x"] = 2
        step["y"] = step["x"] + step["input"]
        raise ValueError("no")

    with pytest.raises(StepFailed) as caught:
        await run_of(only, given=1)
    assert caught.value.footprint is not None
    lines = caught.value.footprint.to_jsonl().splitlines()
    again = type(caught.value.footprint).from_lines(lines)
    assert (again.status, again.step("only#0").status) == ("failed", "failed")


async def test_a_step_that_returns_something_is_refused() -> None:
    def only(step: Step[Any]) -> Any:
        return {"x": 1}

    with pytest.raises(FlowInvalid, match=r"only#0.*returned dict.*step\[key\] = value"):
        await run_of(only)


async def test_a_step_that_has_ended_cannot_be_used_any_more() -> None:
    kept: list[Step[Any]] = []

    def only(step: Step[Any]) -> None:
        step["x"] = 1
        kept.append(step)

    await run_of(only)
    for use in (
        lambda: kept[0]["x"],
        lambda: kept[0].set("x", 2),
        lambda: kept[0].append("log", 1),
        lambda: kept[0].emit("late"),
        lambda: kept[0].now(),
        lambda: kept[0].ask_now("late?"),
    ):
        with pytest.raises(FlowInvalid, match="'only#0' has ended"):
            use()


class Typed(TypedDict):
    input: int
    x: int
    log: Seq[str]


async def test_an_undeclared_key_is_refused_and_the_declared_ones_are_listed() -> None:
    def only(step: Step[Any]) -> None:
        step["y"] = 1

    with pytest.raises(FlowInvalid, match=r"only#0.*'y'.*does not declare: input, x, log"):
        await run_of(only, state=Typed)


@dataclass
class Attributes:
    input: int
    x: int
    y: int = 0


async def test_state_is_read_and_written_by_attribute_and_tracked() -> None:
    flow = Flow("attributes", state=Attributes)

    @flow.step(to="second")
    def first(step: Step[Attributes]) -> None:
        step.state.x = step.input + 1

    @flow.step
    def second(step: Step[Attributes]) -> None:
        step.state.y = step.state.x * 2

    run = await flow.start(1)
    assert run["y"] == 4
    assert run.footprint.slice("y").ids() == ["second#0:y", "first#0:x", "input#0:input"]


async def test_an_attribute_nobody_wrote_is_an_attribute_error() -> None:
    flow = Flow("attributes", state=Attributes)

    @flow.step
    def only(step: Step[Attributes]) -> None:
        assert not hasattr(step.state, "y")
        step.state.x = step.state.y

    with pytest.raises(StepFailed, match=r"AttributeError.*'y'"):
        await flow.start(1)


async def test_initial_state_and_input_are_the_first_record() -> None:
    flow: Flow[Any] = Flow("given")

    @flow.step
    def only(step: Step[Any]) -> None:
        step["sum"] = step.input + step["extra"]

    run = await flow.start(1, state={"extra": 2})
    assert run["sum"] == 3
    assert [step.id for step in run.journal] == ["input#0", "only#0"]
    assert set(run.footprint.slice("sum").ids()) == {"only#0:sum", "input#0:input", "input#0:extra"}


async def test_steps_may_be_async_or_callable_objects() -> None:
    class Work:
        async def __call__(self, step: Step[Any]) -> None:
            step["x"] = step.input * 2

    flow: Flow[Any] = Flow("objects")
    flow.step(name="work")(Work())
    assert (await flow.start(21))["x"] == 42


async def test_what_a_caller_hands_to_the_run_reaches_steps_and_no_record() -> None:
    flow: Flow[Any] = Flow("deps")

    @flow.step
    def only(step: Step[Any]) -> None:
        step["length"] = len(step.deps)

    run = await flow.start(deps="handed over")
    assert run["length"] == 11
    assert "handed over" not in run.footprint.to_jsonl(redact=False)
