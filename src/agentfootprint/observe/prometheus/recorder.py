"""Events folded into metrics, in a thread behind the runs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from ... import events as e
from ...messages import Usage
from ..bounded import Bounded
from ..handover import Handover
from ..sampling import status_of
from ..tiers import Tier, told_at
from .metrics import Metrics

__all__ = ["BY_TIER", "IGNORED", "PrometheusRecorder"]

BY_TIER: Mapping[Tier, tuple[type[e.Event], ...]] = {
    "minimal": (
        e.RunStarted,
        e.RunResumed,
        e.RunPaused,
        e.RunEnded,
        e.RunFailed,
        e.CircuitClosed,
        e.CircuitOpened,
        e.CircuitProbed,
        e.ConversationFailed,
        e.GuardrailTripped,
        e.LimitReached,
        e.MemoryFailed,
        e.ModelFailed,
        e.ModelGaveUp,
        e.StateDegraded,
        e.StateRecovered,
    ),
    "standard": (
        e.ModelEnded,
        e.ModelRetried,
        e.ModelFellBack,
        e.RateLimitWaited,
        e.CostTicked,
        e.RouteDecided,
        e.PermissionDecided,
        e.ToolEnded,
        e.MemoryRecalled,
        e.MemoryWritten,
        e.MemoryFolded,
        e.RetrievalEnded,
        e.EmbeddingEnded,
        e.HistoryHealed,
        e.ConversationSaved,
        e.OutputRejected,
        e.OutputFellBack,
    ),
    "everything": (e.ContextPrepared, e.StepEnded, e.ToolProgress, e.Emitted),
}
"""From which tier on an event is counted."""

IGNORED = (e.ModelStarted, e.ToolStarted, e.TextDelta, e.ReasoningDelta, e.ToolCallDrafted)
"""What begins is counted when it has ended; pieces of answers are counted by their model."""

_OPEN = 10_000
_VALUES = 200


class _Run:
    __slots__ = ("agent", "begun", "iterations", "shares", "tenant")

    def __init__(self, agent: str, tenant: str, begun: float) -> None:
        self.agent = agent
        self.tenant = tenant
        self.begun = begun
        self.iterations = 0
        self.shares: dict[str, float | None] = {}


class PrometheusRecorder:
    """See `agentfootprint.observe.prometheus_observability`."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4
    """Of what `exposition()` gives."""

    def __init__(
        self, registry: CollectorRegistry | None, tenants: bool, max_tenants: int, tier: Tier
    ) -> None:
        self.registry = registry if registry is not None else REGISTRY
        self._told = told_at(tier, BY_TIER)
        self._handover = Handover(self._handle, "prometheus_observability")
        metrics = Metrics.of(self.registry, tenants, self)
        self._metrics = metrics.all
        self._tenants = metrics.tenants
        self._tenant = Bounded(max_tenants)
        self._bounded: dict[str, Bounded] = {}
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._folds: Mapping[type[e.Event], Callable[[Any], None]] = {
            e.RunStarted: self._begun,
            e.RunResumed: self._begun,
            e.RunEnded: self._over,
            e.RunPaused: self._over,
            e.RunFailed: self._over,
            e.ModelEnded: self._answered,
            e.RouteDecided: self._routed,
            e.CostTicked: self._paid,
            e.EmbeddingEnded: self._embedded,
            e.MemoryRecalled: self._memory,
            e.MemoryWritten: self._memory,
            e.MemoryFolded: self._memory,
            e.MemoryFailed: self._memory,
        }

    @property
    def faults(self) -> Any:
        return self._handover.faults

    @property
    def dropped(self) -> int:
        """How many events were never counted."""
        return self._handover.dropped

    def exposition(self) -> bytes:
        """The registry's metrics as the text that Prometheus reads. What happened within the last quarter of
        a second may be missing; `await flush()` first where it matters."""
        return generate_latest(self.registry)

    def wants(self, kind: type[e.Event], /) -> bool:
        return kind in self._told

    def on_event(self, event: e.Event, /) -> None:
        self._handover.put(event)

    async def flush(self) -> None:
        await self._handover.flush()

    async def aclose(self) -> None:
        await self._handover.aclose()

    # --- in the thread

    def _handle(self, event: e.Event) -> None:
        fold = self._folds.get(type(event))
        if fold is not None:
            fold(event)
        else:
            _simple(self, event)

    def add(self, metric: str, value: float = 1, /, **labels: str | None) -> None:
        self._of(metric, labels).inc(value)

    def measure(self, metric: str, value: float, /, **labels: str | None) -> None:
        self._of(metric, labels).observe(value)

    def set(self, metric: str, value: float, /, **labels: str | None) -> None:
        self._of(metric, labels).set(value)

    def _of(self, metric: str, labels: Mapping[str, str | None]) -> Any:
        found = self._metrics[metric]
        if not labels:
            return found
        return found.labels(**{name: self._label(name, value) for name, value in labels.items()})

    def _label(self, name: str, value: str | None) -> str:
        if name == "tenant":
            return value or ""  # Bounded already, by its own limit.
        bounded = self._bounded.get(name)
        if bounded is None:
            bounded = self._bounded[name] = Bounded(_VALUES)
        return bounded(value)

    # --- runs

    def _begun(self, event: e.RunStarted | e.RunResumed) -> None:
        if event.run_id is None:
            return
        self.add("runs_active", agent=event.agent)
        tenant = event.identity.tenant if self._tenants and event.identity is not None else None
        self._runs[event.run_id] = _Run(event.agent, self._tenant(tenant), event.at)
        if len(self._runs) > _OPEN:
            _, lost = self._runs.popitem(last=False)
            self.add("runs_active", -1, agent=lost.agent)

    def _over(self, event: e.RunEnded | e.RunPaused | e.RunFailed) -> None:
        run = self._runs.pop(event.run_id or "", None)
        if run is None:
            return
        status = status_of(event)
        self.add("runs_active", -1, agent=run.agent)
        self.add("runs", agent=run.agent, status=status, **self._of_tenant(run))
        self.measure("run_duration_seconds", max(event.at - run.begun, 0.0), agent=run.agent, status=status)
        self.measure("run_iterations", run.iterations, agent=run.agent)
        if isinstance(event, e.RunEnded) and event.cost is not None:
            self.measure("run_cost_usd", event.cost, agent=run.agent)
        for budget, share in run.shares.items():
            if share is not None:
                which = {"agent": run.agent, "budget": budget, **self._of_tenant(run)}
                self.measure("budget_used_ratio", share, **which)

    def _routed(self, event: e.RouteDecided) -> None:
        self.add("decisions", choice=event.choice, rule=event.rule)
        run = self._runs.get(event.run_id or "")
        if run is not None:
            run.iterations += 1
            self.add("iterations", agent=run.agent)

    def _of_tenant(self, run: _Run | None) -> dict[str, str]:
        if not self._tenants:
            return {}
        return {"tenant": "" if run is None else run.tenant}

    # --- models and memories

    def _answered(self, event: e.ModelEnded) -> None:
        which = {"provider": event.provider, "model": event.model}
        run = self._runs.get(event.run_id or "")
        self.add("model_calls", **which, error="")
        self.measure("model_duration_seconds", event.duration, **which)
        if event.first_token is not None:
            self.measure("model_first_token_seconds", event.first_token, **which)
        if event.usage is None or event.usage.unreported:
            self.add("model_calls_unreported", **which)
        if event.usage is not None:
            for kind, count in _tokens(event.usage):
                if count:
                    self.add("tokens", count, **which, type=kind, **self._of_tenant(run))

    def _paid(self, event: e.CostTicked) -> None:
        which = {"kind": event.kind, "provider": event.provider, "model": event.model}
        run = self._runs.get(event.run_id or "")
        if run is not None:
            run.shares = {"run": event.budget_used, "window": event.window_used}
        if event.cost is None:
            self.add("cost_unknown", **which)
        else:
            self.add("cost_usd", float(event.cost), **which, **self._of_tenant(run))

    def _embedded(self, event: e.EmbeddingEnded) -> None:
        which = {"provider": event.provider, "model": event.model}
        self.add("embeddings", **which, error=event.error or "")
        if event.duration is not None:
            self.measure("embedding_duration_seconds", event.duration, **which)
        if event.usage is not None and event.usage.input_tokens:
            run = self._runs.get(event.run_id or "")
            labels = {**which, "type": "embedding", **self._of_tenant(run)}
            self.add("tokens", event.usage.input_tokens, **labels)

    def _memory(self, event: Any) -> None:
        failed = isinstance(event, e.MemoryFailed)
        which = {"memory": event.memory, "operation": event.operation if failed else _DONE[type(event)]}
        self.add("memory_operations", **which, status="failed" if failed else "ok")
        if event.duration is not None:
            self.measure("memory_duration_seconds", event.duration, **which)


