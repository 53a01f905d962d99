from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator

import pytest

from agentfootprint.errors import ConfigurationError
from agentfootprint.events import (
    CATALOGUE,
    Emitted,
    Event,
    RunEnded,
    RunStarted,
    TextDelta,
    ToolEnded,
    ToolStarted,
)
from agentfootprint.observe import Dispatch, Enable, Handle, Recorder, Recorders, queued

from .samples import SAMPLES, text


class Kept:
    def __init__(self) -> None:
        self.seen: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.seen.append(event)


class KeptAsync:
    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.flushed = self.closed = 0

    async def on_event(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.seen.append(event)

    async def flush(self) -> None:
        self.flushed += 1

    async def aclose(self) -> None:
        self.closed += 1


class Broken:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_event(self, event: Event) -> None:
        raise self.error


def dispatch_of(recorders: Recorders) -> Dispatch:
    dispatch = recorders.snapshot()
    assert dispatch is not None
    return dispatch


def send(dispatch: Dispatch, *events: Event) -> None:
    for event in events or SAMPLES:
        dispatch(event)


@pytest.fixture
async def recorders() -> AsyncIterator[Recorders]:
    registry = Recorders()
    yield registry
    await registry.aclose()


def kinds(events: list[Event]) -> list[str]:
    return [event.type for event in events]


async def test_a_recorder_sees_every_event_in_order(recorders: Recorders) -> None:
    kept = Kept()
    recorders.attach(kept)
    send(dispatch_of(recorders))
    assert kept.seen == list(SAMPLES)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("tool.*", ["tool.started", "tool.progress", "tool.ended"]),
        ("run.ended", ["run.ended"]),
        ("*.failed", ["run.failed", "model.failed", "memory.failed", "conversation.failed"]),
        ("*", list(kinds(list(SAMPLES)))),
    ],
)
async def test_a_pattern_selects_by_dotted_name(
    recorders: Recorders, pattern: str, wanted: list[str]
) -> None:
    seen: list[Event] = []
    recorders.on(pattern, seen.append)
    send(dispatch_of(recorders))
    assert kinds(seen) == wanted


async def test_a_class_selects_itself_and_the_base_class_everything(recorders: Recorders) -> None:
    ended: list[ToolEnded] = []
    every: list[Event] = []
    recorders.on(ToolEnded, ended.append)
    recorders.on(Event, every.append)
    send(dispatch_of(recorders))
    assert kinds(list(ended)) == ["tool.ended"]
    assert every == list(SAMPLES)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("tools.*", "'tool.*'"),
        ("run.end", "'run.ended'"),
        ("ToolEnded", "'ToolEnded'"),
        ("zzz", "'*' for all"),
        ("", "'*'"),
    ],
)
def test_a_pattern_that_can_match_nothing_is_refused_with_a_suggestion(pattern: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Recorders().on(pattern, print)
    assert hint in str(refused.value)


def test_a_class_that_is_no_event_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names no events"):
        Recorders().on(int, print)  # type: ignore[type-var]


def test_what_cannot_record_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigurationError, match=r"use on\(\.\.\.\)"):
        Recorders().attach(print)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="pass an instance"):
        Recorders().attach(Kept)  # type: ignore[arg-type]


async def test_nothing_attached_means_no_dispatch_at_all(recorders: Recorders) -> None:
    assert recorders.snapshot() is None
    handle = recorders.attach(Kept())
    assert recorders.snapshot() is not None
    handle.detach()
    handle.detach()
    assert recorders.snapshot() is None
    assert Dispatch.combined(recorders.snapshot()) is None


async def test_a_running_run_keeps_the_recorders_it_started_with(recorders: Recorders) -> None:
    kept, late = Kept(), Kept()
    handle = recorders.attach(kept)
    running = dispatch_of(recorders)
    handle.detach()
    recorders.attach(late)
    send(running, SAMPLES[0])
    send(dispatch_of(recorders), SAMPLES[1])
    assert kept.seen == [SAMPLES[0]]
    assert late.seen == [SAMPLES[1]]


async def test_a_handle_detaches_at_the_end_of_its_block_and_only_its_own(recorders: Recorders) -> None:
    kept = Kept()
    outer = recorders.attach(kept, "run.*")
    with recorders.attach(kept, "tool.*") as inner:
        assert isinstance(inner, Handle)
        assert dispatch_of(recorders).wants(ToolEnded)
    assert not dispatch_of(recorders).wants(ToolEnded)
    assert dispatch_of(recorders).wants(RunEnded)
    outer.detach()


