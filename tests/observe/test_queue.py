"""A queue before a recorder: what is dropped, awaited, closed and counted."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfootprint.errors import ConfigurationError
from agentfootprint.events import Event, TextDelta
from agentfootprint.observe import queued
from agentfootprint.observe.queue import Queued
from tests.observe.queues import Blocking, Gated, nothing_said, put, turns


@pytest.mark.parametrize(
    ("overflow", "kept"), [("drop_oldest", ["a", "d", "e"]), ("drop_newest", ["a", "b", "c"])]
)
async def test_a_full_queue_drops_by_its_policy_and_counts(
    overflow: Literal["drop_oldest", "drop_newest"], kept: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    slow = Gated()
    queue = queued(slow, maxsize=2, overflow=overflow)
    put(queue, "a")
    await turns()
    put(queue, "b", "c", "d", "e")
    slow.gate.set()
    await queue.aclose()
    assert slow.seen == kept
    assert queue.dropped == 2
    assert [r.getMessage().count("dropped events: it is full") for r in caplog.records] == [1]


async def test_handling_never_starts_inside_on_event() -> None:
    slow = Gated()
    queue = queued(slow)
    put(queue, "a")
    assert slow.started == []
    assert queue.pending == 1
    slow.gate.set()
    await queue.aclose()


async def test_an_idle_queue_owns_no_task() -> None:
    slow = Gated()
    slow.gate.set()
    queue = queued(slow)
    before = asyncio.all_tasks()
    for burst in range(3):
        put(queue, str(burst), "x")
        await queue.flush()
        await turns()
        assert asyncio.all_tasks() == before
    assert slow.seen == ["0", "x", "1", "x", "2", "x"]


async def test_flush_waits_for_what_came_before_it_and_not_for_what_comes_after() -> None:
    slow = Gated()
    queue = queued(slow)
    put(queue, "a", "b")
    flushing = asyncio.create_task(queue.flush())
    await turns()
    assert not flushing.done()
    slow.gate.set()
    await flushing
    assert slow.seen == ["a", "b"]
    slow.gate.clear()
    put(queue, "c")
    with pytest.raises(TimeoutError, match="Gated"):
        await queue.flush(timeout=0.01)
    slow.gate.set()
    await queue.flush()
    assert slow.seen == ["a", "b", "c"]
    assert queue.dropped == 0


async def test_flush_counts_an_event_in_hand_as_not_done_even_when_later_ones_were_dropped() -> None:
    slow = Gated()
    queue = queued(slow, maxsize=1)
    put(queue, "a")
    await turns()
    put(queue, "b")
    flushing = asyncio.create_task(queue.flush())
    await turns()
    put(queue, "c", "d", "e")
    await turns()
    assert not flushing.done()
    slow.gate.set()
    await flushing
    assert slow.seen[0] == "a"
    await queue.aclose()


async def test_closing_handles_the_rest_and_then_refuses_by_count() -> None:
    slow = Gated()
    slow.gate.set()
    queue = queued(slow)
    put(queue, "a", "b")
    await queue.aclose()
    put(queue, "c")
    assert slow.seen == ["a", "b"]
    assert (queue.dropped, slow.closed) == (1, 1)


async def test_closing_a_stuck_recorder_gives_up_in_time_and_closes_it() -> None:
    slow = Gated()
    queue = queued(slow)
    before = asyncio.all_tasks()
    put(queue, "a", "b", "c")
    await turns()
    with pytest.raises(TimeoutError):
        await queue.aclose(timeout=0.01)
    assert (queue.dropped, slow.closed) == (3, 1)
    await turns()
    assert asyncio.all_tasks() == before


async def test_a_failing_event_does_not_stop_the_next() -> None:
    class Picky:
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def on_event(self, event: Event) -> None:
            assert isinstance(event, TextDelta)
            if event.text == "cancelled":
                raise asyncio.CancelledError
            if event.text == "bad":
                raise ValueError
            self.seen.append(event.text)

    picky = Picky()
    queue = queued(picky)
    put(queue, "a", "bad", "b", "cancelled", "c")
    await queue.aclose()
    assert picky.seen == ["a", "b", "c"]
    assert (queue.failures, queue.dropped) == (2, 0)


async def test_a_recorder_does_not_see_the_context_of_the_run_that_woke_it() -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    seen: list[str] = []

    class Peeking:
        async def on_event(self, event: Event) -> None:
            seen.append(tenant.get())

    queue = queued(Peeking())
    tenant.set("acme")
    put(queue, "a")
    await queue.aclose()
    assert seen == ["nobody"]


async def test_a_plain_recorder_behind_the_loop_leaves_turns_to_others() -> None:
    class Quick:
        seen = 0

        def on_event(self, event: Event) -> None:
            self.seen += 1

    quick = Quick()
    queue = queued(quick)
    put(queue, *"abcdefgh")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 0 < quick.seen < 8
    await queue.aclose()
    assert quick.seen == 8


async def test_a_worker_that_somebody_cancels_is_replaced_and_its_events_are_counted() -> None:
    slow = Gated()
    queue = queued(slow)
    before = asyncio.all_tasks()
    put(queue, "a", "b")
    await turns()
    for task in asyncio.all_tasks() - before:
        task.cancel()
    await turns()
    assert queue.dropped == 2
    slow.gate.set()
    put(queue, "c")
    await queue.aclose()
    assert slow.seen == ["c"]


# --- loops that end


def test_what_is_queued_when_asyncio_run_ends_is_dropped_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow = Gated()
    queue = queued(slow)

    async def started() -> None:
        put(queue, "a", "b", "c")
        await turns()

    async def not_even_started() -> None:
        put(queue, "d", "e")

    with nothing_said(caplog):
        asyncio.run(started())
        assert queue.dropped == 3
        asyncio.run(not_even_started())
        assert queue.dropped == 5
    assert slow.started == ["a"]


def test_a_loop_closed_in_the_middle_is_survived_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    slow = Gated()
    queue = queued(slow)

    async def burst(*texts: str, rounds: int) -> None:
        put(queue, *texts)
        await turns(rounds)

    def cut_short(*texts: str, rounds: int) -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(burst(*texts, rounds=rounds))
        loop.close()

    with nothing_said(caplog):
        cut_short("a", "b", rounds=5)
        assert queue.dropped == 2
        cut_short("c", rounds=0)
        assert queue.dropped == 3

    async def later() -> None:
        slow.gate = asyncio.Event()
        slow.gate.set()
        put(queue, "d")
        await queue.aclose()

    asyncio.run(later())
    assert slow.seen == ["d"]


def test_an_abandoned_queue_leaves_no_complaint(caplog: pytest.LogCaptureFixture) -> None:
    async def burst(queue: Queued) -> None:
        put(queue, "a", "b")
        await turns(5)

    with nothing_said(caplog):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(burst(queued(Gated())))
        loop.close()
        del loop


def test_one_queue_serves_one_loop_after_the_other() -> None:
    class Kept:
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def on_event(self, event: Event) -> None:
            assert isinstance(event, TextDelta)
            self.seen.append(event.text)

    kept = Kept()
    queue = queued(kept)

    async def burst(name: str) -> None:
        put(queue, name + "1", name + "2")
        await queue.flush()

    for name in "abc":
        asyncio.run(burst(name))
    assert kept.seen == ["a1", "a2", "b1", "b2", "c1", "c2"]
    assert queue.dropped == 0


async def test_closing_twice_is_the_same_as_once() -> None:
    class Closing(Blocking):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    for in_thread in (True, False):
        closing = Closing()
        closing.gate.set()
        queue = queued(closing, in_thread=in_thread)
        put(queue, "a")
        await queue.aclose()
        await queue.aclose()
        await queue.flush()
        assert (closing.seen, closing.closed) == (["a"], 1)


def test_settings_that_cannot_work_are_refused() -> None:
    recorder = Blocking()
    with pytest.raises(ConfigurationError, match="maxsize=0"):
        queued(recorder, maxsize=0)
    with pytest.raises(ConfigurationError, match="drop_oldest"):
        queued(recorder, overflow="block")  # type: ignore[arg-type]

    class Async:
        async def on_event(self, event: Event) -> None: ...

    with pytest.raises(ConfigurationError, match="in_thread"):
        queued(Async(), in_thread=True)


# --- property: nothing is lost that is not counted, and what is seen is in order

STEP = st.one_of(st.integers(1, 12), st.just("turn"), st.just("open"), st.just("shut"), st.just("flush"))


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(STEP, max_size=25),
    maxsize=st.integers(1, 6),
    overflow=st.sampled_from(["drop_oldest", "drop_newest"]),
    bad=st.sets(st.integers(0, 60), max_size=6),
)
def test_every_event_is_seen_failed_or_counted_as_dropped_and_order_is_kept(
    steps: list[int | str], maxsize: int, overflow: Literal["drop_oldest", "drop_newest"], bad: set[int]
) -> None:
    seen: list[int] = []
    offered = 0

    async def play() -> Queued:
        nonlocal offered
        gate = asyncio.Event()
        gate.set()

        class Slow:
            async def on_event(self, event: Event) -> None:
                assert isinstance(event, TextDelta)
                await gate.wait()
                if int(event.text) in bad:
                    raise ValueError
                seen.append(int(event.text))

        queue = queued(Slow(), maxsize=maxsize, overflow=overflow)
        for step in steps:
            match step:
                case int():
                    for _ in range(step):
                        put(queue, str(offered))
                        offered += 1
                case "turn":
                    await turns(2)
                case "open":
                    gate.set()
                case "shut":
                    gate.clear()
                case "flush":
                    gate.set()
                    await queue.flush()
                    assert len(seen) + queue.dropped + queue.failures == offered
            assert queue.pending <= maxsize
        return queue

    # The loop ends with whatever is queued by then.
    queue = asyncio.run(play())
    assert len(seen) + queue.dropped + queue.failures == offered
    assert seen == sorted(set(seen))
    assert queue.pending == 0