def _simple(to: PrometheusRecorder, event: e.Event) -> None:
    """Events that are one count each."""
    match event:
        case e.ModelFailed(provider=provider, model=model, error=error):
            to.add("model_calls", provider=provider, model=model, error=error)
        case e.ModelRetried(provider=provider, model=model, error=error):
            to.add("retries", provider=provider, model=model, error=error)
        case e.ModelGaveUp(provider=provider, model=model, reason=reason):
            to.add("giving_up", provider=provider, model=model, reason=reason)
        case e.ModelFellBack():
            labels = {"to_provider": event.to_provider, "to_model": event.to_model}
            to.add("fallbacks", provider=event.provider, model=event.model, **labels)
        case e.CircuitOpened() | e.CircuitProbed() | e.CircuitClosed():
            state, name = _CIRCUIT[type(event)]
            to.set("circuit_state", state, circuit=event.circuit)
            to.add("circuit_transitions", circuit=event.circuit, to=name)
        case e.RateLimitWaited(limiter=limiter, seconds=seconds):
            to.add("rate_limit_waits", limiter=limiter)
            to.add("rate_limit_wait_seconds", seconds, limiter=limiter)
        case e.StateDegraded(what=what) | e.StateRecovered(what=what):
            to.set("state_degraded", float(isinstance(event, e.StateDegraded)), what=what)
        case e.ToolEnded():
            # A tool that there is not was named by a model.
            tool = "unknown" if event.outcome == "unknown_tool" else event.tool
            to.add("tool_calls", tool=tool, outcome=event.outcome)
            to.measure("tool_duration_seconds", event.duration, tool=tool)
        case e.RetrievalEnded(corpus=corpus, error=error):
            to.add("retrievals", corpus=corpus, error=error or "")
            to.measure("retrieval_duration_seconds", event.duration, corpus=corpus)
            if error is None:
                to.measure("retrieval_passages", event.passages, corpus=corpus)
        case e.LimitReached(limit=limit):
            to.add("limits_reached", limit=limit)
        case e.PermissionDecided(tool=tool, verdict=verdict):
            to.add("permissions", tool=tool, verdict=verdict)
        case e.GuardrailTripped(guardrail=guardrail, stage=stage):
            to.add("guardrails_tripped", guardrail=guardrail, stage=stage)
        case e.OutputRejected():
            to.add("outputs_rejected")
        case e.OutputFellBack(tier=tier, failed=failed):
            to.add("output_fallbacks", tier=tier, status="ok" if failed is None else "failed")
        case e.HistoryHealed():
            to.add("histories_healed")
        case e.ConversationSaved() | e.ConversationFailed():
            status = "ok" if isinstance(event, e.ConversationSaved) else "failed"
            to.add("conversation_saves", status=status)
            if event.duration is not None:
                to.measure("conversation_save_duration_seconds", event.duration, status=status)
        case e.ContextPrepared(slots=slots):
            for slot in slots:
                to.add("context_slots", slot=slot)
        case e.StepEnded(node=node, status=status, duration=duration):
            to.measure("step_duration_seconds", duration, node=node, status=status)
        case e.ToolProgress(tool=tool):
            to.add("tool_progress", tool=tool)
        case e.Emitted(name=name):
            to.add("emitted", name=name)


_DONE = {e.MemoryRecalled: "recall", e.MemoryWritten: "remember", e.MemoryFolded: "fold"}
_CIRCUIT = {
    e.CircuitClosed: (0.0, "closed"),
    e.CircuitProbed: (1.0, "half_open"),
    e.CircuitOpened: (2.0, "open"),
}


def _tokens(usage: Usage) -> tuple[tuple[str, int], ...]:
    return (
        ("input", usage.input_tokens),
        ("output", usage.output_tokens),
        ("cache_read", usage.cache_read_tokens),
        ("cache_write", usage.cache_write_tokens),
        ("reasoning", usage.reasoning_tokens),
    )