async def test_a_broken_recorder_is_counted_and_stops_nobody(
    recorders: Recorders, caplog: pytest.LogCaptureFixture
) -> None:
    before, after = Kept(), Kept()
    recorders.attach(before)
    handle = recorders.attach(Broken(ValueError("sk-secret")))
    recorders.attach(after)
    with caplog.at_level(logging.DEBUG, "agentfootprint.observe"):
        send(dispatch_of(recorders))
    assert before.seen == after.seen == list(SAMPLES)
    assert handle.failures == len(SAMPLES)
    assert isinstance(handle.last_error, ValueError)
    [record] = caplog.records
    assert "Broken" in record.getMessage()
    assert "ValueError" in record.getMessage()
    assert "test_registry.py:" in record.getMessage()
    assert "sk-secret" not in caplog.text


async def test_a_broken_log_handler_does_not_reach_the_run(recorders: Recorders) -> None:
    class Angry(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no log today")

    logger = logging.getLogger("agentfootprint.observe")
    angry = Angry()
    logger.addHandler(angry)
    try:
        handle = recorders.attach(Broken(ValueError()))
        send(dispatch_of(recorders), SAMPLES[0])
    finally:
        logger.removeHandler(angry)
    assert handle.failures == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), asyncio.CancelledError()])
async def test_what_is_no_exception_passes(recorders: Recorders, error: BaseException) -> None:
    recorders.attach(Broken(error))
    with pytest.raises(type(error)):
        send(dispatch_of(recorders), SAMPLES[0])


async def test_the_last_error_does_not_keep_the_run_alive(recorders: Recorders) -> None:
    handle = recorders.attach(Broken(ValueError("x")))
    send(dispatch_of(recorders), SAMPLES[0])
    assert handle.last_error is not None
    assert handle.last_error.__traceback__ is None


async def test_wants_says_which_events_need_not_be_built(recorders: Recorders) -> None:
    class Picky(Kept):
        def wants(self, kind: type[Event]) -> bool:
            return kind is RunEnded

    recorders.on("tool.*", print)
    picky = Picky()
    recorders.attach(picky)
    dispatch = dispatch_of(recorders)
    assert [kind for kind in CATALOGUE if dispatch.wants(CATALOGUE[kind])] == [
        "run.ended", "tool.started", "tool.progress", "tool.ended",
    ]  # fmt: skip
    send(dispatch, *[event for event in SAMPLES if not isinstance(event, ToolStarted)])
    assert kinds(picky.seen) == ["run.ended"]


async def test_a_recorder_that_cannot_say_what_it_wants_gets_everything(recorders: Recorders) -> None:
    class Unsure(Kept):
        def wants(self, kind: type[Event]) -> bool:
            raise RuntimeError

    unsure = Unsure()
    handle = recorders.attach(unsure)
    send(dispatch_of(recorders), SAMPLES[0])
    assert unsure.seen == [SAMPLES[0]]
    assert handle.failures == 1


async def test_a_run_can_have_recorders_and_a_consumer_of_its_own(recorders: Recorders) -> None:
    shared, own = Kept(), Kept()
    consumed: list[Event] = []
    recorders.attach(shared, "tool.*")
    dispatch = Dispatch.combined(recorders.snapshot(), [own], consumed.append)
    assert dispatch is not None
    assert dispatch.wants(TextDelta)
    assert not dispatch_of(recorders).wants(TextDelta)
    send(dispatch)
    assert kinds(shared.seen) == ["tool.started", "tool.progress", "tool.ended"]
    assert own.seen == consumed == list(SAMPLES)
    assert Dispatch.combined(recorders.snapshot()) is recorders.snapshot()


async def test_a_runs_own_recorders_work_without_any_of_the_agent() -> None:
    own = Kept()
    dispatch = Dispatch.combined(None, [own])
    assert dispatch is not None
    send(dispatch)
    assert own.seen == list(SAMPLES)
    with pytest.raises(ConfigurationError):
        Dispatch.combined(None, [object()])  # type: ignore[list-item]


async def test_an_async_recorder_is_awaited_in_order_and_never_inside_the_dispatch(
    recorders: Recorders,
) -> None:
    kept = KeptAsync()
    recorders.attach(kept)
    send(dispatch_of(recorders))
    assert kept.seen == []
    await recorders.flush()
    assert kept.seen == list(SAMPLES)
    assert kept.flushed == 1


async def test_a_plain_function_may_return_an_awaitable(recorders: Recorders) -> None:
    kept = KeptAsync()
    recorders.on("run.*", lambda event: kept.on_event(event))
    send(dispatch_of(recorders))
    await recorders.flush()
    assert kinds(kept.seen) == ["run.started", "run.resumed", "run.paused", "run.ended", "run.failed"]


