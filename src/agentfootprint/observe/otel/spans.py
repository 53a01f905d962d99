"""Events folded into spans, after the fact: nothing is held open where the run could leave it open."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from ... import events as e
from ...messages import Usage
from ..content import Content, plain
from ..sampling import Sampling, in_trouble, status_of
from ..tiers import Tier
from . import names as n
from .context import Ids, Later
from .instruments import memory_operation

__all__ = ["BY_TIER", "IGNORED", "Spans", "nanoseconds"]

BY_TIER: Mapping[Tier, tuple[type[e.Event], ...]] = {
    "minimal": (
        e.RunStarted,
        e.RunResumed,
        e.RunPaused,
        e.RunEnded,
        e.RunFailed,
        e.CircuitClosed,
        e.CircuitOpened,
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
        e.ModelStarted,
        e.ModelEnded,
        e.ModelRetried,
        e.ModelFellBack,
        e.CircuitProbed,
        e.RateLimitWaited,
        e.CostTicked,
        e.RouteDecided,
        e.PermissionDecided,
        e.ToolStarted,
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
"""From which tier on an event is told."""

IGNORED = (e.TextDelta, e.ReasoningDelta, e.ToolCallDrafted)
"""Pieces of answers: their count and the time of the first stand at the model's span."""

_OPEN = 10_000
_HELD = 10_000
_TEXTS = frozenset({"message", "reason", "failed", "problems", "data"})
_COMMON = frozenset({"run_id", "at", "step"})


def nanoseconds(at: float) -> int:
    return int(at * 1_000_000_000)


class _Child:
    """A span below a run's, while what it tells of goes on and until it is made."""

    __slots__ = (
        "attributes",
        "begun",
        "ended",
        "error",
        "events",
        "kind",
        "name",
        "parent_id",
        "said",
        "span_id",
    )

    def __init__(
        self, name: str, kind: SpanKind, begun: int, attributes: dict[str, Any], span_id: int | None = None
    ) -> None:
        self.name = name
        self.kind = kind
        self.begun = begun
        self.attributes = attributes
        self.span_id = span_id
        self.parent_id: int | None = None
        self.ended = begun
        self.events: list[tuple[str, dict[str, Any], int]] = []
        self.error: str | None = None
        self.said: str | None = None


class _Run:
    __slots__ = ("begun", "context", "held", "models", "root", "tools", "trouble")

    def __init__(self, root: Span, context: Any, begun: float, holds: bool) -> None:
        self.root = root
        self.context = context
        self.begun = begun
        self.models: dict[str | None, _Child] = {}
        self.tools: dict[str, _Child] = {}
        self.held: list[_Child] | None = [] if holds else None
        self.trouble = False


