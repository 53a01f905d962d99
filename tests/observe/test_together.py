"""All exporters at once, beside recorders that raise, hang and cannot write: the run does not feel them."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from pathlib import Path
from typing import Any

from opentelemetry import context
from prometheus_client import CollectorRegistry

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.events import Event
from agentfootprint.observe import (
    jsonl_observability,
    logging_observability,
    prometheus_observability,
    queued,
    record_to,
    structlog_observability,
)
from agentfootprint.providers import MockProvider

from .otel.seen import Telemetry

call = MockProvider.call
ME = MemoryIdentity("acme", "alice", "t-1")


@tool
async def lookup(order_id: str) -> str:
    """Looks an order up."""
    return "shipped"


class Raising:
    def on_event(self, event: Event) -> None:
        raise RuntimeError("a bug in a recorder")

    def on_footprint(self, *_: Any) -> None:
        raise RuntimeError("another one")


class Hanging:
    def __init__(self) -> None:
        self.gate = threading.Event()

    def on_event(self, event: Event) -> None:
        self.gate.wait(60)


async def test_each_tells_its_own_whatever_the_others_do(tmp_path: Path) -> None:
    telemetry = Telemetry()
    metrics = prometheus_observability(CollectorRegistry())
    keeper = record_to(tmp_path / "runs")
    hanging = Hanging()
    agent = Agent(
        MockProvider(replies=[call("lookup", order_id="1"), "Yes"] * 20), tools=[lookup], name="support"
    )
    before = context.get_current()
    raising = agent.attach(Raising())
    full = agent.attach(jsonl_observability("/dev/full"))
    agent.attach(queued(hanging, in_thread=True))
    healthy = [
        agent.attach(recorder)
        for recorder in (
            telemetry.recorder,
            metrics,
            logging_observability("test.together"),
            structlog_observability(),
            keeper,
        )
    ]
    results = await asyncio.gather(*(agent.run("Where?", identity=ME, fresh=True) for _ in range(20)))
    assert {result.output for result in results} == {"Yes"}
    assert context.get_current() is before
    assert raising.failures > 0
    assert full.failures > 0
    hanging.gate.set()
    assert len(await telemetry.named("invoke_agent support")) == 20
    await metrics.flush()
    ended = {"agent": "support", "status": "completed"}
    assert metrics.registry.get_sample_value("agentfootprint_runs_total", ended) == 20
    await keeper.flush()
    assert {run.run_id for run in keeper.runs.list("acme")} == {result.run_id for result in results}
    assert [(handle.failures, handle.dropped) for handle in healthy] == [(0, 0)] * len(healthy)
    await agent.aclose()


async def test_exporters_keep_no_run_alive(tmp_path: Path) -> None:
    telemetry = Telemetry()
    recorders: list[Any] = [
        telemetry.recorder,
        prometheus_observability(CollectorRegistry()),
        logging_observability("test.together"),
        record_to(tmp_path / "runs.db"),
    ]
    agent = Agent(MockProvider(reply="Yes"), recorders=recorders)
    result = await agent.run("Hi")
    gone = weakref.ref(result._run)
    for recorder in recorders:
        await recorder.flush()
    del result
    gc.collect()
    assert gone() is None
    await agent.aclose()


async def test_a_closed_recorder_begins_nothing() -> None:
    telemetry = Telemetry()
    agent = Agent(MockProvider(reply="Yes"), recorders=[telemetry.recorder])
    await telemetry.recorder.aclose()
    before = context.get_current()
    await agent.run("Hi")
    assert context.get_current() is before
    assert await telemetry.spans() == []
    assert telemetry.recorder.dropped > 0
