"""The part that runs inside a run: begins its span, carries the context, hands everything else on."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    TracerProvider,
    set_span_in_context,
)

from ...events import (
    Event,
    ModelEnded,
    ModelFailed,
    ModelStarted,
    RunEnded,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    ToolEnded,
    ToolStarted,
)
from ..content import Content, plain
from ..handover import Handover
from ..sampling import Sampling
from ..tiers import Tier, told_at
from . import names as n
from .context import Ids, Later, context_of, traceparent_of
from .instruments import Instruments
from .spans import BY_TIER, Spans, nanoseconds

__all__ = ["OTelRecorder"]

_REMEMBERED = 10_000


class _Live(NamedTuple):
    """A run between its start and its end: its span, the context below it, the one around it, and the key
    under which a context holds its span."""

    span: Span
    below: Context
    around: Context
    key: str


class OTelRecorder:
    """See `agentfootprint.observe.otel_observability`."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: metrics.MeterProvider | None,
        content: Content,
        tier: Tier,
        sampling: Sampling | None,
        traceparent: str | None,
        propagate: bool,
    ) -> None:
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._told = told_at(tier, BY_TIER)
        self._content = content
        self._propagate = propagate
        self._parent = None if traceparent is None else context_of(traceparent)
        self._tracer: trace.Tracer | None = None
        self._ids: Ids | None = None
        self._live: OrderedDict[str, _Live] = OrderedDict()
        self._ended: OrderedDict[str, SpanContext] = OrderedDict()
        self._handover = Handover(self._handle, "otel_observability", at_flush=self._force)
        self._spans = Spans(content, sampling)
        self._instruments = Instruments(metrics.get_meter(_SCOPE, meter_provider=meter_provider), self)

    @property
    def faults(self) -> Any:
        return self._handover.faults

    @property
    def dropped(self) -> int:
        """How many events were never told: their queue was full, or their run too long to be held."""
        return self._handover.dropped + self._spans.dropped

    @property
    def unsampled(self) -> int:
        """How many runs `sampling` left out."""
        return self._spans.unsampled

    def traceparent(self, run_id: str) -> str | None:
        """The W3C context of a run that is under way, or that paused or failed not long ago; None when
        it is not known here."""
        live = self._live.get(run_id)
        found = self._ended.get(run_id) if live is None else live.span.get_span_context()
        return None if found is None or not found.is_valid else traceparent_of(found)

    def link_to(self, run_id: str, traceparent: str) -> None:
        """When the run is resumed here, link it to the span that another process told of it."""
        self._remember(run_id, trace.get_current_span(context_of(traceparent)).get_span_context())

    def wants(self, kind: type[Event], /) -> bool:
        return kind in self._told

    def on_event(self, event: Event, /) -> None:
        act = _ACTS.get(type(event))
        if act is None or self._handover.closed:
            self._handover.put(event)
        else:
            extra = act(self, event)
            self._handover.put(event if extra is None else (event, extra))

    async def flush(self) -> None:
        """Tell everything so far, and have the providers send it."""
        await self._handover.flush()

    async def aclose(self) -> None:
        await self._handover.aclose()

    # --- in the run

    def _begin(self, event: Any) -> _Live:
        around = otel_context.get_current()
        parent = around
        if self._parent is not None and not trace.get_current_span(around).get_span_context().is_valid:
            parent = self._parent
        links = []
        if type(event) is RunResumed and (before := self._ended.pop(event.run_id or "", None)) is not None:
            links.append(Link(before, {n.LINK: "resumed"}))
        span = self._source().start_span(
            f"{n.INVOKE_AGENT} {plain(event.agent)}",
            parent,
            SpanKind.INTERNAL,
            self._spans.first_attributes(event),
            links,
            nanoseconds(event.at),
        )
        below = set_span_in_context(span, parent)
        key = next(key for key, value in below.items() if value is span)
        live = _Live(span, below, around, key)
        self._live[event.run_id] = live
        if len(self._live) > _REMEMBERED:
            # A run whose end was never told: its span must not stay open for ever.
            run_id, lost = self._live.popitem(last=False)
            never = RunFailed(run_id, event.at, None, "unknown", "the end of this run was never told")
            self._handover.put((never, lost))
        if self._propagate:
            otel_context.attach(live.below)
        return live

    def _enter(self, event: Any) -> int | None:
        """Below here the model or the tool works: what it traces must know its span, which is made later."""
        live = self._live.get(event.run_id)
        if live is None or not self._propagate or self._ids is None:
            return None
        span_id = random.getrandbits(64) or 1
        otel_context.attach(Context({**live.below, live.key: Later(live.span, span_id)}))
        return span_id

    def _leave(self, event: Any) -> None:
        live = self._live.get(event.run_id)
        if live is not None and self._propagate:
            otel_context.attach(live.below)

    def _end(self, event: Any) -> _Live | None:
        live = self._live.pop(event.run_id, None)
        if live is not None:
            if type(event) is not RunEnded:
                self._remember(event.run_id, live.span.get_span_context())
            if self._propagate:
                otel_context.attach(live.around)
        return live

    def _remember(self, run_id: str, context: SpanContext) -> None:
        if context.is_valid:
            self._ended[run_id] = context
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)

    def _source(self) -> trace.Tracer:
        if self._tracer is None:
            # Now, not when the recorder was made: a global provider is often set in between.
            tracer = trace.get_tracer(_SCOPE, tracer_provider=self._tracer_provider)
            self._ids = Ids.of(tracer)
            self._spans.use(tracer, self._ids)
            if self._tracer_provider is not None or self._ids is not None:
                self._tracer = tracer
            return tracer
        return self._tracer

    # --- in the thread

    def _handle(self, item: Event | tuple[Event, Any]) -> None:
        event, extra = item if isinstance(item, tuple) else (item, None)
        try:
            self._instruments.on_event(event)
        finally:
            self._spans.on_event(event, extra)

    def _force(self) -> None:
        for provider in (
            self._tracer_provider or trace.get_tracer_provider(),
            self._meter_provider or metrics.get_meter_provider(),
        ):
            force = getattr(provider, "force_flush", None)
            if force is not None:
                force(_FLUSH_MILLIS)


_SCOPE = "agentfootprint"
_FLUSH_MILLIS = 5000

_ACTS: dict[type[Event], Callable[[OTelRecorder, Any], Any]] = {
    RunStarted: OTelRecorder._begin,
    RunResumed: OTelRecorder._begin,
    ModelStarted: OTelRecorder._enter,
    ToolStarted: OTelRecorder._enter,
    ModelEnded: OTelRecorder._leave,
    ModelFailed: OTelRecorder._leave,
    ToolEnded: OTelRecorder._leave,
    RunEnded: OTelRecorder._end,
    RunPaused: OTelRecorder._end,
    RunFailed: OTelRecorder._end,
}
