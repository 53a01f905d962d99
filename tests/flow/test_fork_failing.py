"""Forks whose branches or joins fail."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest
from tests.flow.forking import forking, writes
from tests.flow.support import broken, loaded, stored, told

from agentfootprint.errors import StepFailed
from agentfootprint.flow import Flow, Reduce, Step


async def raises(step: Step[Any]) -> None:
    step["x"] = 1
    raise ValueError("broken")


async def test_a_failed_branch_fails_the_join_and_its_siblings_are_cancelled_and_cleaned_up() -> None:
    cleaned = []

    async def waits(step: Step[Any]) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            cleaned.append(step.id)

    with pytest.raises(StepFailed, match=r"split#0.b/b#0.*broken") as caught:
        await forking({"a": waits, "b": raises, "c": waits}).start()
    assert cleaned == ["split#0.a/a#0", "split#0.c/c#0"]
    footprint = caught.value.footprint
    assert footprint is not None
    assert {step.id: step.status for step in footprint.steps} == {
        "input#0": "done",
        "before#0": "done",
        "split#0": "failed",
        "split#0.a/a#0": "cancelled",
        "split#0.b/b#0": "failed",
        "split#0.c/c#0": "cancelled",
    }


async def test_a_failed_branch_that_is_optional_leaves_the_others_and_writes_nothing() -> None:
    flow = forking({"a": raises, "b": writes("base", 2, slow=3)}, optional=["a"])
    run = await flow.start()
    assert (run.status, run.get("x"), run["base"]) == ("done", None, 2)
    assert run.footprint.step("split#0.a/a#0").error == ("ValueError", "broken")
    assert "ValueError: broken" in run.footprint.narrative()
    assert told(loaded(run, flow)) == told(run)


async def test_an_optional_branch_does_not_join_what_it_wrote_before_it_failed() -> None:
    flow: Flow[Any] = Flow("optional")

    @flow.fork(branches=["first", "other"], optional=["first"], to="after")
    def split(step: Step[Any]) -> None: ...

    flow.step(to="second", name="first")(writes("early", 1))
    flow.step(to="after", name="second")(raises)
    flow.step(to="after", name="other")(writes("base", 2))

    @flow.step
    def after(step: Step[Any]) -> None:
        step["saw"] = sorted(key for key in ("early", "x", "base") if key in step)

    assert (await flow.start())["saw"] == ["base"]


down: list[bool] = []


def picky(left: int, right: int) -> int:
    if down:
        down.clear()
        raise ValueError("not now")
    return left + right


class Two(TypedDict):
    total: Annotated[int, Reduce(operator.add)]
    picky: Annotated[int, Reduce(picky)]


async def test_a_join_that_fails_half_way_has_joined_nothing_and_can_be_tried_again() -> None:
    def build() -> Flow[Any]:
        flow: Flow[Any] = Flow("two", state=Two)

        @flow.fork(branches=["a", "b"])
        def split(step: Step[Any]) -> None: ...

        for name in ("a", "b"):

            @flow.step(name=name)
            def branch(step: Step[Any]) -> None:
                step["total"] = 1
                step["picky"] = 1

        return flow

    down.append(True)
    failed, error = await broken(build())
    assert "not now" in str(error)
    again = await build().resume(stored(failed))
    unbroken = await build().start()
    assert (again["total"], again["picky"]) == (2, 2)
    assert told(again) == told(unbroken)
