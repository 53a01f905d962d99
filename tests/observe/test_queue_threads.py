"""Recorders in threads, and events that come from threads, behind a queue."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agentfootprint.events import Event, TextDelta
from agentfootprint.observe import queued
from tests.observe.queues import Blocking, Gated, put, turns


async def test_events_from_a_thread_are_handled_on_the_loop_in_order() -> None:
    slow = Gated()
    slow.gate.set()
    queue = queued(slow)
    put(queue, "a")
    await queue.flush()
    await turns()
    await asyncio.to_thread(put, queue, "b", "c")
    await queue.flush()
    assert slow.seen == ["a", "b", "c"]


async def test_events_from_a_thread_before_any_loop_wait_for_a_flush() -> None:
    slow = Gated()
    slow.gate.set()
    queue = queued(slow)
    await asyncio.to_thread(put, queue, "a", "b")
    assert queue.pending == 2
    await queue.flush()
    assert slow.seen == ["a", "b"]


def test_flush_on_one_loop_waits_for_a_worker_on_another() -> None:
    slow = Gated()
    queue = queued(slow)
    home = asyncio.new_event_loop()
    thread = threading.Thread(target=home.run_forever)
    thread.start()
    try:

        async def begin() -> None:
            put(queue, "a")
            await turns()

        asyncio.run_coroutine_threadsafe(begin(), home).result(10)
        home.call_soon_threadsafe(slow.gate.set)
        asyncio.run(queue.flush(timeout=10))
        assert slow.seen == ["a"]
    finally:
        home.call_soon_threadsafe(home.stop)
        thread.join()
        home.close()


# --- a thread of its own


async def test_a_blocking_recorder_in_a_thread_never_blocks_the_loop() -> None:
    slow = Blocking()
    queue = queued(slow, in_thread=True)
    put(queue, "a", "b", "c")
    assert await asyncio.to_thread(slow.busy.wait, 10)
    assert slow.seen == []
    slow.gate.set()
    await queue.flush()
    assert slow.seen == ["a", "b", "c"]
    assert len(slow.threads) == 1
    assert threading.get_ident() not in slow.threads
    await queue.aclose()


async def test_a_thread_that_hangs_is_given_up_in_time() -> None:
    class Closing(Blocking):
        def aclose(self) -> None: ...

    slow = Closing()
    queue = queued(slow, in_thread=True)
    put(queue, "a", "b")
    assert await asyncio.to_thread(slow.busy.wait, 10)
    with pytest.raises(TimeoutError):
        await queue.aclose(timeout=0.01)
    assert queue.dropped == 2
    slow.gate.set()


def test_a_thread_needs_no_loop_and_outlives_one() -> None:
    slow = Blocking()
    queue = queued(slow, in_thread=True)

    async def burst() -> None:
        put(queue, "a", "b")

    asyncio.run(burst())
    put(queue, "c")
    slow.gate.set()
    asyncio.run(queue.aclose())
    assert slow.seen == ["a", "b", "c"]
    assert queue.dropped == 0


async def test_a_failure_in_the_thread_is_counted_whatever_it_is() -> None:
    class Leaving:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def on_event(self, event: Event) -> None:
            assert isinstance(event, TextDelta)
            if event.text == "exit":
                raise SystemExit
            self.seen.append(event.text)

    leaving = Leaving()
    queue = queued(leaving, in_thread=True)
    put(queue, "exit", "a")
    await queue.aclose()
    assert leaving.seen == ["a"]
    assert queue.failures == 1


async def test_a_recorder_in_a_thread_may_close_asynchronously_also_in_debug_mode() -> None:
    class Closing(Blocking):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    asyncio.get_running_loop().set_debug(True)
    closing = Closing()
    await queued(closing, in_thread=True).aclose()
    asyncio.get_running_loop().set_debug(False)
    assert closing.closed == 1


async def test_an_awaitable_in_the_thread_is_a_failure_that_says_so() -> None:
    async def never() -> None: ...

    class Sly:
        def on_event(self, event: Event) -> object:
            return never()

    queue = queued(Sly(), in_thread=True)  # type: ignore[arg-type]
    put(queue, "a")
    await queue.aclose()
    assert "no thread can await" in str(queue.last_error)
