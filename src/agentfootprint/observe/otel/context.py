"""W3C trace context on its way in and out, and ids that are known before their span is made."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["Ids", "Later", "context_of", "incoming", "outgoing", "traceparent_of"]

_W3C = TraceContextTextMapPropagator()


def context_of(carrier: str | Mapping[str, str]) -> Context:
    """The trace context of a `traceparent`, alone or among the headers of a request. What is no
    traceparent gives an empty context: a run then begins a trace of its own."""
    if isinstance(carrier, str):
        carrier = {"traceparent": carrier}
    lower = {key.lower(): value for key, value in carrier.items()}
    return _W3C.extract(lower, context=otel_context.Context())


@contextmanager
def incoming(carrier: str | Mapping[str, str]) -> Iterator[None]:
    span = trace.get_current_span(context_of(carrier))
    if not span.get_span_context().is_valid:
        yield
        return
    before = otel_context.get_current()
    otel_context.attach(trace.set_span_in_context(span, before))
    try:
        yield
    finally:
        # Set, not detached by token: that works in whatever context this ends.
        otel_context.attach(before)


def outgoing() -> dict[str, str]:
    headers: dict[str, str] = {}
    _W3C.inject(headers)
    return headers


def traceparent_of(context: trace.SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


class Later(trace.NonRecordingSpan):
    """Stands for a span below `root` that is made after the fact, for what is traced in between. Its
    context is made when somebody asks for it: mostly nobody does."""

    def __init__(self, root: trace.Span, span_id: int) -> None:
        self._root = root
        self._span_id = span_id

    def get_span_context(self) -> trace.SpanContext:
        whole = self._root.get_span_context()
        return trace.SpanContext(whole.trace_id, self._span_id, False, whole.trace_flags, whole.trace_state)

    def __repr__(self) -> str:
        return f"Later({self.get_span_context()!r})"


class Ids:
    """Stands in front of a tracer's source of ids, so that a span which is made after the fact gets the
    id that what ran inside it was told."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._next = threading.local()

    def give(self, span_id: int | None) -> None:
        """The id of the next span that this thread makes; None: any."""
        self._next.span_id = span_id

    def generate_span_id(self) -> int:
        chosen: int | None = getattr(self._next, "span_id", None)
        if chosen is not None:
            self._next.span_id = None
            return chosen
        made: int = self._source.generate_span_id()
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    @classmethod
    def of(cls, tracer: Any) -> Ids | None:
        """Those of a tracer of ours; None where the tracer is not the SDK's, which has no such thing."""
        source = getattr(tracer, "id_generator", None)
        if isinstance(source, cls):
            return source
        if source is None or not hasattr(source, "generate_span_id"):
            return None
        ids = cls(source)
        tracer.id_generator = ids
        return ids
