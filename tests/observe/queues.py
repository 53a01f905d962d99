"""Recorders that wait at a gate, and what tests of queues share."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agentfootprint.events import Event, TextDelta
from agentfootprint.observe.queue import Queued

from .samples import text


class Gated:
    """An async recorder that handles an event when the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.started: list[str] = []
        self.seen: list[str] = []
        self.closed = 0

    async def on_event(self, event: Event) -> None:
        assert isinstance(event, TextDelta)
        self.started.append(event.text)
        await self.gate.wait()
        self.seen.append(event.text)

    async def aclose(self) -> None:
        self.closed += 1


class Blocking:
    """A plain recorder that blocks its thread until the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.busy = threading.Event()
        self.seen: list[str] = []
        self.threads: set[int] = set()

    def on_event(self, event: Event) -> None:
        assert isinstance(event, TextDelta)
        self.busy.set()
        assert self.gate.wait(30)
        self.threads.add(threading.get_ident())
        self.seen.append(event.text)

    def flush(self) -> None:
        self.threads.add(threading.get_ident())


def put(queue: Queued, *texts: str) -> None:
    for each in texts:
        queue.on_event(text(each))


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@contextmanager
def nothing_said(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither asyncio nor Python complains about tasks or coroutines left behind."""
    gc.collect()  # what earlier tests left behind is theirs
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.WARNING, "asyncio"):
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(each.message) for each in caught] == []
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
