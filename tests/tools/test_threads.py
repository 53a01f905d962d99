"""The limiter of plain tools. Every test holds and releases its threads by events, never by time."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import agentfootprint
from agentfootprint.tools import threads
from agentfootprint.tools.threads import SLOTS, abandoned_threads, run_in_thread

SOURCE = str(Path(agentfootprint.__file__).parent.parent)


class Held:
    """A function that says when it started and returns when it is let go."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.release = threading.Event()
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        self.started.release()
        assert self.release.wait(60)
        return threading.get_ident()


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - what is awaited happens in threads
            await asyncio.sleep(0.001)


async def test_arguments_results_and_context_variables_go_through() -> None:
    name = contextvars.ContextVar("name", default="unset")
    name.set("acme")

    def work(a: int, *, b: int) -> tuple[int, str]:
        seen = name.get()
        name.set("changed")
        return a + b, seen

    assert await run_in_thread(work, 1, b=2) == (3, "acme")
    assert name.get() == "acme"


async def test_the_loop_goes_on_while_a_function_blocks() -> None:
    held = Held()
    call = asyncio.ensure_future(run_in_thread(held))
    await until(lambda: held.started.acquire(blocking=False))
    assert not call.done()
    held.release.set()
    assert await call != threading.get_ident()


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), asyncio.CancelledError()])
async def test_what_is_raised_comes_out(error: BaseException) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)):
        await run_in_thread(work)


async def test_stop_iteration_does_not_end_the_caller() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await run_in_thread(next, iter(()))


async def test_forty_run_at_once_and_the_next_waits_for_a_slot() -> None:
    held, last = Held(), Held()
    last.release.set()
    calls = [asyncio.ensure_future(run_in_thread(held)) for _ in range(SLOTS)]
    await until(lambda: held.count == SLOTS)
    waiting = asyncio.ensure_future(run_in_thread(last))
    await asyncio.sleep(0)
    assert last.count == 0
    held.release.set()
    assert len(set(await asyncio.gather(*calls))) == SLOTS
    await waiting
    assert last.count == 1


async def test_a_call_cancelled_while_it_waits_never_runs() -> None:
    held, never = Held(), Held()
    calls = [asyncio.ensure_future(run_in_thread(held)) for _ in range(SLOTS)]
    await until(lambda: held.count == SLOTS)
    waiting = asyncio.ensure_future(run_in_thread(never))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert abandoned_threads() == 0
    held.release.set()
    await asyncio.gather(*calls)
    assert await run_in_thread(lambda: "after") == "after"
    assert never.count == 0


async def test_a_timed_out_call_keeps_its_slot_until_it_ends_and_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stuck, held = Held(), Held()
    call = asyncio.ensure_future(run_in_thread(stuck))
    await until(lambda: stuck.count == 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call, 0)
    assert abandoned_threads() == 1
    assert "Held was given up but still runs in its thread; 1 of 40" in caplog.text

    calls = [asyncio.ensure_future(run_in_thread(held)) for _ in range(SLOTS)]
    await until(lambda: held.count == SLOTS - 1)
    await asyncio.sleep(0.01)
    assert held.count == SLOTS - 1, "the abandoned thread's slot was given away"

    stuck.release.set()
    await until(lambda: held.count == SLOTS)
    assert abandoned_threads() == 0
    held.release.set()
    await asyncio.gather(*calls)


def test_several_event_loops_share_the_threads() -> None:
    held = Held()
    results: list[int] = []

    def one_loop() -> None:
        results.append(asyncio.run(run_in_thread(held)))

    loops = [threading.Thread(target=one_loop) for _ in range(3)]
    for loop in loops:
        loop.start()
    for _ in loops:
        assert held.started.acquire(timeout=60)
    held.release.set()
    for loop in loops:
        loop.join(60)
    assert len(set(results)) == 3


def test_a_loop_that_is_closed_meanwhile_does_no_harm() -> None:
    held = Held()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run_in_thread(held), 0.01)

    asyncio.run(leave())
    held.release.set()
    assert asyncio.run(run_in_thread(lambda: 1)) == 1
    asyncio.run(until(lambda: abandoned_threads() == 0))


async def test_an_idle_thread_keeps_nothing_alive() -> None:
    class Big:
        pass

    def work(value: Any) -> Any:
        return value

    big = Big()
    gone = weakref.ref(big)
    assert await run_in_thread(work, big) is big
    del big

    def collected() -> bool:
        gc.collect()
        return gone() is None

    await until(collected)


def test_a_hanging_tool_does_not_keep_the_interpreter_from_exiting() -> None:
    code = (
        "import asyncio, threading\n"
        "from agentfootprint.tools.threads import run_in_thread\n"
        "async def main():\n"
        "    try:\n"
        "        await asyncio.wait_for(run_in_thread(threading.Event().wait), 0.05)\n"
        "    except TimeoutError:\n"
        "        print('left')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "left\n"


def test_a_forked_process_has_threads_of_its_own() -> None:
    code = (
        "import asyncio, os, sys\n"
        "from agentfootprint.tools.threads import run_in_thread\n"
        "asyncio.run(run_in_thread(int, 1))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(asyncio.run(run_in_thread(int, 7)))\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env={"PYTHONPATH": SOURCE}, timeout=60, check=False
    )
    assert done.returncode == 7


async def test_threads_are_reused() -> None:
    await run_in_thread(int)
    before = threads._pool._threads
    for _ in range(50):
        await run_in_thread(int)
    assert threads._pool._threads <= before + 1
