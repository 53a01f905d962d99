"""The metrics there are: names, what they say, and labels."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily

from ...errors import ConfigurationError

__all__ = ["Metrics"]

PREFIX = "agentfootprint_"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_STORE = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNTS = (1, 2, 3, 5, 8, 13, 20, 30, 50, 100)
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 1, 2)
_DOLLARS = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 50)

_COUNTERS = {
    "runs": ("Runs by how they ended.", "agent status tenant"),
    "iterations": ("Turns of the loop: answers of the model.", "agent"),
    "model_calls": ("Calls of models, `error` empty where they answered.", "provider model error"),
    "model_calls_unreported": (
        "Answers whose vendor did not report their tokens.",
        "provider model",
    ),
    "tokens": (
        "Tokens; cached and reasoning ones are in input and output.",
        "provider model type tenant",
    ),
    "cost_usd": ("What priced calls cost, in US dollars, where it is known.", "kind provider model tenant"),
    "cost_unknown": ("Calls that should have a price and have none that is known.", "kind provider model"),
    "tool_calls": ("Tool calls by how they ended.", "tool outcome"),
    "memory_operations": ("What memories did, and whether it worked.", "memory operation status"),
    "retrievals": ("Searches of corpora, `error` empty where they worked.", "corpus error"),
    "embeddings": ("Calls of embedders, `error` empty where they worked.", "provider model error"),
    "conversation_saves": ("Turns that joined their conversation, or could not.", "status"),
    "retries": ("Attempts that failed and were repeated.", "provider model error"),
    "giving_up": (
        "Errors that were not retried, by what ran out.",
        "provider model reason",
    ),
    "fallbacks": ("Calls that another provider was asked instead.", "provider model to_provider to_model"),
    "circuit_transitions": ("Changes of circuit breakers.", "circuit to"),
    "rate_limit_waits": ("Calls that waited for room in our own rate limit.", "limiter"),
    "rate_limit_wait_seconds": ("Time that calls waited for room in our own rate limit.", "limiter"),
    "limits_reached": ("Limits of runs that were reached, budgets among them.", "limit"),
    "decisions": ("What followed a model's answer, and why.", "choice rule"),
    "permissions": ("What the permission policy said of calls.", "tool verdict"),
    "guardrails_tripped": ("Runs that a guardrail stopped.", "guardrail stage"),
    "outputs_rejected": ("Answers that did not fit their type.", ""),
    "output_fallbacks": ("Answers that something else stood in for.", "tier status"),
    "histories_healed": ("Conversations that were made whole.", ""),
    "context_slots": ("Slots in front of the model that were built anew.", "slot"),
    "emitted": ("What flows and tools emitted.", "name"),
    "tool_progress": ("What tools said while they worked.", "tool"),
}
_HISTOGRAMS = {
    "run_duration_seconds": ("Time of a run, up to its end or pause.", "agent status", _SECONDS),
    "run_iterations": ("Turns of the loop in a run.", "agent", _COUNTS),
    "run_cost_usd": ("Cost of a run across its pauses, in US dollars, where it is known.", "agent", _DOLLARS),
    "budget_used_ratio": (
        "Share of the budget that was used at a run's end: of the run's own, of the tightest window.",
        "agent budget tenant",
        _SHARES,
    ),
    "model_duration_seconds": ("Time of a model's whole answer.", "provider model", _SECONDS),
    "model_first_token_seconds": (
        "Time to a streamed answer's first piece.",
        "provider model",
        _SECONDS,
    ),
    "tool_duration_seconds": ("Time of a tool call.", "tool", _SECONDS),
    "memory_duration_seconds": ("Time of what a memory did, its store included.", "memory operation", _STORE),
    "conversation_save_duration_seconds": ("Time to join a turn to its conversation.", "status", _STORE),
    "retrieval_duration_seconds": ("Time of a search of a corpus, embedding included.", "corpus", _STORE),
    "retrieval_passages": ("Passages that a search of a corpus found.", "corpus", (0, *_COUNTS)),
    "embedding_duration_seconds": (
        "Time of a call of an embedder, attempts included.",
        "provider model",
        _STORE,
    ),
    "step_duration_seconds": ("Time of a step of the flow.", "node status", _STORE),
}
_GAUGES = {
    "runs_active": ("Runs under way.", "agent", "livesum"),
    "circuit_state": ("Circuit breakers: 0 closed, 1 half-open, 2 open.", "circuit", "livemax"),
    "state_degraded": ("Whether what instances share is out of reach: 1 or 0.", "what", "livemax"),
}


class _Dropping(Protocol):
    @property
    def dropped(self) -> int: ...


class Metrics:
    """The metrics of one registry, shared by the recorders that tell there."""

    def __init__(self, registry: CollectorRegistry, tenants: bool) -> None:
        self.tenants = tenants
        self.recorders: weakref.WeakSet[Any] = weakref.WeakSet()
        self.all: dict[str, Any] = {}
        for name, (text, labels) in _COUNTERS.items():
            self.all[name] = Counter(PREFIX + name, text, self._labels(labels), registry=registry)
        for name, (text, labels, buckets) in _HISTOGRAMS.items():
            self.all[name] = Histogram(
                PREFIX + name, text, self._labels(labels), registry=registry, buckets=buckets
            )
        for name, (text, labels, mode) in _GAUGES.items():
            self.all[name] = Gauge(
                PREFIX + name, text, self._labels(labels), registry=registry, multiprocess_mode=_mode(mode)
            )
        registry.register(self)

    def _labels(self, labels: str) -> list[str]:
        return [each for each in labels.split() if each != "tenant" or self.tenants]

    def collect(self) -> Iterator[CounterMetricFamily]:
        lost = sum(recorder.dropped for recorder in self.recorders)
        yield CounterMetricFamily(
            PREFIX + "telemetry_dropped_events", "Events that were never counted: their queue was full.", lost
        )

    @classmethod
    def of(cls, registry: CollectorRegistry, tenants: bool, recorder: _Dropping) -> Metrics:
        found = _made.get(registry)
        if found is None:
            try:
                found = _made[registry] = cls(registry, tenants)
            except ValueError as error:
                raise ConfigurationError(f"this registry cannot hold the metrics: {error}") from None
        if found.tenants != tenants:
            raise ConfigurationError(
                "another recorder tells this registry the same metrics with other labels: use the same "
                "tenant_label= for both, or a registry for each"
            )
        found.recorders.add(recorder)
        return found


def _mode(name: str) -> Any:
    return name  # The library wants a literal, and the table above is one.


_made: weakref.WeakKeyDictionary[CollectorRegistry, Metrics] = weakref.WeakKeyDictionary()
