"""Questions to people: parked at the step that asks, gone on with from there."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest
from tests.flow.support import answers_to, broken, stored, told

from agentfootprint.errors import AnswerInvalid, AnswerRequired, FlowInvalid, ResumeDiverged
from agentfootprint.flow import Flow, Pause, Reduce, Run, Seq, Step


def only(function: Any) -> Flow[Any]:
    flow: Flow[Any] = Flow("only")
    flow.step(name="only")(function)
    return flow


async def test_a_paused_run_shows_its_question_and_goes_on_with_the_answer() -> None:
    async def work(step: Step[Any]) -> None:
        step["early"] = 1
        step["x"] = await step.ask(
            "how much?",
            kind="approval",
            tool="refund",
            arguments={"amount": 5},
            data=["more"],
            schema={"type": "integer"},
            expires_at=1e10,
        )

    flow = only(work)
    paused = await flow.start()
    assert paused.status == "paused"
    [record] = paused.asks
    ask = record.ask
    assert (ask.id, ask.question, record.kind) == ("only#0?0", "how much?", "approval")
    assert (ask.tool, ask.arguments, ask.data) == ("refund", {"amount": 5}, ["more"])
    assert (ask.schema, ask.expires_at) == ({"type": "integer"}, 1e10)
    assert paused.get("early") is None  # what the step wrote before it asked is taken back
    assert "asked 'how much?', which waits" in paused.footprint.narrative()
    run = await flow.resume(stored(paused), answers={"only#0?0": 7})
    assert (run.status, run["x"], run["early"]) == ("done", 7, 1)
    assert "asked 'how much?', which was answered 7" in run.footprint.narrative()
    assert run.id == paused.id


async def test_a_plain_step_may_ask_too() -> None:
    def work(step: Step[Any]) -> None:
        step["x"] = step.ask_now("name?")

    flow = only(work)
    paused = await flow.start()
    assert (await flow.resume(stored(paused), answers=answers_to(paused, "Ada")))["x"] == "Ada"


async def test_several_questions_in_a_row_pause_one_after_the_other() -> None:
    entered = []

    async def work(step: Step[Any]) -> None:
        entered.append(1)
        first = await step.ask("first?")
        second = await step.ask("second?")
        step["x"] = first + second

    flow = only(work)
    run = await flow.start()
    for answer in ("a", "b"):
        run = await flow.resume(stored(run), answers=answers_to(run, answer))
    assert run["x"] == "ab"
    assert len(entered) == 3
    assert [record.ask.id for record in run.footprint.step("only#0").asks] == ["only#0?0", "only#0?1"]
    assert told(run) == told(await flow.start(answers={"only#0?0": "a", "only#0?1": "b"}))


async def test_answers_given_up_front_are_no_pause() -> None:
    async def work(step: Step[Any]) -> None:
        step["x"] = await step.ask("?")

    assert (await only(work).start(answers={"only#0?0": None}))["x"] is None


async def test_the_same_run_goes_on_in_the_same_process_too() -> None:
    async def work(step: Step[Any]) -> None:
        step["x"] = await step.ask("?")

    run = await only(work).start()
    run.asks[0].answer = 3
    await run.go()
    assert (run.status, run["x"]) == ("done", 3)


# ── refusals ────────────────────────────────────────────────────────────────────────────────────


async def test_a_missing_and_an_unknown_answer_are_refused_by_id_and_nothing_runs() -> None:
    entered = []

    async def work(step: Step[Any]) -> None:
        entered.append(1)
        step["x"] = await step.ask("?")

    flow = only(work)
    snapshot = stored(await flow.start())
    with pytest.raises(AnswerRequired, match=r"no answer for only#0[?]0"):
        await flow.resume(snapshot)
    with pytest.raises(AnswerInvalid, match="no open question has the id 'other'"):
        await flow.resume(snapshot, answers={"only#0?0": 1, "other": 2})
    assert len(entered) == 1
    assert (await flow.resume(snapshot, answers={"only#0?0": 1}))["x"] == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("refund 5?", {}), ("refund 5000?", {})),
        (("refund?", {"arguments": {"amount": 5}}), ("refund?", {"arguments": {"amount": 5000}})),
        (("refund?", {"kind": "ask"}), ("refund?", {"kind": "approval"})),
    ],
)
async def test_another_question_on_the_second_run_is_not_answered_by_the_first_answer(
    first: Any, second: Any
) -> None:
    questions = iter([first, second])

    async def work(step: Step[Any]) -> None:
        question, more = next(questions)
        step["x"] = await step.ask(question, **more)

    flow = only(work)
    paused = await flow.start()
    with pytest.raises(ResumeDiverged, match=r"only#0.*asked 'refund"):
        await flow.resume(stored(paused), answers=answers_to(paused))


async def test_except_exception_does_not_catch_a_pause() -> None:
    async def work(step: Step[Any]) -> None:
        try:
            step["x"] = await step.ask("?")
        except Exception:
            step["x"] = "swallowed"

    flow = only(work)
    paused = await flow.start()
    assert (await flow.resume(stored(paused), answers=answers_to(paused)))["x"] is True


async def test_a_swallowed_pause_fails_loudly() -> None:
    async def work(step: Step[Any]) -> None:
        try:
            await step.ask("?")
        except BaseException:
            step["x"] = "went on without the answer"

    with pytest.raises(FlowInvalid, match=r"only#0.*something caught the pause"):
        await only(work).start()


async def test_a_pause_inside_a_task_group_is_a_pause_and_asks_everything_at_once() -> None:
    async def work(step: Step[Any]) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step.ask(f"{name}?")) for name in "ab"]
        step["x"] = [task.result() for task in tasks]

    flow = only(work)
    paused = await flow.start()
    assert [record.ask.question for record in paused.asks] == ["a?", "b?"]
    ids = [record.ask.id for record in paused.asks]
    assert len(set(ids)) == 2
    run = await flow.resume(stored(paused), answers={ids[1]: "second", ids[0]: "first"})
    assert run["x"] == ["first", "second"]


# ── wherever a step may stand ───────────────────────────────────────────────────────────────────


class State(TypedDict):
    n: int
    items: tuple[int, ...]
    got: Seq[str]
    total: Annotated[int, Reduce(operator.add)]
    out: str


async def asks_until_done(flow: Flow[Any], given: Any = None) -> tuple[Run, list[list[str]]]:
    """Answers every question with its own id, each time in a new interpreter's eyes."""
    run = await flow.start(given)
    rounds = []
    while run.status == "paused":
        ids = [record.ask.id for record in run.asks]
        rounds.append(ids)
        run = await flow.resume(stored(run), answers={one: f"<{one}>" for one in ids})
    assert run.status == "done"
    unbroken = await flow.start(given, answers={one: f"<{one}>" for ids in rounds for one in ids})
    assert told(run) == told(unbroken)
    return run, rounds


