"""Recorded effects."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest
from tests.flow.support import answers_to, broken, loaded, stored, told

from agentfootprint.errors import RecordedFailure, ResumeDiverged, StepFailed
from agentfootprint.flow import Flow, Run, Seq, Step


def only(function: Any) -> Flow[Any]:
    flow: Flow[Any] = Flow("only")
    flow.step(name="only")(function)
    return flow


async def resumed(flow: Flow[Any], paused: Run, answer: Any = True, **options: Any) -> Run:
    assert paused.status == "paused"
    return await flow.resume(stored(paused), answers=answers_to(paused, answer), **options)


async def test_a_call_records_its_name_key_arguments_and_result() -> None:
    async def fetch(url: str, *, limit: int) -> list[str]:
        return [url] * limit

    async def work(step: Step[Any]) -> None:
        step["rows"] = tuple(await step.call("fetch", fetch, "u", limit=2, key="first"))

    run = await only(work).start()
    assert run["rows"] == ("u", "u")
    [call] = run.footprint.step("only#0").calls
    assert (call.name, call.key, call.result, call.error) == ("fetch", "first", ["u", "u"], None)
    assert call.end is not None
    assert call.start <= call.end
    [again] = loaded(run).step("only#0").calls
    assert again.arguments_digest == call.arguments_digest


async def test_arguments_are_told_apart_by_position_and_name() -> None:
    def nothing(*args: Any, **kwargs: Any) -> None: ...

    async def work(step: Step[Any]) -> None:
        await step.call("c", nothing, {"a": 1})
        await step.call("c", nothing, a=1)
        await step.call("c", nothing)
        await step.call("c", nothing, Seq([1]))
        await step.call("c", nothing, Seq([1, 2]))

    run = await only(work).start()
    assert len({call.arguments_digest for call in run.footprint.step("only#0").calls}) == 5


async def test_a_plain_function_may_be_called_and_an_awaitable_is_awaited() -> None:
    async def later() -> int:
        await asyncio.sleep(0)
        return 2

    async def work(step: Step[Any]) -> None:
        step["x"] = await step.call("plain", lambda: 1) + await step.call("wrapped", lambda: later())

    assert (await only(work).start())["x"] == 3


async def test_what_a_call_raises_is_recorded_and_raised() -> None:
    def boom() -> None:
        raise LookupError("nothing there")

    async def work(step: Step[Any]) -> None:
        try:
            await step.call("boom", boom)
        except LookupError as error:
            step["error"] = str(error)

    run = await only(work).start()
    assert run["error"] == "nothing there"
    assert run.footprint.step("only#0").calls[0].error == ("LookupError", "nothing there")
    assert "called boom, which failed with LookupError: nothing there" in run.footprint.narrative()


async def test_a_call_has_its_own_timeout() -> None:
    cleaned = []

    async def slow() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned.append(1)

    async def work(step: Step[Any]) -> None:
        await step.call("slow", slow, timeout=0.01)

    with pytest.raises(StepFailed, match="TimeoutError") as caught:
        await only(work).start()
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert cleaned == [1]


async def test_a_step_entered_again_is_answered_from_the_record() -> None:
    called = []

    def effect(name: str) -> str:
        called.append(name)
        return f"{name}!"

    async def work(step: Step[Any]) -> None:
        first = await step.call("effect", effect, "a")
        second = await step.call("effect", effect, "b")
        ok = await step.ask("go on?")
        third = await step.call("effect", effect, "c")
        step["x"] = (first, second, ok, third)

    flow = only(work)
    run = await resumed(flow, await flow.start())
    assert run["x"] == ("a!", "b!", True, "c!")
    assert called == ["a", "b", "c"]
    assert told(run) == told(await flow.start(answers={"only#0?0": True}))


async def test_keys_tell_calls_apart_whatever_their_order_on_the_second_run() -> None:
    order = ["x", "y"]
    called = []

    def effect(name: str) -> str:
        called.append(name)
        return name

    async def work(step: Step[Any]) -> None:
        got = {}
        for name in order:
            got[name] = await step.call("effect", effect, name, key=name)
        await step.ask("go on?")
        step["got"] = got

    flow = only(work)
    paused = await flow.start()
    order.reverse()
    run = await resumed(flow, paused)
    assert run["got"] == {"x": "x", "y": "y"}
    assert called == ["x", "y"]


async def test_other_arguments_than_recorded_diverge_by_name() -> None:
    numbers = iter([1, 2])

    async def work(step: Step[Any]) -> None:
        await step.call("pay", lambda n: n, next(numbers))
        await step.ask("go on?")

    flow = only(work)
    with pytest.raises(ResumeDiverged, match=r"only#0.*'pay' with other arguments"):
        await resumed(flow, await flow.start())


async def test_a_failed_call_answers_as_before_after_a_pause() -> None:
    called = []

    def boom() -> None:
        called.append(1)
        raise LookupError("nothing there")

    async def work(step: Step[Any]) -> None:
        try:
            await step.call("boom", boom, raises=(LookupError,))
        except LookupError as error:
            step["x"] = f"{await step.ask('go on?')} after {error}"

    flow = only(work)
    run = await resumed(flow, await flow.start())
    assert run["x"] == "True after nothing there"
    assert called == [1]


async def test_a_recorded_failure_that_nobody_expects_is_one_by_name() -> None:
    async def work(step: Step[Any]) -> None:
        try:
            await step.call("boom", int, "x")
        except ValueError:
            step["x"] = await step.ask("go on?")

    flow = only(work)
    with pytest.raises(RecordedFailure, match="'boom' failed when it was recorded: ValueError"):
        await resumed(flow, await flow.start())


async def test_after_a_failure_only_what_succeeded_is_answered_and_the_rest_is_tried_again() -> None:
    called: list[str] = []

    def effect(name: str) -> str:
        called.append(name)
        if called.count("second") == 1 and name == "second":
            raise ConnectionError("down")
        return name

    async def work(step: Step[Any]) -> None:
        step["x"] = (await step.call("a", effect, "first"), await step.call("b", effect, "second"))

    flow = only(work)
    failed, _ = await broken(flow)
    run = await flow.resume(stored(failed))
    assert run["x"] == ("first", "second")
    assert called == ["first", "second", "second"]


async def test_a_call_that_a_pause_beside_it_cancelled_is_made_again() -> None:
    started = []

    async def slow() -> int:
        started.append(1)
        await asyncio.sleep(3600 if len(started) == 1 else 0)
        return 7

    async def work(step: Step[Any]) -> None:
        async with asyncio.TaskGroup() as group:
            called = group.create_task(step.call("slow", slow))
            asked = group.create_task(step.ask("how much?"))
        step["x"] = called.result() + asked.result()

    flow = only(work)
    run = await resumed(flow, await flow.start(), 1)
    assert run["x"] == 8
    assert len(started) == 2


@dataclass(frozen=True)
class Row:
    id: int
    name: str = ""


async def test_a_result_read_back_is_of_the_type_the_call_says() -> None:
    async def work(step: Step[Any]) -> None:
        row = await step.call("row", lambda: Row(1, "a"), returns=Row)
        await step.ask("go on?")
        assert isinstance(row, Row)
        step["name"] = row.name

    flow = only(work)
    run = await resumed(flow, await flow.start())
    assert run["name"] == "a"


async def test_a_result_without_a_type_reads_back_as_plain_json() -> None:
    async def work(step: Step[Any]) -> None:
        row = await step.call("row", lambda: Row(1, "a"))
        await step.ask("go on?")
        step["row"] = row

    flow = only(work)
    run = await resumed(flow, await flow.start())
    assert run["row"] == {"id": 1, "name": "a"}


async def test_clock_and_other_effects_that_do_not_wait_are_recorded() -> None:
    times = []

    async def work(step: Step[Any]) -> None:
        times.append(step.now())
        number = step.call_now("random", lambda limit: limit - 1, 10)
        await step.ask("go on?")
        step["x"] = number

    flow = only(work)
    before = time.time()
    run = await resumed(flow, await flow.start())
    assert run["x"] == 9
    assert times[0] == times[1]
    assert before <= times[0] <= time.time()
    assert [call.name for call in run.footprint.step("only#0").calls] == ["clock", "random"]


async def test_calls_side_by_side_are_recorded_in_the_order_they_were_made() -> None:
    async def effect(number: int) -> int:
        for _ in range(5 - number):
            await asyncio.sleep(0)
        return number

    async def work(step: Step[Any]) -> None:
        step["x"] = tuple(await asyncio.gather(*(step.call("e", effect, n) for n in range(5))))

    flow = only(work)
    run = await flow.start()
    assert run["x"] == (0, 1, 2, 3, 4)
    assert [call.result for call in run.footprint.step("only#0").calls] == [0, 1, 2, 3, 4]
    assert (await run.footprint.replay())["x"] == (0, 1, 2, 3, 4)
