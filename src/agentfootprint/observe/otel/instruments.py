"""Events counted and measured: the metrics of the conventions, and a few of our own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from ... import events as e
from ..bounded import Bounded
from ..sampling import status_of
from . import names as n

__all__ = ["Instruments"]

_OPEN = 10_000
_VALUES = 200


class _Telling(Protocol):
    @property
    def dropped(self) -> int: ...

    @property
    def unsampled(self) -> int: ...


class _Counts:
    __slots__ = ("agent", "begun", "inferences", "shares", "tools")

    def __init__(self, agent: str, begun: float) -> None:
        self.agent = agent
        self.begun = begun
        self.inferences = 0
        self.tools = 0
        self.shares: dict[str, float | None] = {}


class Instruments:
    """A fold over events. `telling` is asked, when metrics are read, what was lost."""

    def __init__(self, meter: Meter, telling: _Telling) -> None:
        seconds = {"unit": "s", "explicit_bucket_boundaries_advisory": n.SECONDS}
        counts = {"explicit_bucket_boundaries_advisory": n.COUNTS}
        histogram: Any = meter.create_histogram
        self._operation = histogram(n.OPERATION_DURATION, description="GenAI operation duration.", **seconds)
        self._tokens = histogram(
            n.TOKEN_USAGE,
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=n.TOKENS,
        )
        self._first = histogram(n.FIRST_CHUNK, description="Time to receive the first chunk.", **seconds)
        self._agent = histogram(n.AGENT_DURATION, description="Duration of an agent's run.", **seconds)
        self._inferences = histogram(
            n.AGENT_INFERENCES, unit="{call}", description="Model calls of a run.", **counts
        )
        self._tool_calls = histogram(
            n.AGENT_TOOL_CALLS, unit="{call}", description="Tool calls of a run.", **counts
        )
        self._tool = histogram(n.TOOL_DURATION, description="Duration of a tool call.", **seconds)
        self._cost = meter.create_counter(n.COST_TOTAL, "USD", "What models were paid, where it is known.")
        self._budget = histogram(
            n.BUDGET_USED,
            unit="1",
            description="Share of the budget that was used at a run's end.",
            explicit_bucket_boundaries_advisory=n.SHARES,
        )
        self._events = meter.create_counter(n.EVENTS_TOTAL, "{event}", "What stands out, by kind.")
        meter.create_observable_counter(
            n.DROPPED, [_observed(lambda: telling.dropped)], "{event}", "Events that were never told."
        )
        meter.create_observable_counter(
            n.UNSAMPLED, [_observed(lambda: telling.unsampled)], "{run}", "Runs that sampling left out."
        )
        self._asked: OrderedDict[tuple[str | None, str | None], tuple[str, float]] = OrderedDict()
        self._runs: OrderedDict[str, _Counts] = OrderedDict()
        # Names of models and tools come from outside: they cannot make the number of series grow.
        self._model, self._named, self._agents = Bounded(_VALUES), Bounded(_VALUES), Bounded(_VALUES)
        self._measures: dict[type[e.Event], Callable[[Any], None]] = {
            e.RunStarted: self._begun,
            e.RunResumed: self._begun,
            e.RunEnded: self._over,
            e.RunPaused: self._over,
            e.RunFailed: self._over,
            e.ModelStarted: self._asking,
            e.ModelEnded: self._answered,
            e.ModelFailed: self._failed,
            e.ToolEnded: self._called,
            e.CostTicked: self._paid,
            e.RetrievalEnded: self._retrieved,
            e.EmbeddingEnded: self._embedded,
            e.MemoryRecalled: self._memory,
            e.MemoryWritten: self._memory,
            e.MemoryFolded: self._memory,
            e.MemoryFailed: self._memory,
        }

    def on_event(self, event: e.Event) -> None:
        measure = self._measures.get(type(event))
        if measure is not None:
            measure(event)
        elif isinstance(event, STANDING_OUT):
            self._events.add(1, {n.OWN + "event": event.type})

    # --- runs

    def _begun(self, event: e.RunStarted | e.RunResumed) -> None:
        if event.run_id is not None:
            self._runs[event.run_id] = _Counts(self._agents(event.agent), event.at)
            if len(self._runs) > _OPEN:
                self._runs.popitem(last=False)

    def _over(self, event: e.RunEnded | e.RunPaused | e.RunFailed) -> None:
        counts = self._runs.pop(event.run_id or "", None)
        if counts is None:
            return
        common = {n.OPERATION: n.INVOKE_AGENT, n.AGENT_NAME: counts.agent}
        status = {n.RUN_STATUS: status_of(event)}
        if isinstance(event, e.RunFailed):
            status[n.ERROR_TYPE] = event.error
        self._agent.record(max(event.at - counts.begun, 0.0), {**common, **status})
        self._inferences.record(counts.inferences, common)
        self._tool_calls.record(counts.tools, common)
        for budget, share in counts.shares.items():
            if share is not None:
                self._budget.record(share, {n.AGENT_NAME: counts.agent, n.BUDGET: budget})

    # --- models and tools

    def _asking(self, event: e.ModelStarted) -> None:
        self._asked[event.run_id, event.step] = (event.model, event.at)
        if len(self._asked) > _OPEN:
            self._asked.popitem(last=False)
        if (counts := self._runs.get(event.run_id or "")) is not None:
            counts.inferences += 1

    def _answered(self, event: e.ModelEnded) -> None:
        model, _ = self._asked.pop((event.run_id, event.step), (event.model, 0.0))
        labels = self._chat(event.provider, model)
        labels[n.RESPONSE_MODEL] = self._model(event.model)
        self._operation.record(event.duration, labels)
        if event.first_token is not None:
            self._first.record(event.first_token, labels)
        if event.usage is not None and not event.usage.unreported:
            self._tokens.record(event.usage.input_tokens, {**labels, n.TOKEN_TYPE: "input"})
            self._tokens.record(event.usage.output_tokens, {**labels, n.TOKEN_TYPE: "output"})

    def _failed(self, event: e.ModelFailed) -> None:
        model, begun = self._asked.pop((event.run_id, event.step), (event.model, event.at))
        labels = self._chat(event.provider, model)
        labels[n.ERROR_TYPE] = event.error
        self._operation.record(max(event.at - begun, 0.0), labels)

    def _called(self, event: e.ToolEnded) -> None:
        if (counts := self._runs.get(event.run_id or "")) is not None:
            counts.tools += 1
        # A tool that there is not was named by a model.
        name = "_OTHER" if event.outcome == "unknown_tool" else self._named(event.tool)
        labels = {n.OPERATION: n.EXECUTE_TOOL, n.TOOL_NAME: name, n.OUTCOME: event.outcome}
        if event.outcome != "ok":
            labels[n.ERROR_TYPE] = event.outcome
        self._tool.record(event.duration, labels)

    def _paid(self, event: e.CostTicked) -> None:
        if (counts := self._runs.get(event.run_id or "")) is not None:
            counts.shares = {"run": event.budget_used, "window": event.window_used}
        labels = {n.PROVIDER: n.provider_name(event.provider), n.REQUEST_MODEL: self._model(event.model)}
        if event.cost is not None:
            self._cost.add(float(event.cost), {**labels, n.COST_KIND: event.kind})

    def _retrieved(self, event: e.RetrievalEnded) -> None:
        labels = {n.OPERATION: n.RETRIEVAL, n.DATA_SOURCE: self._named(event.corpus)}
        if event.error is not None:
            labels[n.ERROR_TYPE] = event.error
        self._operation.record(event.duration, labels)

    def _embedded(self, event: e.EmbeddingEnded) -> None:
        labels = {
            n.OPERATION: n.EMBEDDINGS,
            n.PROVIDER: n.provider_name(event.provider),
            n.REQUEST_MODEL: self._model(event.model),
        }
        if event.usage is not None and event.usage.input_tokens:
            self._tokens.record(event.usage.input_tokens, {**labels, n.TOKEN_TYPE: "input"})
        if event.error is not None:
            labels[n.ERROR_TYPE] = event.error
        if event.duration is not None:
            self._operation.record(event.duration, labels)

    def _memory(self, event: Any) -> None:
        failed = isinstance(event, e.MemoryFailed)
        if event.duration is not None:
            labels = {n.OPERATION: memory_operation(event), n.MEMORY_STORE: self._named(event.memory)}
            if failed:
                labels[n.ERROR_TYPE] = "memory_failed"
            self._operation.record(event.duration, labels)
        if failed:
            self._events.add(1, {n.OWN + "event": event.type})

    def _chat(self, provider: str, model: str) -> dict[str, Any]:
        return {
            n.OPERATION: n.CHAT,
            n.PROVIDER: n.provider_name(provider),
            n.REQUEST_MODEL: self._model(model),
        }


STANDING_OUT = (
    e.CircuitClosed,
    e.CircuitOpened,
    e.CircuitProbed,
    e.ConversationFailed,
    e.GuardrailTripped,
    e.HistoryHealed,
    e.LimitReached,
    e.ModelFellBack,
    e.ModelGaveUp,
    e.ModelRetried,
    e.OutputFellBack,
    e.OutputRejected,
    e.RateLimitWaited,
    e.StateDegraded,
    e.StateRecovered,
)


def memory_operation(event: Any) -> str:
    """What a memory did, in the conventions' words."""
    if isinstance(event, e.MemoryRecalled):
        return n.SEARCH_MEMORY
    if isinstance(event, e.MemoryWritten):
        return n.UPSERT_MEMORY
    if isinstance(event, e.MemoryFolded):
        return n.UPDATE_MEMORY
    known = {"recall": n.SEARCH_MEMORY, "remember": n.UPSERT_MEMORY, "fold": n.UPDATE_MEMORY}
    return known[event.operation]


def _observed(read: Callable[[], int]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda options: [Observation(read())]