async def test_in_a_loop_every_round_asks_for_itself() -> None:
    flow: Flow[Any] = Flow("loop", state=State)

    @flow.step(to="again")
    async def work(step: Step[Any]) -> None:
        step["n"] = step.get("n", 0) + 1
        step.append("got", await step.ask(f"round {step['n']}?"))

    @flow.decide(to={"more": "work", "enough": "end"})
    def again(step: Step[Any]) -> str:
        return "more" if step["n"] < 3 else "enough"

    @flow.step
    def end(step: Step[Any]) -> None:
        step["out"] = " ".join(step["got"])

    run, rounds = await asks_until_done(flow)
    assert rounds == [["work#0?0"], ["work#1?0"], ["work#2?0"]]
    assert run["out"] == "<work#0?0> <work#1?0> <work#2?0>"


async def test_in_a_fork_all_branches_ask_at_once_and_finished_ones_are_kept() -> None:
    finished = []
    flow: Flow[Any] = Flow("fork", state=State)

    @flow.fork(branches=["a", "b", "c"])
    def split(step: Step[Any]) -> None: ...

    @flow.step
    async def a(step: Step[Any]) -> None:
        step.append("got", await step.ask("a?"))

    @flow.step
    async def b(step: Step[Any]) -> None:
        await asyncio.sleep(0)
        finished.append(1)
        step.append("got", "b")

    @flow.step
    async def c(step: Step[Any]) -> None:
        step.append("got", await step.ask("c?"))

    run, rounds = await asks_until_done(flow)
    assert rounds == [["split#0.a/a#0?0", "split#0.c/c#0?0"]]
    assert list(run["got"]) == ["<split#0.a/a#0?0>", "b", "<split#0.c/c#0?0>"]
    assert len(finished) == 2  # once in the broken run, once in the unbroken one