class Spans:
    """A fold over the events of all runs, each by its id: any number of runs at once."""

    def __init__(self, content: Content, sampling: Sampling | None) -> None:
        self.dropped = 0
        self.unsampled = 0
        self._content = content
        self._sampling = sampling
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._tracer: Tracer | None = None
        self._ids: Ids | None = None

    def use(self, tracer: Tracer, ids: Ids | None) -> None:
        self._tracer = tracer
        self._ids = ids

    def first_attributes(self, event: e.RunStarted | e.RunResumed) -> dict[str, Any]:
        """What a run's span has from its beginning, so that samplers can see it."""
        attributes: dict[str, Any] = {
            n.OPERATION: n.INVOKE_AGENT,
            n.AGENT_NAME: event.agent,
            n.RUN_ID: event.run_id or "",
        }
        if event.identity is not None:
            tenant, _, conversation = event.identity.parts
            if conversation is not None:
                attributes[n.CONVERSATION_ID] = conversation
            if tenant is not None:
                attributes[n.TENANT] = tenant
        if isinstance(event, e.RunResumed):
            attributes[n.RESUMED] = True
        elif (said := self._content.message("user", event.input)) is not None:
            attributes[n.INPUT_MESSAGES] = said
        return attributes

    def on_event(self, event: e.Event, extra: Any) -> None:
        """`extra` is what the run's side made of it: its span at the beginning, the id of a later span."""
        if event.run_id is None:
            return  # Of no run, so of no span; it is counted.
        if isinstance(event, (e.RunStarted, e.RunResumed)):
            span = extra.span
            if span.is_recording():
                self._runs[event.run_id] = _Run(span, extra.below, event.at, self._sampling is not None)
            return
        run = self._runs.get(event.run_id)
        if run is None:
            return
        run.trouble |= in_trouble(event)
        match event:
            case e.RunEnded() | e.RunPaused() | e.RunFailed():
                del self._runs[event.run_id]
                self._over(run, event)
            case e.ModelStarted():
                self._asking(run, event, extra)
            case e.ModelEnded() | e.ModelFailed():
                self._answered(run, event)
            case e.ToolStarted():
                self._calling(run, event, extra)
            case e.ToolEnded():
                self._called(run, event)
            case e.MemoryRecalled() | e.MemoryWritten() | e.MemoryFolded() | e.MemoryFailed():
                self._memory(run, event)
            case e.CostTicked():
                shares = {n.RUN_BUDGET_USED: event.budget_used, n.WINDOW_BUDGET_USED: event.window_used}
                run.root.set_attributes({name: share for name, share in shares.items() if share is not None})
                self._mark(run, event)
            case e.RetrievalEnded():
                self._retrieval(run, event)
            case e.EmbeddingEnded():
                self._embedding(run, event)
            case e.StepEnded():
                self._step(run, event)
            case _:
                self._mark(run, event)

    # --- models

    def _asking(self, run: _Run, event: e.ModelStarted, span_id: int | None) -> None:
        attributes: dict[str, Any] = {
            n.OPERATION: n.CHAT,
            n.PROVIDER: n.provider_name(event.provider),
            n.REQUEST_MODEL: event.model,
            n.MESSAGES: event.messages,
            n.TOOLS: event.tools,
            n.STEP: event.step or "",
        }
        if event.streamed:
            attributes[n.REQUEST_STREAM] = True
        name = f"{n.CHAT} {event.model}"
        child = _Child(name, SpanKind.CLIENT, nanoseconds(event.at), attributes, span_id)
        run.models[event.step] = child

    def _answered(self, run: _Run, event: e.ModelEnded | e.ModelFailed) -> None:
        child = run.models.pop(event.step, None)
        if child is None:
            if isinstance(event, e.ModelFailed):
                self._mark(run, event)
            return
        if isinstance(event, e.ModelFailed):
            child.error = event.error
            child.said = self._content.text(event.message)
        else:
            child.attributes |= _answer(event)
        self._made(run, child, event.at)

    # --- tools

    def _calling(self, run: _Run, event: e.ToolStarted, span_id: int | None) -> None:
        attributes: dict[str, Any] = {
            n.OPERATION: n.EXECUTE_TOOL,
            n.TOOL_NAME: event.tool,
            n.TOOL_TYPE: "function",
            n.TOOL_CALL_ID: event.call_id,
            n.STEP: event.step or "",
        }
        if (shown := self._content.data(event.arguments)) is not None:
            attributes[n.TOOL_ARGUMENTS] = shown
        name = f"{n.EXECUTE_TOOL} {event.tool}"
        child = _Child(name, SpanKind.INTERNAL, nanoseconds(event.at), attributes, span_id)
        run.tools[event.call_id] = child

    def _called(self, run: _Run, event: e.ToolEnded) -> None:
        child = run.tools.pop(event.call_id, None)
        if child is None:
            # A call that was closed without being run.
            attributes = {
                n.TOOL_NAME: plain(event.tool),
                n.TOOL_CALL_ID: plain(event.call_id),
                n.OUTCOME: event.outcome,
            }
            run.root.add_event(n.OWN + event.type, attributes, nanoseconds(event.at))
            return
        child.attributes[n.OUTCOME] = event.outcome
        if (shown := self._content.text(event.result)) is not None:
            child.attributes[n.TOOL_RESULT] = shown
        if event.outcome != "ok":
            child.error = event.outcome
        self._made(run, child, event.at)

    # --- memories and steps

    def _memory(self, run: _Run, event: Any) -> None:
        operation = memory_operation(event)
        attributes: dict[str, Any] = {
            n.OPERATION: operation,
            n.MEMORY_STORE: event.memory,
            n.STEP: event.step or "",
        }
        if isinstance(event, e.MemoryRecalled):
            attributes[n.MEMORY_COUNT] = event.entries
        elif isinstance(event, e.MemoryWritten):
            attributes[n.MEMORY_RECORD] = event.entry
        elif isinstance(event, e.MemoryFolded):
            attributes[n.TURNS] = event.turns
        begun = nanoseconds(event.at - (event.duration or 0.0))
        child = _Child(operation, SpanKind.CLIENT, begun, attributes)
        if isinstance(event, e.MemoryFailed):
            child.error = "memory_failed"
            child.said = self._content.text(event.message)
        self._made(run, child, event.at)

    def _retrieval(self, run: _Run, event: e.RetrievalEnded) -> None:
        attributes: dict[str, Any] = {
            n.OPERATION: n.RETRIEVAL,
            n.DATA_SOURCE: event.corpus,
            n.RETRIEVAL_TOP_K: event.top_k,
            n.PASSAGES: event.passages,
            n.STEP: event.step or "",
        }
        self._searching(run, event, f"{n.RETRIEVAL} {event.corpus}", attributes)

    def _embedding(self, run: _Run, event: e.EmbeddingEnded) -> None:
        attributes: dict[str, Any] = {
            n.OPERATION: n.EMBEDDINGS,
            n.PROVIDER: n.provider_name(event.provider),
            n.REQUEST_MODEL: event.model,
            n.TEXTS: event.texts,
            n.STEP: event.step or "",
        }
        if event.dimensions is not None:
            attributes[n.EMBEDDING_DIMENSIONS] = event.dimensions
        if event.usage is not None and not event.usage.unreported:
            attributes[n.INPUT_TOKENS] = event.usage.input_tokens
        self._searching(run, event, f"{n.EMBEDDINGS} {event.model}", attributes)

    def _searching(self, run: _Run, event: Any, name: str, attributes: dict[str, Any]) -> None:
        """What is told when it has ended; below the tool that did it, if one did."""
        begun = nanoseconds(event.at - (event.duration or 0.0))
        child = _Child(name, SpanKind.CLIENT, begun, attributes)
        child.error = event.error
        tools = (each for each in run.tools.values() if each.attributes[n.STEP] == event.step)
        if (tool := next(tools, None)) is not None and tool.span_id is not None:
            child.parent_id = tool.span_id
        self._made(run, child, event.at)

    def _step(self, run: _Run, event: e.StepEnded) -> None:
        begun = nanoseconds(event.at - event.duration)
        attributes = {n.STEP: event.step or "", n.OWN + "step.status": event.status}
        child = _Child(f"step {event.node}", SpanKind.INTERNAL, begun, attributes)
        self._made(run, child, event.at)

    # --- marks: what is told as an event of a span

    def _mark(self, run: _Run, event: e.Event) -> None:
        name = n.OWN + event.type
        attributes = self._fields(event)
        at = nanoseconds(event.at)
        call: str | None = getattr(event, "call_id", None)
        child = run.tools.get(call) if call is not None else run.models.get(event.step)
        if child is None:
            run.root.add_event(name, attributes, at)
        else:
            child.events.append((name, attributes, at))

    def _fields(self, event: e.Event) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in (field.name for field in fields(event)):
            if name in _COMMON:
                continue
            value = getattr(event, name)
            if name in _TEXTS:
                value = self._content.text(value) if isinstance(value, str) else self._content.data(value)
            elif isinstance(value, Usage):
                value = value.total_tokens
            if value is not None:
                found[n.OWN + name] = plain(value)
        return found

    # --- making spans

    def _made(self, run: _Run, child: _Child, at: float) -> None:
        child.ended = max(nanoseconds(at), child.begun)
        if run.held is None:
            self._make(run, child)
        elif len(run.held) < _HELD:
            run.held.append(child)
        else:
            self.dropped += 1

    def _make(self, run: _Run, child: _Child) -> None:
        assert self._tracer is not None
        if self._ids is not None:
            self._ids.give(child.span_id)
        attributes = {name: plain(value) for name, value in child.attributes.items()}
        context = run.context
        if child.parent_id is not None:
            context = set_span_in_context(Later(run.root, child.parent_id), context)
        span = self._tracer.start_span(
            plain(child.name), context, child.kind, attributes, start_time=child.begun
        )
        for name, attributes, at in child.events:
            span.add_event(name, attributes, at)
        if child.error is not None:
            _failed(span, child.error, child.said)
        span.end(child.ended)

    def _over(self, run: _Run, event: e.RunEnded | e.RunPaused | e.RunFailed) -> None:
        status = status_of(event)
        for child in (*run.models.values(), *run.tools.values()):
            # Its own end was not told: the run was cut off there, or waits for a person.
            child.attributes[n.OUTCOME] = status
            if isinstance(event, e.RunFailed):
                child.error = event.error
            elif isinstance(event, e.RunEnded):
                child.error = event.reason or status  # such as the deadline
            self._made(run, child, event.at)
        if run.held is not None:
            assert self._sampling is not None
            took = event.at - run.begun
            if not self._sampling.keeps(event.run_id or "", trouble=run.trouble, took=took):
                self.unsampled += 1
                return  # The run's own span is not ended, so nobody ever sees it.
            for child in run.held:
                self._make(run, child)
        self._end(run.root, event, status)

    def _end(self, root: Span, event: e.RunEnded | e.RunPaused | e.RunFailed, status: str) -> None:
        root.set_attribute(n.RUN_STATUS, status)
        if isinstance(event, e.RunEnded):
            root.set_attributes(_tokens(event.usage))
            if event.cost is not None:
                root.set_attribute(n.COST, event.cost)
            if event.reason is not None:
                root.set_attribute(n.RUN_REASON, event.reason)
        elif isinstance(event, e.RunPaused):
            asked = {n.OWN + "asks": list(event.asks)}
            shown = [self._content.text(question) for question in event.questions]
            if texts := [text for text in shown if text is not None]:
                asked[n.OWN + "questions"] = texts
            root.add_event(n.OWN + event.type, asked, nanoseconds(event.at))
        else:
            _failed(root, event.error, self._content.text(event.message))
        root.end(nanoseconds(event.at))


def _failed(span: Span, error: str, said: str | None) -> None:
    span.set_attribute(n.ERROR_TYPE, error)
    span.set_status(Status(StatusCode.ERROR, said or error))


def _answer(event: e.ModelEnded) -> dict[str, Any]:
    found: dict[str, Any] = {
        n.RESPONSE_MODEL: event.model,
        n.FINISH_REASONS: (n.finish_reason(event.stop_reason),),
        n.TOOL_CALLS: event.tool_calls,
    }
    if event.first_token is not None:
        found[n.TIME_TO_FIRST_CHUNK] = event.first_token
    if event.usage is not None:
        found |= _tokens(event.usage)
    return found


def _tokens(usage: Usage) -> dict[str, Any]:
    found: dict[str, Any] = {n.INPUT_TOKENS: usage.input_tokens, n.OUTPUT_TOKENS: usage.output_tokens}
    if usage.cache_read_tokens:
        found[n.CACHE_READ_TOKENS] = usage.cache_read_tokens
    if usage.cache_write_tokens:
        found[n.CACHE_WRITE_TOKENS] = usage.cache_write_tokens
    if usage.reasoning_tokens:
        found[n.REASONING_TOKENS] = usage.reasoning_tokens
    return found
