"""Over the wire: what an OTLP receiver gets, and what a run feels of one that is dead or hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.observe import otel_observability
from agentfootprint.providers import MockProvider

call = MockProvider.call
SECRET = "sk-SENTINEL-4711"


@tool
async def lookup(order_id: str) -> str:
    """Looks an order up."""
    return f"shipped with {SECRET}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[OtelTapHttpProtobufReceiver, str]]:
    port = free_port()
    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=port)) as tap:
        yield tap, f"http://127.0.0.1:{port}"


@contextmanager
def providers(url: str, timeout: float = 5) -> Iterator[tuple[TracerProvider, MeterProvider]]:
    """As users set them up, but for the times."""
    resource = Resource.create({"service.name": "tests"})
    spans = TracerProvider(resource=resource, shutdown_on_exit=False)
    spans.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces", timeout=timeout), schedule_delay_millis=50)
    )
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(f"{url}/v1/metrics", timeout=timeout), export_interval_millis=3_600_000
    )
    meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    yield spans, meters


async def test_a_receiver_gets_spans_and_metrics() -> None:
    async with receiver() as (tap, url):
        with providers(url) as (spans, meters):
            recorder = otel_observability(spans, meters)
            replies: list[Any] = [call("lookup", order_id="A-1"), "Yes"]
            agent = Agent(MockProvider(replies=replies, name="openai", model="gpt-5.1"), tools=[lookup])
            agent.attach(recorder)
            await agent.run(f"Where? {SECRET}", identity=MemoryIdentity("acme", None, "t-1"))
            told = asyncio.gather(
                tap.await_trace(lambda span: span.name == "invoke_agent agent", 20),
                tap.await_trace(lambda span: span.name == "execute_tool lookup", 20),
                tap.await_metric(lambda metric: metric.name == "gen_ai.client.token.usage", 20),
            )
            await recorder.flush()
            root, called, tokens = await told
            await asyncio.to_thread(spans.shutdown)
            await asyncio.to_thread(meters.shutdown)
    assert called.parent_span_id == root.span_id
    assert called.trace_id == root.trace_id
    assert root.start_time_unix_nano <= called.start_time_unix_nano
    assert called.end_time_unix_nano <= root.end_time_unix_nano
    found = {each.key: each.value.string_value for each in root.attributes}
    assert found["gen_ai.conversation.id"] == "t-1"
    assert tokens.unit == "{token}"
    assert SECRET not in f"{root}{called}{tokens}"


async def runs(recorder: Any) -> None:
    replies: list[Any] = [call("lookup", order_id="A-1"), "Yes"] * 20
    agent = Agent(MockProvider(replies=replies), tools=[lookup])
    handle = agent.attach(recorder)
    for _ in range(20):
        assert (await agent.run("Where?")).output == "Yes"
    assert (handle.failures, handle.dropped) == (0, 0)


async def test_a_dead_endpoint_is_not_felt() -> None:
    with providers(f"http://127.0.0.1:{free_port()}", timeout=0.2) as (spans, meters):
        recorder = otel_observability(spans, meters)
        await runs(recorder)
        # Whoever flushes waits for as long as was said, and gets on.
        agent = Agent(MockProvider(reply="Yes"), recorders=[recorder])
        await agent._recorders.flush(0.5)
        await asyncio.to_thread(spans.shutdown)
        await asyncio.to_thread(meters.shutdown)


async def test_an_endpoint_that_hangs_is_not_felt() -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.read()  # Takes what it is sent, and never answers.

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    try:
        with providers(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=0.2) as (
            spans,
            meters,
        ):
            await runs(otel_observability(spans, meters))
            await asyncio.to_thread(spans.shutdown)
            await asyncio.to_thread(meters.shutdown)
    finally:
        server.close()
        for writer in accepted:
            writer.close()


class Gate(SpanExporter):
    """Hangs until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.reached = threading.Event()
        self.names: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.reached.set()
        self.opened.wait(60)
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


async def test_an_exporter_that_hangs_in_our_own_thread_is_not_felt() -> None:
    gate = Gate()
    spans = TracerProvider(shutdown_on_exit=False)
    # The worst way to set it up: each span is sent when it ends, by whoever ended it.
    spans.add_span_processor(SimpleSpanProcessor(gate))
    recorder = otel_observability(spans)
    await runs(recorder)
    assert await asyncio.to_thread(gate.reached.wait, 30)
    await runs(recorder)
    assert gate.names == []
    gate.opened.set()
    await recorder.flush()
    assert gate.names.count("invoke_agent agent") == 40
