"""Running a record again, as it was or with something changed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, TypedDict

import pytest
from tests.flow.support import answers_to, broken, loaded, stored, told

from agentfootprint.errors import (
    InputInvalid,
    RecordedFailure,
    ReplayDiverged,
    ReplayRefused,
    StepFailed,
)
from agentfootprint.flow import Decision, Flow, Footprint, Run, Seq, Step, decide, ge, rule


class World:
    """The outside: counts how often it is touched."""

    def __init__(self) -> None:
        self.touched: list[Any] = []

    async def fetch(self, what: Any) -> Any:
        self.touched.append(what)
        await asyncio.sleep(0)
        return f"<{what}>"


class State(TypedDict):
    input: str
    amount: int
    items: tuple[str, ...]
    fetched: Seq[str]
    approved: bool
    end: str


def shop(world: World) -> Flow[Any]:
    flow: Flow[Any] = Flow("shop", state=State)

    @flow.step(to="each")
    async def order(step: Step[Any]) -> None:
        step["amount"] = len(await step.call("price", world.fetch, step.input))
        step["items"] = ("a", "b", "c")

    @flow.map(over="items", to="judge")
    async def each(step: Step[Any], item: str) -> None:
        step.append("fetched", await step.call("item", world.fetch, item))

    @flow.decide(to=["ask", "end"])
    def judge(step: Step[Any]) -> Decision:
        return decide(step, [rule("much", "ask", amount=ge(5))], "end")

    @flow.step(to="end")
    async def ask(step: Step[Any]) -> None:
        step["approved"] = await step.ask(f"pay {step['amount']}?")

    @flow.step
    async def end(step: Step[Any]) -> None:
        step.emit("paying", step["amount"])
        step["end"] = await step.call("pay", world.fetch, step["amount"])

    return flow


async def recorded(given: str = "long order") -> tuple[Run, World]:
    world = World()
    return await shop(world).start(given, answers={"ask#0?0": True}), world


# ── replay ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_replay_tells_the_same_and_touches_nothing() -> None:
    run, _ = await recorded()
    untouched = World()
    again = await run.footprint.replay(shop(untouched))
    assert untouched.touched == []
    assert told(again) == told(run)
    assert again.status == "done"


async def test_a_file_replays_in_another_process_s_eyes(tmp_path: Path) -> None:
    run, _ = await recorded()
    run.footprint.save(tmp_path / "run.footprint.jsonl", redact=False)
    untouched = World()
    flow = shop(untouched)
    again = await Footprint.load(tmp_path / "run.footprint.jsonl", flow).replay(flow)
    assert (again["end"], untouched.touched) == ("<12>", [])
    assert told(again) == told(run)


async def test_a_footprint_from_a_file_needs_the_code() -> None:
    run, _ = await recorded()
    with pytest.raises(ReplayRefused, match="pass the flow"):
        await loaded(run).replay()


async def test_another_flow_is_refused() -> None:
    run, _ = await recorded()
    other: Flow[Any] = Flow("shop")

    @other.step
    def only(step: Step[Any]) -> None: ...

    with pytest.raises(ReplayRefused, match="in another shape"):
        await run.footprint.replay(other)


async def test_a_paused_record_replays_up_to_its_question() -> None:
    world = World()
    paused = await shop(world).start("long order")
    assert paused.status == "paused"
    untouched = World()
    again = await paused.footprint.replay(shop(untouched))
    assert (again.status, untouched.touched) == ("paused", [])
    assert told(again) == told(paused)
    # The one that was gone on with replays as one run.
    run = await shop(world).resume(stored(paused), answers=answers_to(paused))
    assert told(await run.footprint.replay(shop(untouched))) == told(run)


@pytest.mark.parametrize("steps", range(1, 8))
async def test_a_stopped_record_replays_up_to_where_it_stopped(steps: int) -> None:
    stopped = await shop(World()).start("long order", stop_after=steps, answers={"ask#0?0": True})
    assert stopped.status == "stopped"
    untouched = World()
    again = await stopped.footprint.replay(shop(untouched))
    assert (again.status, untouched.touched) == ("stopped", [])
    assert told(again) == told(stopped)


@pytest.mark.parametrize("hangs_at", ["long order", "b", 12])
async def test_a_cancelled_record_replays_up_to_where_it_was_cancelled(hangs_at: Any) -> None:
    class Hanging(World):
        def __init__(self) -> None:
            super().__init__()
            self.reached = asyncio.Event()

        async def fetch(self, what: Any) -> Any:
            if what == hangs_at:
                for _ in range(3):  # Whatever runs beside it comes to its end.
                    await asyncio.sleep(0)
                self.reached.set()
                await asyncio.Event().wait()
            return await super().fetch(what)

    world = Hanging()
    cancelled = Run(shop(world), answers={"ask#0?0": True})
    cancelled.begin("long order")
    running = asyncio.ensure_future(cancelled.go())
    await world.reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    untouched = World()
    again = await loaded(cancelled, shop(untouched)).replay()
    assert (again.status, untouched.touched) == ("stopped", [])
    done = [step.id for step in cancelled.journal if step.status == "done"]
    assert [step.id for step in again.journal if step.status == "done"] == done


async def test_a_failed_effect_fails_again_without_being_touched() -> None:
    touched = []

    def boom() -> None:
        touched.append(1)
        raise ConnectionError("down")

    flow: Flow[Any] = Flow("failing")

    @flow.step
    async def only(step: Step[Any]) -> None:
        await step.call("boom", boom)

    with pytest.raises(StepFailed) as caught:
        await flow.start()
    assert caught.value.footprint is not None
    with pytest.raises(RecordedFailure, match="'boom' failed when it was recorded: ConnectionError: down"):
        await caught.value.footprint.replay()
    assert touched == [1]


async def test_a_run_that_was_gone_on_with_after_a_failure_replays() -> None:
    down = [True]

    def effect() -> int:
        if down:
            raise ConnectionError("down")
        return 5

    flow: Flow[Any] = Flow("failing")

    @flow.step
    async def only(step: Step[Any]) -> None:
        step["x"] = await step.call("effect", effect)

    failed, _ = await broken(flow)
    snapshot = stored(failed)
    down.clear()
    run = await flow.resume(snapshot)
    down.append(True)
    assert (await run.footprint.replay())["x"] == 5


def changing(answers: Any) -> Flow[Any]:
    """A flow whose one step does what the next item says: not what a step may do."""
    flow: Flow[Any] = Flow("changing")

    @flow.step(to="second")
    def first(step: Step[Any]) -> None:
        step["x"] = 1

    @flow.step(to="choose")
    async def second(step: Step[Any]) -> None:
        await next(answers)(step)

    @flow.decide(to=["left", "right"])
    def choose(step: Step[Any]) -> str:
        return "right" if step.get("y") == 3 else "left"

    for name in ("left", "right"):

        @flow.step(name=name)
        def end(step: Step[Any]) -> None: ...

    return flow


async def effect(step: Step[Any], argument: int = 1) -> None:
    await step.call("effect", lambda n: n, argument)


async def writes(step: Step[Any], value: int = 2) -> None:
    step["y"] = value


async def emits(step: Step[Any], value: int = 2) -> None:
    step.emit("event", value)


async def reads(step: Step[Any]) -> None:
    step["y"] = step["x"] + 1


async def fails(step: Step[Any]) -> None:
    raise ValueError("only now")


@pytest.mark.parametrize(
    ("before", "after", "error", "says"),
    [
        (effect, lambda s: effect(s, 2), ReplayDiverged, "second#0.*'effect' with other arguments"),
        (writes, effect, ReplayRefused, "second#0.*'effect', which the record does not answer"),
        (effect, writes, ReplayDiverged, "second#0.*its writes differ"),
        (writes, lambda s: writes(s, 7), ReplayDiverged, "second#0.*its writes differ"),
        (writes, reads, ReplayDiverged, "second#0.*its reads differ"),
        (emits, lambda s: emits(s, 3), ReplayDiverged, "second#0.*its events differ"),
        (
            lambda s: s.ask("a?"),
            writes,
            ReplayDiverged,
            "second#0.*its questions differ|second#0.*its writes differ",
        ),
        (writes, lambda s: writes(s, 3), ReplayDiverged, "second#0"),
        (writes, fails, StepFailed, "second#0.*only now"),
    ],
)
async def test_a_step_that_does_something_else_is_named(
    before: Any, after: Any, error: Any, says: str
) -> None:
    run = await changing(iter([before])).start(answers={"second#0?0": True})
    with pytest.raises(error, match=says):
        await run.footprint.replay(changing(iter([after])))


async def test_a_decision_that_differs_is_named() -> None:
    run = await changing(iter([writes])).start()
    choose = run.footprint.step("choose#0")
    choose.decision = Decision("right", "edited afterwards")
    with pytest.raises(ReplayDiverged, match=r"choose#0.*its decision differ"):
        await run.footprint.replay(changing(iter([writes])))


async def test_a_cut_record_is_refused_when_its_input_is_missing() -> None:
    run, _ = await recorded()
    lines = run.footprint.to_jsonl(redact=False).splitlines()[:1]
    with pytest.raises(ReplayRefused, match="was cut"):
        await Footprint.from_lines(lines).replay(shop(World()))


async def test_a_record_cut_in_the_middle_replays_as_far_as_it_goes() -> None:
    run, _ = await recorded()
    lines = run.footprint.to_jsonl(redact=False).splitlines()
    untouched = World()
    for length in range(2, len(lines)):
        flow = shop(untouched)
        again = await Footprint.from_lines(lines[:length], flow).replay(flow)
        assert untouched.touched == []
        assert again.status in ("stopped", "done")


# ── fork from a step ────────────────────────────────────────────────────────────────────────────


async def test_a_fork_changes_state_at_a_step_and_names_the_change_in_the_evidence() -> None:
    run, _ = await recorded()
    world = World()
    forked = await run.footprint.fork(shop(world), at="judge#0", set={"amount": 3}, effects="live")
    assert forked["end"] == "<3>"
    assert world.touched == [3]  # everything before the change came from the record
    assert "ask#0" not in [step.id for step in forked.journal]
    assert "changed#0:amount" in forked.footprint.slice("end").ids()
    assert run["amount"] == 12  # the record is as it was


async def test_effects_that_the_record_answers_stay_answered_after_the_change() -> None:
    run, _ = await recorded()
    world = World()
    forked = await run.footprint.fork(
        shop(world), at="each#0", set={"items": ("new", "b", "c")}, effects="live"
    )
    assert list(forked["fetched"]) == ["<new>", "<b>", "<c>"]
    assert world.touched == ["new"]


async def test_a_call_moved_by_the_change_is_still_found_in_the_record() -> None:
    world = World()

    def build() -> Flow[Any]:
        flow: Flow[Any] = Flow("calls")

        @flow.step(to="work")
        def fill(step: Step[Any]) -> None:
            step["items"] = ["a", "b", "c"]

        @flow.step
        async def work(step: Step[Any]) -> None:
            step["out"] = [await step.call("item", world.fetch, item) for item in step["items"]]

        return flow

    run = await build().start()
    world.touched.clear()
    forked = await run.footprint.fork(build(), at="work#0", set={"items": ["x", "b", "c"]}, effects="live")
    assert forked["out"] == ["<x>", "<b>", "<c>"]
    assert world.touched == ["x"]


async def test_effects_that_the_record_does_not_answer_are_refused_unless_let_out() -> None:
    run, _ = await recorded()
    untouched = World()
    with pytest.raises(ReplayRefused, match=r"end#0.*'pay'.*effects='live'"):
        await run.footprint.fork(shop(untouched), at="judge#0", set={"amount": 3})
    assert untouched.touched == []


async def test_an_unchanged_question_keeps_its_answer() -> None:
    run, _ = await recorded()
    forked = await run.footprint.fork(shop(World()), at="each#0", set={"items": ("a",)})
    assert (forked["approved"], forked.status) == (True, "done")


async def test_an_answer_is_not_used_for_another_question() -> None:
    """Whoever approved 12 did not approve 99999."""
    run, _ = await recorded()
    forked = await run.footprint.fork(shop(World()), at="ask#0", set={"amount": 99999})
    assert forked.status == "paused"
    assert forked.asks[0].ask.question == "pay 99999?"


@pytest.mark.parametrize("at", ["each#0[1]", "input#0"])
async def test_there_is_no_fork_point_where_others_run_beside_nor_at_the_input(at: str) -> None:
    run, _ = await recorded()
    with pytest.raises(ReplayRefused, match=at.replace("[", r"\[")):
        await run.footprint.fork(shop(World()), at=at, set={"amount": 1})


async def test_a_fork_inside_a_branch_is_refused_but_inside_a_sub_flow_it_is_one() -> None:
    inner: Flow[Any] = Flow("inner")

    @inner.step(to="two")
    def one(step: Step[Any]) -> None:
        step["a"] = step.input

    @inner.step
    def two(step: Step[Any]) -> None:
        step["b"] = step["a"] * 10

    flow: Flow[Any] = Flow("outer")
    flow.sub("work.it", inner, input=lambda step: 1, outputs={"b": "b"}, to="split")

    @flow.fork(branches=["left", "right"])
    def split(step: Step[Any]) -> None: ...

    for name in ("left", "right"):

        @flow.step(name=name)
        def branch(step: Step[Any]) -> None:
            step[step.node] = step["b"]

    run = await flow.start()
    with pytest.raises(ReplayRefused, match="runs beside others"):
        await run.footprint.fork(at="split#0.left/left#0", set={"b": 1})
    forked = await run.footprint.fork(at="work.it#0/two#0", set={"a": 7})
    assert (forked["left"], forked["right"]) == (70, 70)


async def test_forking_at_a_step_that_is_not_there_lists_what_there_is() -> None:
    run, _ = await recorded()
    with pytest.raises(InputInvalid, match="there is no step 'ask#1' in this run; there is: ask#0"):
        await run.footprint.fork(at="ask#1", set={})


async def test_a_failed_record_does_not_make_an_optional_branch_fail_quietly() -> None:
    touched: list[int] = []
    flow: Flow[Any] = Flow("optional")

    @flow.fork(branches=["a"], optional=["a"])
    def split(step: Step[Any]) -> None: ...

    @flow.step
    async def a(step: Step[Any]) -> None:
        step["x"] = await step.call("effect", lambda n: touched.append(n), len(touched))

    run = await flow.start()
    with pytest.raises(ReplayDiverged, match=r"split#0.a/a#0"):
        await run.footprint.replay()
