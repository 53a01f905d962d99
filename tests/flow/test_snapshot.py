"""A run that stands still, stored and gone on with."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flow.support import SETTINGS, answers_to, stored, told

from agentfootprint.errors import (
    AnswerRequired,
    CheckpointMismatch,
    CheckpointTampered,
    CheckpointVersion,
    ResumeRefused,
)
from agentfootprint.flow import Flow, Seq, Step


class State(TypedDict):
    input: Any
    n: int
    log: Seq[str]
    items: tuple[int, ...]


def walk(*, extra: bool = False) -> Flow[Any]:
    """A loop with a map in it, whose odd items ask."""
    flow: Flow[Any] = Flow("walk", state=State)

    @flow.step(to="each")
    def fill(step: Step[Any]) -> None:
        step["n"] = step.get("n", 0) + 1
        step["items"] = tuple(range(step["n"] + 1))

    @flow.map(over="items", to="again")
    async def each(step: Step[Any], item: int) -> None:
        step.append("log", await step.ask(f"{item}?") if item % 2 else str(item))

    @flow.decide(to={"more": "fill", "enough": "end"})
    def again(step: Step[Any]) -> str:
        return "more" if step["n"] < 3 else "enough"

    @flow.step(to="last" if extra else None)
    def end(step: Step[Any]) -> None:
        step["n"] = -1

    if extra:

        @flow.step
        def last(step: Step[Any]) -> None: ...

    return flow


async def paused() -> dict[str, Any]:
    return stored(await walk().start("given"))


async def test_a_snapshot_is_json_and_taking_it_changes_nothing() -> None:
    run = await walk().start("given")
    assert run.snapshot() == run.snapshot() == stored(run)
    assert run.status == "paused"


async def test_it_may_be_gone_on_with_any_number_of_times() -> None:
    snapshot = await paused()
    runs = []
    for _ in range(2):
        run = await walk().resume(snapshot, answers={"each#0[1]?0": "one"})
        runs.append(told(run))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("schema", [0, 2, None, "1"])
async def test_another_schema_is_refused(schema: Any) -> None:
    with pytest.raises(CheckpointVersion, match=r"schema .*this version reads 1"):
        await walk().resume({**await paused(), "schema": schema})


async def test_another_flow_or_another_shape_of_it_is_refused() -> None:
    with pytest.raises(CheckpointMismatch, match=r"'walk' in another shape"):
        await walk(extra=True).resume(await paused())
    other: Flow[Any] = Flow("other")

    @other.step
    def only(step: Step[Any]) -> None: ...

    with pytest.raises(CheckpointMismatch):
        await other.resume(await paused())


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("frame"),
        lambda data: data.pop("journal"),
        lambda data: data.__setitem__("journal", data["journal"][1:]),
        lambda data: data["frame"].__setitem__("pc", "nowhere"),
        lambda data: data["frame"].__setitem__("state", {"n": "nobody#0:n"}),
        lambda data: data["frame"].__setitem__("open", "nobody#0"),
        lambda data: data["frame"]["children"][0].__setitem__("control", [["nobody#0", None]]),
        lambda data: data["journal"][1]["writes"][0].__setitem__("value", ["not a number"]),
        lambda data: data["journal"][1]["writes"][0].__setitem__("value", {"blob": "0" * 32}),
        lambda data: data.__setitem__("started", "yesterday"),
    ],
)
async def test_edited_data_is_refused_before_anything_runs(change: Any) -> None:
    data = copy.deepcopy(await paused())
    change(data)
    with pytest.raises(CheckpointTampered):
        await walk().resume(data, answers={"each#0[1]?0": "one"})


async def test_a_refusal_uses_nothing_up() -> None:
    snapshot = await paused()
    with pytest.raises(AnswerRequired):
        await walk().resume(snapshot)
    run = await walk().resume(snapshot, answers={"each#0[1]?0": "one"})
    assert list(run["log"])[:2] == ["0", "one"]


@settings(SETTINGS, max_examples=60)
@given(data=st.data())
def test_garbage_in_a_stored_run_is_refused_as_such(data: st.DataObject) -> None:
    """Whatever stands there: either it is refused by an error of ours, or it is a run."""
    snapshot = asyncio.run(paused())
    frame = data.draw(st.sampled_from([snapshot["frame"], *snapshot["frame"]["children"]]))
    key = data.draw(st.sampled_from(sorted(frame)))
    frame[key] = data.draw(
        st.none() | st.integers() | st.text(max_size=3) | st.just([[]]) | st.just({"a": {}})
    )
    try:
        from agentfootprint.flow.snapshot import restore

        restore(walk(), snapshot, answers={"each#0[1]?0": "one"})
    except ResumeRefused:
        pass


async def test_the_answers_of_an_earlier_pause_are_not_asked_for_again() -> None:
    run = await walk().start("given")
    seen: list[str] = []
    while run.status == "paused":
        ids = [record.ask.id for record in run.asks]
        assert not set(ids) & set(seen)
        seen += ids
        run = await walk().resume(stored(run), answers=answers_to(run, "x"))
    assert seen == ["each#0[1]?0", "each#1[1]?0", "each#2[1]?0", "each#2[3]?0"]


async def test_what_is_stored_of_a_loop_s_decisions_does_not_grow_with_its_rounds() -> None:
    flow: Flow[Any] = Flow("long")

    @flow.step(to="again")
    def work(step: Step[Any]) -> None:
        step["n"] = step.get("n", 0) + 1

    @flow.decide(to={"more": "work", "enough": "end"})
    def again(step: Step[Any]) -> str:
        return "more" if step["n"] < 100 else "enough"

    @flow.step
    def end(step: Step[Any]) -> None: ...

    frame = stored(await flow.start(stop_after=151))["frame"]
    assert frame["control"] == [["again#74", "end"]]
