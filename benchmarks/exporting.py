"""What exporters cost: an iteration of the tool loop with all of them on, beside one with none."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Sequence
from statistics import fmean
from types import ModuleType
from typing import Any

from gauge import Stopwatch, gauge
from measuring import SECONDS, Measures

from agentfootprint import Agent, tool
from agentfootprint.messages import LLMRequest, LLMResponse, ToolCall, Usage

TURNS = 20


class Asking:
    """Asks for a tool so many times, in no time, then answers."""

    name, model = "openai", "instant"

    async def complete(self, request: LLMRequest) -> LLMResponse:
        turn = len(request.messages) // 2
        if turn >= TURNS:
            return LLMResponse("Done.", usage=Usage(100, 10))
        return LLMResponse(tool_calls=[ToolCall(f"call_{turn}", "add", {"a": turn})], usage=Usage(100, 10))

    async def stream(self, request: LLMRequest) -> Any:
        raise NotImplementedError
        yield


@tool
async def add(a: int) -> str:
    """Adds."""
    return str(a + 1)


def otel() -> Any:
    """As set up for production, but for the network: the exporter throws away what it is given."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    from agentfootprint.observe import otel_observability

    class Nowhere(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    spans = TracerProvider(shutdown_on_exit=False)
    spans.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    return otel_observability(spans, MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))


def prometheus() -> Any:
    from prometheus_client import CollectorRegistry

    from agentfootprint.observe import prometheus_observability

    return prometheus_observability(CollectorRegistry())


def _nowhere() -> logging.Logger:
    logger = logging.Logger("bench", logging.INFO)
    logger.addHandler(logging.FileHandler(os.devnull))
    return logger


def lines() -> Any:
    from agentfootprint.observe import logging_observability

    return logging_observability(_nowhere())


def structured() -> Any:
    import structlog

    from agentfootprint.observe import structlog_observability

    processors = [structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()]
    return structlog_observability(structlog.wrap_logger(_nowhere(), processors=processors))


def keeper() -> Any:
    from agentfootprint.observe import record_to

    return record_to(os.path.join(tempfile.mkdtemp(prefix="bench-"), "runs.db"), max_bytes=10_000_000)


EXPORTERS = {
    "otel": otel,
    "prometheus": prometheus,
    "logging": lines,
    "structlog": structured,
    "records": keeper,
}


class Nobody:
    """Wants what the exporters want and does nothing: what the events themselves cost."""

    def __init__(self, recorders: Sequence[Any]) -> None:
        self._recorders = recorders

    def wants(self, kind: type[Any]) -> bool:
        return any(recorder.wants(kind) for recorder in self._recorders)

    def on_event(self, event: Any) -> None:
        pass


async def exporters(framework: ModuleType, quick: bool) -> Measures:
    """An iteration as the run feels it, and the processor's time in all, the exporters' threads included.

    The threads are let come to rest between the runs, outside of what is timed as the run's.
    """
    made = {name: make() for name, make in EXPORTERS.items()}
    sets: dict[str, list[Any]] = {
        "none": [],
        "events": [Nobody(list(made.values()))],
        **{name: [recorder] for name, recorder in made.items()},
        "all": list(made.values()),
    }
    agents = {
        name: Agent(Asking(), tools=[add], max_iterations=None, recorders=recorders)
        for name, recorders in sets.items()
    }
    walls: dict[str, list[float]] = {name: [] for name in agents}
    cpus: dict[str, list[float]] = {name: [] for name in agents}
    gauges = [gauge()]
    spent, rounds = 0.0, 0
    while rounds < (1 if quick else 20) or (spent < SECONDS * len(agents) and not quick):
        for name, agent in agents.items():
            with Stopwatch() as whole:
                with Stopwatch() as watch:
                    await agent.run("Add.")
                await agent._recorders.flush()
            await asyncio.sleep(0.002)  # now their threads wait
            walls[name].append(watch.wall / TURNS)
            cpus[name].append(whole.cpu / TURNS)
            spent += whole.cpu
        gauges.append(gauge())
        rounds += 1
    for agent in agents.values():
        await agent.aclose()
    speed = fmean(gauges)
    out: Measures = {}
    for name in agents:
        wall, cpu = sorted(walls[name]), sorted(cpus[name])
        middle = len(wall) // 2
        out[f"exporting_{name}"] = {"wall": wall[middle], "cpu": cpu[middle], "gauge": speed}
    for name in list(agents)[1:]:
        ratio = out[f"exporting_{name}"]["wall"] / out["exporting_none"]["wall"]
        out[f"exporting_{name}_ratio"] = {"value": ratio}
    total = out["exporting_all"]["cpu"] / out["exporting_none"]["cpu"]
    out["exporting_all_cpu_ratio"] = {"value": total}
    return out
