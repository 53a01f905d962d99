"""The thread behind exporters: order, flushing, what is lost and told, and its end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from agentfootprint.errors import ConfigurationError
from agentfootprint.observe.handover import Handover


async def test_items_are_handled_in_order_and_elsewhere() -> None:
    seen: list[int] = []
    threads: set[int] = set()

    def handle(item: int) -> None:
        seen.append(item)
        threads.add(threading.get_ident())

    handover = Handover(handle, "test")
    for number in range(1000):
        handover.put(number)
    await handover.flush()
    assert seen == list(range(1000))
    assert threading.get_ident() not in threads
    assert len(threads) == 1


async def test_what_is_raised_is_counted_and_the_next_item_follows() -> None:
    seen: list[int] = []

    def handle(item: int) -> None:
        if item % 2:
            raise ValueError("odd")
        seen.append(item)

    handover = Handover(handle, "test")
    for number in range(6):
        handover.put(number)
    await handover.flush()
    assert seen == [0, 2, 4]
    assert handover.faults.failures == 3


async def test_a_full_queue_drops_the_new_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    gate, begun = threading.Event(), threading.Event()
    seen: list[int] = []

    def handle(item: int) -> None:
        begun.set()
        gate.wait(30)
        seen.append(item)

    handover = Handover(handle, "test", maxsize=3, every=0.001)
    handover.put(0)
    await asyncio.to_thread(begun.wait, 30)
    for number in range(1, 10):
        handover.put(number)
    assert handover.dropped == 6
    gate.set()
    await handover.flush()
    assert seen == [0, 1, 2, 3]
    assert [record.message for record in caplog.records if "dropped events" in record.message] == [
        "recorder test dropped events: its thread is too slow. Further ones are counted (dropped), not logged"
    ]


async def test_a_flush_that_is_given_up_leaves_the_items() -> None:
    gate = threading.Event()
    seen: list[int] = []

    def handle(item: int) -> None:
        gate.wait(30)
        seen.append(item)

    handover = Handover(handle, "test")
    handover.put(1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handover.flush(), 0.01)
    gate.set()
    await handover.flush()
    assert seen == [1]


async def test_after_closing_items_are_dropped_and_counted() -> None:
    seen: list[int] = []
    handover = Handover(seen.append, "test")
    handover.put(1)
    await handover.aclose()
    handover.put(2)
    assert (seen, handover.dropped) == ([1], 1)
    await handover.aclose()


async def test_the_thread_ends_without_work_and_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentfootprint.observe.handover._LINGER", 0.0)
    seen: list[threading.Thread] = []
    handover = Handover(lambda _: seen.append(threading.current_thread()), "test", every=0.001)
    for _ in range(2):
        handover.put(1)
        await handover.flush()
        await asyncio.to_thread(seen[-1].join, 30)
        assert not seen[-1].is_alive()
    assert len(set(seen)) == 2


def test_what_is_left_at_the_end_of_the_program_is_handled() -> None:
    program = """
from agentfootprint.observe.handover import Handover
handover = Handover(print, "test")
handover.put("the last word")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("the last word\n", "")


def test_a_handler_that_hangs_does_not_keep_the_program(tmp_path: object) -> None:
    program = """
import threading, agentfootprint.observe.handover as room
room._LINGER = 0.1
handover = room.Handover(lambda _: threading.Event().wait(), "test", every=0.001)
handover.put(1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_queue_needs_room() -> None:
    with pytest.raises(ConfigurationError):
        Handover(print, "test", maxsize=0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_tells_what_is_its_own() -> None:
    program = """
import os, sys
from agentfootprint.observe.handover import Handover
handover = Handover(lambda item: print(item, flush=True), "test")
handover.put("of the parent")
child = os.fork()
if child == 0:
    handover.put("of the child")
    sys.exit()
os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert sorted(done.stdout.splitlines()) == ["of the child", "of the parent"]
