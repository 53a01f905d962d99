"""Runs as OpenTelemetry spans and metrics (`pip install 'agentfootprint[otel]'`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from ...errors import MissingExtra
from ..content import Content
from ..sampling import Sampling
from ..tiers import Tier, check_tier

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from .recorder import OTelRecorder

__all__ = ["incoming_trace", "otel_observability", "outgoing_trace"]


def otel_observability(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    content: bool = False,
    redact: Callable[[str], str] | None = None,
    tier: Tier = "standard",
    sampling: Sampling | None = None,
    traceparent: str | None = None,
    propagate: bool = True,
) -> OTelRecorder:
    """A recorder that tells runs as OpenTelemetry spans and metrics, by the conventions for generative AI.

    A run is an `invoke_agent` span; its models, tools and memories are spans below it, decisions,
    retries and limits are events of them. A run that starts within an active span becomes its child, and
    what a tool or a provider's library traces becomes a child of the tool's or the model's span. A run
    that is resumed is a new span with a link to the one that paused.

    Args:
        tracer_provider, meter_provider: where to; those that are set globally unless given. They belong
            to the caller: `aclose()` flushes them and leaves them open.
        content: also tell what users and tools said, and the texts of errors. Off: names, counts, times.
        redact: sees every such text first, and returns what may be told of it.
        tier: how much: `"minimal"`, `"standard"` or `"everything"`.
        sampling: which runs' spans are told, decided when they have ended; metrics count every run.
        traceparent: W3C context of the parent of runs that start within no span.
        propagate: make the span of a run, model call or tool the current one while it works.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
        ConfigurationError: the tier is unknown.
    """
    check_tier(tier)
    with _extra("otel_observability"):
        from .recorder import OTelRecorder
    return OTelRecorder(
        tracer_provider,
        meter_provider,
        Content(content, redact),
        tier,
        sampling,
        traceparent,
        propagate,
    )


def incoming_trace(carrier: str | Mapping[str, str]) -> AbstractContextManager[None]:
    """`with incoming_trace(request.headers):` makes runs that start inside children of the caller's span.

    Args:
        carrier: a W3C `traceparent`, or the headers of a request, `tracestate` included. Headers without
            one, or with one that cannot be read, change nothing.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """
    with _extra("incoming_trace"):
        from .context import incoming
    return incoming(carrier)


def outgoing_trace() -> dict[str, str]:
    """Headers that carry the current span to another service: within a tool its own, within a run the
    run's. Empty where nothing is traced.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """
    with _extra("outgoing_trace"):
        from .context import outgoing
    return outgoing()


@contextmanager
def _extra(what: str) -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise MissingExtra(what, "otel") from None
