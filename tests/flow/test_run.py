"""The walk itself: events, deadlines, cancellation, stops, and what is left of it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from tests.flow.support import loaded, stored, told

from agentfootprint.errors import DeadlineExceeded, FlowInvalid, StepFailed
from agentfootprint.flow import Flow, Footprint, Run, Seq, Step


def counting(rounds: int = 3, work: Any = None) -> Flow[Any]:
    flow: Flow[Any] = Flow("counting")

    async def count(step: Step[Any]) -> None:
        step["n"] = step.get("n", 0) + 1

    flow.step(to="again", name="work")(work or count)

    @flow.decide(to={"more": "work", "enough": "end"})
    def again(step: Step[Any]) -> str:
        return "more" if step["n"] < rounds else "enough"

    @flow.step
    def end(step: Step[Any]) -> None:
        step["end"] = step["n"]

    return flow


# ── emit, tell ──────────────────────────────────────────────────────────────────────────────────


async def test_what_a_step_emits_is_told_and_kept() -> None:
    heard = []

    async def work(step: Step[Any]) -> None:
        step["n"] = step.get("n", 0) + 1
        step.emit("progress", {"n": step["n"]})
        step.live("only now")

    def tell(what: str, step: Step[Any], detail: Any) -> None:
        if what in ("emit", "live"):
            heard.append((what, step.id, detail if what == "live" else (detail.name, detail.data)))

    run = await counting(2, work).start(tell=tell)
    assert heard == [
        ("emit", "work#0", ("progress", {"n": 1})),
        ("live", "work#0", "only now"),
        ("emit", "work#1", ("progress", {"n": 2})),
        ("live", "work#1", "only now"),
    ]
    [event] = run.footprint.step("work#1").events
    assert (event.name, event.data) == ("progress", {"n": 2})
    [event] = loaded(run).step("work#1").events
    assert (event.name, event.data) == ("progress", {"n": 2})
    assert "only now" not in run.footprint.to_jsonl()


async def test_who_listens_hears_every_step_open_and_close_in_order() -> None:
    heard = []
    run = await counting(1).start(tell=lambda what, step, detail: heard.append((what, step.id, step.status)))
    assert heard == [
        ("close", "input#0", "done"),
        ("open", "work#0", "running"),
        ("close", "work#0", "done"),
        ("open", "again#0", "running"),
        ("close", "again#0", "done"),
        ("open", "end#0", "running"),
        ("close", "end#0", "done"),
    ]
    assert run.status == "done"


async def test_calls_are_told_when_they_begin_and_when_they_end() -> None:
    heard = []

    async def work(step: Step[Any]) -> None:
        step["n"] = await step.call("effect", lambda: 9)

    def tell(what: str, step: Step[Any], detail: Any) -> None:
        if what in ("call", "called"):
            heard.append((what, detail.name, detail.end is not None))

    await counting(1, work).start(tell=tell)
    assert heard == [("call", "effect", False), ("called", "effect", True)]


# ── deadline ────────────────────────────────────────────────────────────────────────────────────


async def test_a_run_s_deadline_ends_the_effect_that_is_under_way() -> None:
    cleaned = []

    async def hangs() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned.append(1)

    async def work(step: Step[Any]) -> None:
        await step.call("hangs", hangs, timeout=60)

    with pytest.raises(DeadlineExceeded, match="work#0") as caught:
        await counting(1, work).start(timeout=0.02)
    assert cleaned == [1]
    assert caught.value.footprint is not None
    assert caught.value.footprint.status == "failed"


async def test_a_run_s_deadline_holds_before_every_step() -> None:
    def work(step: Step[Any]) -> None:
        step["n"] = 0  # a loop without an end

    with pytest.raises(DeadlineExceeded, match="before step"):
        await counting(1, work).start(timeout=0.02)


async def test_an_effect_s_own_timeout_is_not_taken_for_the_run_s() -> None:
    async def work(step: Step[Any]) -> None:
        try:
            await step.call("hangs", asyncio.sleep, 3600, timeout=0.01)
        except DeadlineExceeded:
            step["n"] = -1
        except TimeoutError:
            step["n"] = 5

    assert (await counting(1, work).start(timeout=60))["n"] == 5


async def test_a_deadline_that_is_not_reached_changes_nothing() -> None:
    assert told(await counting().start(timeout=60)) == told(await counting().start())


# ── cancellation ────────────────────────────────────────────────────────────────────────────────


async def cancelled_in(flow: Flow[Any], begun: asyncio.Event) -> Run:
    run = Run(flow)
    run.begin(None)
    task = asyncio.create_task(run.go())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.status == "cancelled"
    return run


async def test_cancellation_propagates_cleans_up_and_leaves_a_run_that_can_go_on() -> None:
    begun, cleaned, attempts = asyncio.Event(), [], 0

    async def work(step: Step[Any]) -> None:
        nonlocal attempts
        attempts += 1
        step["n"] = step.get("n", 0) + 1
        if attempts == 2:
            begun.set()
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0)
                cleaned.append(step.id)

    flow = counting(3, work)
    run = await cancelled_in(flow, begun)
    assert cleaned == ["work#1"]
    assert run["n"] == 1  # what the cancelled step wrote is taken back
    assert run.footprint.step("work#1").status == "cancelled"
    again = await flow.resume(stored(run))
    assert again["end"] == 3
    assert attempts == 4
    attempts = 10
    assert told(again) == told(await flow.start())


async def test_cancellation_reaches_every_branch_and_finished_ones_are_kept() -> None:
    begun = asyncio.Event()
    cleaned: list[int] = []
    finished: list[int] = []
    flow: Flow[Any] = Flow("branches")

    @flow.step(to="each")
    def fill(step: Step[Any]) -> None:
        step["items"] = Seq(range(4))

    @flow.map(over="items")
    async def each(step: Step[Any], item: int) -> None:
        if item == 0:
            finished.append(item)
        elif not begun.is_set() or item == 3:
            if item == 3 and not begun.is_set():
                begun.set()
            if len(cleaned) < 3:
                try:
                    await asyncio.sleep(3600)
                finally:
                    await asyncio.sleep(0)
                    cleaned.append(item)
        step.append("out", item)

    run = await cancelled_in(flow, begun)
    assert sorted(cleaned) == [1, 2, 3]
    again = await flow.resume(stored(run))
    assert list(again["out"]) == [0, 1, 2, 3]
    assert finished == [0]


async def test_a_step_that_refuses_to_be_cancelled_is_waited_for() -> None:
    begun = asyncio.Event()
    flow: Flow[Any] = Flow("stubborn")

    @flow.fork(branches=["a", "b"])
    def split(step: Step[Any]) -> None: ...

    for name in ("a", "b"):

        @flow.step(name=name)
        async def branch(step: Step[Any]) -> None:
            begun.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await asyncio.sleep(0.01)  # saves something
                step[step.node] = "saved"
                raise

    before = asyncio.all_tasks()
    run = await cancelled_in(flow, begun)
    assert all(step.end is not None for step in run.journal if step.path)
    assert asyncio.all_tasks() == before


# ── stopping ────────────────────────────────────────────────────────────────────────────────────


async def test_a_run_stops_after_so_many_steps_and_goes_on_from_there() -> None:
    run = await counting().start(stop_after=3)
    assert run.status == "stopped"
    assert [step.id for step in run.journal] == ["input#0", "work#0", "again#0", "work#1"]
    again = await counting().resume(stored(run))
    assert (again.status, again["end"]) == ("done", 3)
    assert told(again) == told(await counting().start())


async def test_stopping_after_the_last_step_is_the_end() -> None:
    assert (await counting(1).start(stop_after=3)).status == "done"


async def test_halt_stops_at_the_next_step_boundary_and_running_steps_finish() -> None:
    finished = []
    flow: Flow[Any] = Flow("halting")

    @flow.fork(branches=["b", "a"], to="after")
    def split(step: Step[Any]) -> None: ...

    @flow.step(to="after")
    async def a(step: Step[Any]) -> None:
        step.run.halt()

    @flow.step(to="more")
    async def b(step: Step[Any]) -> None:
        await asyncio.sleep(0)
        finished.append("b")

    @flow.step(to="after")
    async def more(step: Step[Any]) -> None:
        finished.append("more")

    @flow.step
    def after(step: Step[Any]) -> None:
        finished.append("after")

    run = await flow.start()
    assert (run.status, finished) == ("stopped", ["b"])
    again = await flow.resume(stored(run))
    assert (again.status, finished) == ("done", ["b", "more", "after"])


async def test_halt_is_not_forgotten_when_stop_after_is_still_far() -> None:
    async def work(step: Step[Any]) -> None:
        step["n"] = step.get("n", 0) + 1
        step.run.halt()

    run = await counting(3, work).start(stop_after=100)
    assert (run.status, run["n"]) == ("stopped", 1)


async def test_a_running_run_cannot_be_stored() -> None:
    async def work(step: Step[Any]) -> None:
        step["n"] = 1
        with pytest.raises(FlowInvalid, match="only while it stands still"):
            step.run.snapshot()

    assert (await counting(1, work).start()).status == "done"


# ── the rest ────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_run_holds_can_be_asked() -> None:
    run = await counting().start()
    assert (run["end"], run.get("end"), run.get("missing"), run.get("missing", 7)) == (3, 3, None, 7)
    with pytest.raises(KeyError, match="nothing has written 'missing'; there is: input, n, end"):
        run["missing"]


async def test_an_error_carries_what_happened_up_to_it() -> None:
    async def work(step: Step[Any]) -> None:
        step["n"] = step.get("n", 0) + 1
        if step["n"] == 2:
            raise RuntimeError("no more")

    with pytest.raises(StepFailed, match="step 'work#1' raised RuntimeError: no more") as caught:
        await counting(3, work).start()
    footprint = caught.value.footprint
    assert isinstance(footprint, Footprint)
    assert [step.id for step in footprint.steps] == ["input#0", "work#0", "again#0", "work#1"]
    assert footprint.status == "failed"


async def test_one_flow_serves_any_number_of_runs_at_once() -> None:
    async def work(step: Step[Any]) -> None:
        before = step.get("n", step.input)
        await asyncio.sleep(0)
        step["n"] = before + 1

    flow = counting(105, work)
    runs = await asyncio.gather(*(flow.start(number) for number in range(100, 104)))
    assert [run["end"] for run in runs] == [105] * 4
    assert [len(run.journal) for run in runs] == [12, 10, 8, 6]
    assert len({run.id for run in runs}) == 4


async def test_a_finished_run_is_freed_when_it_is_dropped_without_the_cyclic_collector() -> None:
    inner = counting(2)
    flow: Flow[Any] = Flow("everything")

    @flow.step(to="split")
    async def begin(step: Step[Any]) -> None:
        step["items"] = Seq(range(3))
        await step.call("effect", lambda: 1)

    @flow.fork(branches=["each", "deep", "ask"])
    def split(step: Step[Any]) -> None: ...

    @flow.map(over="items")
    async def each(step: Step[Any], item: int) -> None:
        await asyncio.sleep(0)
        step.append("out", item)

    flow.sub("deep", inner, input=lambda step: 0, outputs={"end": "end"})

    @flow.step
    async def ask(step: Step[Any]) -> None:
        step["answer"] = await step.ask("?")

    async def walk() -> tuple[weakref.ref[Run], weakref.ref[Footprint]]:
        run = await flow.start(answers={"split#0.ask/ask#0?0": 1})
        assert run.status == "done"
        footprint = run.footprint
        footprint.why("out")
        return weakref.ref(run), weakref.ref(footprint)

    gc.collect()
    gc.disable()
    try:
        run, footprint = await walk()
        assert run() is None
        assert footprint() is None
    finally:
        gc.enable()
