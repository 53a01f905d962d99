"""Maps: one step per item, side by side, joined in the items' order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.flow.support import loaded, told

from agentfootprint.errors import FlowInvalid, JoinConflict, StepFailed
from agentfootprint.flow import SECRET, Flow, Seq, Step


def mapping(items: Any, work: Any, *, limit: int | None = None) -> Flow[Any]:
    flow: Flow[Any] = Flow("mapping")

    @flow.step(to="each")
    def fill(step: Step[Any]) -> None:
        step["items"] = items

    flow.map(over="items", to="finish", limit=limit, name="each")(work)

    @flow.step
    def finish(step: Step[Any]) -> None:
        step["count"] = len(step.get("out", ()))

    return flow


async def test_every_item_is_a_step_of_its_own() -> None:
    async def work(step: Step[Any], item: int) -> None:
        step.append("out", item * 10)

    run = await mapping(Seq([1, 2, 3]), work).start()
    assert list(run["out"]) == [10, 20, 30]
    assert [step.id for step in run.journal if step.node == "each"] == [
        "each#0",
        "each#0[0]",
        "each#0[1]",
        "each#0[2]",
    ]
    assert run["count"] == 3


async def test_results_stand_in_the_order_of_the_items_whatever_finishes_first() -> None:
    ended = []

    async def work(step: Step[Any], item: int) -> None:
        for _ in range(item):
            await asyncio.sleep(0)
        step.append("out", item)
        ended.append(item)

    run = await mapping(Seq([9, 1, 5]), work).start()
    assert ended == [1, 5, 9]
    assert list(run["out"]) == [9, 1, 5]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_never_more_items_than_the_limit_are_under_way(limit: int) -> None:
    under_way, most = 0, 0

    async def work(step: Step[Any], item: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(3):
            await asyncio.sleep(0)
        under_way -= 1
        step.append("out", item)

    run = await mapping(Seq(range(7)), work, limit=limit).start()
    assert most == limit
    assert list(run["out"]) == list(range(7))


async def test_without_a_limit_all_items_run_at_once() -> None:
    everybody = asyncio.Barrier(20)

    async def work(step: Step[Any], item: int) -> None:
        async with asyncio.timeout(10):
            await everybody.wait()
        step.append("out", item)

    assert (await mapping(Seq(range(20)), work).start())["count"] == 20


@pytest.mark.parametrize("none", [(), Seq()])
async def test_no_items_are_no_steps(none: Any) -> None:
    async def work(step: Step[Any], item: int) -> None:
        raise AssertionError("there is nothing to work on")

    run = await mapping(none, work).start()
    assert run["count"] == 0
    assert run.status == "done"
    assert told(loaded(run)) == told(run)


async def test_the_function_of_a_map_may_be_plain() -> None:
    def work(step: Step[Any], item: int) -> None:
        step.append("out", item + 1)

    assert list((await mapping(Seq([1, 2]), work).start())["out"]) == [2, 3]


async def test_an_item_is_read_from_the_list_it_stands_in() -> None:
    def work(step: Step[Any], item: int) -> None:
        step.append("out", item)

    run = await mapping(Seq([1, 2]), work).start()
    assert "fill#0:items" in run.footprint.slice("out", 1).ids()
    assert [version.key for version in run.footprint.step("each#0[1]").reads] == ["items"]


async def test_what_is_made_of_a_secret_list_is_secret() -> None:
    flow: Flow[Any] = Flow("secrets")

    @flow.step(to="each")
    def fill(step: Step[Any]) -> None:
        step.set("items", Seq([4711, 4712]), labels=frozenset({SECRET}))

    @flow.map(over="items")
    def each(step: Step[Any], item: int) -> None:
        step.append("out", item + 1000000)

    run = await flow.start()
    assert run.footprint.version("out").labels == frozenset({SECRET})
    assert "100471" not in run.footprint.to_jsonl()


async def test_an_item_function_that_returns_something_is_refused() -> None:
    def work(step: Step[Any], item: int) -> int:
        return item

    with pytest.raises(FlowInvalid, match=r"each#0\[0\].*returned int"):
        await mapping(Seq([1]), work).start()


async def test_items_that_set_one_key_without_a_reducer_conflict_and_are_both_named() -> None:
    def work(step: Step[Any], item: int) -> None:
        step["last"] = item

    with pytest.raises(JoinConflict, match=r"'last' was written by 'each#0\[0\]' and 'each#0\[1\]'"):
        await mapping(Seq([1, 2]), work).start()


async def test_a_failed_item_fails_the_map_and_the_others_are_cancelled() -> None:
    cancelled = []

    async def work(step: Step[Any], item: int) -> None:
        if item == 1:
            raise ValueError("no")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    with pytest.raises(StepFailed, match=r"each#0\[1\].*ValueError: no") as caught:
        await mapping(Seq([0, 1, 2]), work).start()
    assert cancelled == [0, 2]
    assert caught.value.footprint is not None
    status = {step.id: step.status for step in caught.value.footprint.steps}
    assert status["each#0[0]"] == "cancelled"
    assert status["each#0[1]"] == "failed"


async def test_a_map_inside_a_loop_opens_its_items_anew_every_time() -> None:
    flow: Flow[Any] = Flow("rounds")

    @flow.step(to="each")
    def fill(step: Step[Any]) -> None:
        step["round"] = step.get("round", 0) + 1
        step["items"] = tuple(range(step["round"]))

    @flow.map(over="items", to="again")
    async def each(step: Step[Any], item: int) -> None:
        step.append("out", (step["round"], item))

    @flow.decide(to={"more": "fill", "enough": "finish"})
    def again(step: Step[Any]) -> str:
        return "more" if step["round"] < 3 else "enough"

    @flow.step
    def finish(step: Step[Any]) -> None:
        step["done"] = True

    run = await flow.start()
    assert list(run["out"]) == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    assert run.footprint.step("each#2[2]").status == "done"


async def test_a_map_over_something_nobody_wrote_fails_by_name() -> None:
    flow: Flow[Any] = Flow("empty")

    @flow.map(over="missing")
    async def each(step: Step[Any], item: int) -> None:
        step["x"] = item

    with pytest.raises(StepFailed, match=r"each#0.*'missing'"):
        await flow.start()


def test_a_limit_below_one_is_refused() -> None:
    flow: Flow[Any] = Flow("bad")
    with pytest.raises(FlowInvalid, match="limit must be at least 1"):

        @flow.map(over="items", limit=0)
        async def each(step: Step[Any], item: int) -> None: ...