async def test_in_a_map_every_item_asks_with_an_id_of_its_own_and_finished_items_are_kept() -> None:
    finished = []
    flow: Flow[Any] = Flow("map", state=State)

    @flow.step(to="each")
    def fill(step: Step[Any]) -> None:
        step["items"] = (0, 1, 2, 3)

    @flow.map(over="items", limit=2)
    async def each(step: Step[Any], item: int) -> None:
        if item % 2:
            step.append("got", await step.ask(f"item {item}?"))
        else:
            finished.append(item)
            step.append("got", str(item))

    run, rounds = await asks_until_done(flow)
    assert rounds == [["each#0[1]?0", "each#0[3]?0"]]
    assert list(run["got"]) == ["0", "<each#0[1]?0>", "2", "<each#0[3]?0>"]
    assert finished == [0, 2, 0, 2]


async def test_in_a_sub_flow() -> None:
    inner: Flow[Any] = Flow("inner")

    @inner.step
    async def work(step: Step[Any]) -> None:
        step["out"] = await step.ask(f"{step.input}?")

    flow: Flow[Any] = Flow("outer", state=State)
    flow.sub("deep", inner, input=lambda step: step.input, outputs={"out": "out"})
    run, rounds = await asks_until_done(flow, "really")
    assert rounds == [["deep#0/work#0?0"]]
    assert run["out"] == "<deep#0/work#0?0>"


async def test_in_all_of_them_inside_each_other() -> None:
    innermost: Flow[Any] = Flow("innermost", state=State)

    @innermost.step(to="each")
    def fill(step: Step[Any]) -> None:
        step["items"] = tuple(range(step.input))

    @innermost.map(over="items", to="end")
    async def each(step: Step[Any], item: int) -> None:
        await asyncio.sleep(0)
        step.append("got", await step.ask(f"item {item}?"))

    @innermost.step
    def end(step: Step[Any]) -> None:
        step["out"] = ",".join(step.get("got", ()))

    flow: Flow[Any] = Flow("outermost", state=State)

    @flow.fork(branches=["count", "other"], to="end")
    def split(step: Step[Any]) -> None: ...

    @flow.step(to="deep")
    async def count(step: Step[Any]) -> None:
        step["n"] = step.get("n", 0) + 1

    flow.sub("deep", innermost, input=lambda step: step["n"], outputs={"out": "out"}, to="again")

    @flow.decide(to={"more": "count", "enough": "end"})
    def again(step: Step[Any]) -> str:
        return "more" if step["n"] < 2 else "enough"

    @flow.step(to="end")
    async def other(step: Step[Any]) -> None:
        step["total"] = len(await step.ask("other?"))

    @flow.step(name="end")
    def last(step: Step[Any]) -> None:
        step.append("got", step["out"])

    run, rounds = await asks_until_done(flow)
    assert rounds == [
        ["split#0.count/deep#0/each#0[0]?0", "split#0.other/other#0?0"],
        ["split#0.count/deep#1/each#0[0]?0", "split#0.count/deep#1/each#0[1]?0"],
    ]
    assert run["out"] == "<split#0.count/deep#1/each#0[0]?0>,<split#0.count/deep#1/each#0[1]?0>"


async def test_a_failure_beside_a_pause_keeps_the_question_and_can_be_gone_on_with() -> None:
    down = [True]
    flow: Flow[Any] = Flow("both", state=State)

    @flow.fork(branches=["a", "b"])
    def split(step: Step[Any]) -> None: ...

    @flow.step
    async def a(step: Step[Any]) -> None:
        step["out"] = await step.ask("a?")

    @flow.step
    async def b(step: Step[Any]) -> None:
        await asyncio.sleep(0)
        if down:
            raise ConnectionError("down")
        step["n"] = 1

    failed, _ = await broken(flow)
    assert [record.ask.id for record in failed.asks] == ["split#0.a/a#0?0"]
    down.clear()
    run = await flow.resume(stored(failed), answers=answers_to(failed, "yes"))
    assert (run["out"], run["n"]) == ("yes", 1)


def test_the_signal_is_no_exception_that_user_code_catches() -> None:
    assert not issubclass(Pause, Exception)