async def test_an_async_recorder_that_fails_or_falls_behind_is_counted(recorders: Recorders) -> None:
    async def failing(event: Event) -> None:
        raise LookupError(event.type)

    handle = recorders.on("*", failing)
    dispatch = dispatch_of(recorders)
    for _ in range(1003):
        dispatch(SAMPLES[0])
    await recorders.flush()
    assert (handle.failures, handle.dropped) == (1000, 3)
    assert isinstance(handle.last_error, LookupError)


async def test_the_recorders_of_one_run_can_be_waited_for_alone(recorders: Recorders) -> None:
    gate = asyncio.Event()

    async def stuck(event: Event) -> None:
        await gate.wait()

    recorders.on("*", stuck)
    own = KeptAsync()
    dispatch = Dispatch.combined(recorders.snapshot(), [own])
    assert dispatch is not None
    send(dispatch)
    await dispatch.flush()
    assert own.seen == list(SAMPLES)
    gate.set()


async def test_flush_does_not_wait_for_ever_and_says_so(recorders: Recorders) -> None:
    gate = asyncio.Event()

    async def stuck(event: Event) -> None:
        await gate.wait()

    handle = recorders.on("*", stuck)
    send(dispatch_of(recorders), SAMPLES[0])
    await recorders.flush(timeout=0.01)
    assert isinstance(handle.last_error, TimeoutError)
    gate.set()
    await recorders.flush()


async def test_aclose_flushes_and_closes_each_recorder_once_and_detaches_it() -> None:
    recorders = Recorders()
    kept = KeptAsync()
    recorders.attach(kept, "tool.*")
    recorders.attach(kept, "run.*")
    broken = KeptAsync()
    broken.aclose = None  # type: ignore[method-assign, assignment]
    recorders.attach(broken)
    send(dispatch_of(recorders))
    await recorders.aclose()
    assert len(kept.seen) == 8
    assert (kept.flushed, kept.closed) == (1, 1)
    assert recorders.snapshot() is None
    await recorders.aclose()
    assert kept.closed == 1


async def test_a_recorder_that_fails_to_close_does_not_keep_others_open() -> None:
    class Failing(KeptAsync):
        async def aclose(self) -> None:
            raise OSError("gone")

    recorders = Recorders()
    kept = KeptAsync()
    handle = recorders.attach(Failing())
    recorders.attach(kept)
    await recorders.aclose()
    assert kept.closed == 1
    assert isinstance(handle.last_error, OSError)


async def test_aclose_gives_up_on_a_hanging_recorder_and_still_closes_it() -> None:
    class Hanging(KeptAsync):
        async def on_event(self, event: Event) -> None:
            await asyncio.Event().wait()

    recorders = Recorders()
    hanging, kept = Hanging(), KeptAsync()
    handle = recorders.attach(queued(hanging))
    recorders.attach(kept)
    send(dispatch_of(recorders))
    await asyncio.wait_for(recorders.aclose(timeout=0.05), 10)
    assert (hanging.closed, kept.closed) == (1, 1)
    assert handle.dropped == len(SAMPLES)
    assert isinstance(handle.last_error, TimeoutError)


async def test_the_handle_of_a_queued_recorder_tells_what_the_queue_lost(recorders: Recorders) -> None:
    handle = recorders.attach(queued(Kept(), maxsize=2))
    send(dispatch_of(recorders))
    await recorders.flush()
    assert handle.dropped == len(SAMPLES) - 2


def test_attaching_and_detaching_from_many_threads_loses_nothing() -> None:
    recorders = Recorders()
    stay = [Kept() for _ in range(8)]

    def work(kept: Kept) -> None:
        for _ in range(200):
            recorders.attach(Kept()).detach()
        recorders.attach(kept)

    threads = [threading.Thread(target=work, args=(kept,)) for kept in stay]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    send(dispatch_of(recorders), SAMPLES[0])
    assert [len(kept.seen) for kept in stay] == [1] * 8


async def test_enable_attaches_and_returns_the_handle(recorders: Recorders) -> None:
    enable = Enable(recorders)
    kept, status = Kept(), Kept()
    handle = enable.observability(kept)
    enable.live_status(status)
    send(dispatch_of(recorders), text("a"))
    handle.detach()
    send(dispatch_of(recorders), text("b"))
    assert (len(kept.seen), len(status.seen)) == (1, 2)


def test_typed_handlers_and_recorders_fit_the_protocol() -> None:
    recorder: Recorder = KeptAsync()
    plain: Recorder = Kept()
    assert isinstance(recorder, Recorder)
    assert isinstance(plain, Recorder)

    def on_started(event: RunStarted) -> None: ...

    Recorders().on(RunStarted, on_started)


async def test_every_kind_of_event_has_a_sample() -> None:
    assert {type(event) for event in SAMPLES} == set(CATALOGUE.values())
    assert isinstance(SAMPLES[-1], Emitted)
