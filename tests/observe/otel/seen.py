"""What a run looks like to OpenTelemetry: the SDK's own exporters, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from agentfootprint.observe import otel_observability
from agentfootprint.observe.otel.recorder import OTelRecorder


@dataclass
class Telemetry:
    """Providers that keep what they are told, and a recorder that tells them."""

    options: dict[str, Any] = field(default_factory=dict)
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("user")
        self.meters = MeterProvider([self.reader])
        self.recorder: OTelRecorder = otel_observability(self.provider, self.meters, **self.options)

    async def spans(self) -> list[ReadableSpan]:
        await self.recorder.flush()
        return list(self.exporter.get_finished_spans())

    async def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in await self.spans() if span.name == name]

    async def one(self, name: str) -> ReadableSpan:
        (span,) = await self.named(name)
        return span

    async def points(self, metric: str) -> list[Any]:
        await self.recorder.flush()
        return [point for name, point in self._points() if name == metric]

    def _points(self) -> Iterator[tuple[str, Any]]:
        data = self.reader.get_metrics_data()
        for resource in () if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        yield metric.name, point


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def context_of(span: Any) -> SpanContext:
    found: SpanContext = span.get_span_context()
    return found


def id_of(span: Any) -> int:
    return context_of(span).span_id


def everything(spans: list[ReadableSpan]) -> str:
    """All that left the process, as one text to look for something in."""
    return "\n".join(span.to_json() for span in spans)
