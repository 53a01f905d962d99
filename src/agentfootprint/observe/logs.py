"""Runs as log records: of the standard library, or of structlog."""

from __future__ import annotations

import contextvars
import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from .. import events as e
from ..errors import ConfigurationError, MissingExtra
from ..messages import Usage
from .content import Content
from .handover import Handover
from .sampling import LAST
from .snippet import shown
from .tiers import Tier, check_tier, told_at

__all__ = ["BY_TIER", "IGNORED", "LogRecorder", "logging_observability", "structlog_observability"]

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
        e.ModelEnded,
        e.ModelRetried,
        e.ModelFellBack,
        e.CircuitProbed,
        e.RateLimitWaited,
        e.CostTicked,
        e.RouteDecided,
        e.PermissionDecided,
        e.ToolEnded,
        e.MemoryRecalled,
        e.MemoryWritten,
        e.MemoryFolded,
        e.RetrievalEnded,
        e.HistoryHealed,
        e.ConversationSaved,
        e.OutputRejected,
        e.OutputFellBack,
    ),
    "everything": (
        e.ContextPrepared,
        e.ModelStarted,
        e.ToolStarted,
        e.EmbeddingEnded,
        e.StepEnded,
        e.ToolProgress,
        e.Emitted,
    ),
}
"""From which tier on an event is logged."""

IGNORED = (e.TextDelta, e.ReasoningDelta, e.ToolCallDrafted)
"""Pieces of answers: a line for each would drown the rest."""

_ERRORS = (e.RunFailed,)
_WARNINGS = (
    e.CircuitOpened,
    e.ConversationFailed,
    e.GuardrailTripped,
    e.LimitReached,
    e.MemoryFailed,
    e.ModelFailed,
    e.ModelGaveUp,
    e.ModelFellBack,
    e.ModelRetried,
    e.OutputFellBack,
    e.OutputRejected,
    e.StateDegraded,
)
_DETAILS = BY_TIER["everything"]

_SAID = frozenset(
    {"input", "message", "result", "arguments", "questions", "reason", "problems", "failed", "data"}
)
"""Fields with what users, models and tools said, or an error quotes of it."""

_REMEMBERED = 10_000
_SHOWN = 200  # characters of a value in the message, made fit for one line; `details` has the whole


def logging_observability(
    logger: logging.Logger | str = "agentfootprint.runs",
    *,
    tier: Tier = "standard",
    content: bool = False,
    redact: Callable[[str], str] | None = None,
) -> LogRecorder:
    """A recorder that logs runs with Python's `logging`: the event's name as the message, and as attributes
    of the record `event`, `run_id`, `step_id`, `agent`, `tenant`, `conversation_id`, `trace_id`, `span_id`
    and the event's own fields as the dictionary `details`.

    The time of a record is the event's. Levels: what breaks a run is an error, other trouble a warning, the
    steps of a run debug, all else info. Lines are written in a thread behind the run, within the run's
    context variables.

    Args:
        tier: how much is logged.
        content: also what users and tools said, and the texts of errors.
        redact: sees every such text first, and returns what may be logged of it.

    Raises:
        ConfigurationError: the tier is unknown.
    """
    target = logging.getLogger(logger) if isinstance(logger, str) else logger
    return LogRecorder(_Plain(target), check_tier(tier), content, redact, "logging_observability")


def structlog_observability(
    logger: Any = None,
    *,
    tier: Tier = "standard",
    content: bool = False,
    redact: Callable[[str], str] | None = None,
) -> LogRecorder:
    """A recorder that logs runs with structlog, as `logging_observability` does with `logging`: the event's
    name is the event, everything else is a key beside it. What is bound with `structlog.contextvars` when
    the run starts is logged with all its lines.

    Args:
        logger: a structlog logger; `structlog.get_logger("agentfootprint.runs")` unless given.

    Raises:
        MissingExtra: structlog is not installed.
        ConfigurationError: the tier is unknown.
    """
    check_tier(tier)
    if logger is None:
        try:
            import structlog
        except ImportError:
            raise MissingExtra("structlog_observability", "structlog") from None
        logger = structlog.get_logger("agentfootprint.runs")
    elif not callable(getattr(logger, "info", None)):
        raise ConfigurationError(f"logger={logger!r} has no method info(): pass a structlog logger")
    return LogRecorder(_Structured(logger), tier, content, redact, "structlog_observability")


class _Plain:
    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def __call__(self, level: int, event: e.Event, common: dict[str, Any], own: dict[str, Any]) -> None:
        logger = self._logger
        if not logger.isEnabledFor(level):
            return
        extra = {"event": event.type, **common, "details": own}
        said = " ".join(f"{name}={shown(value, _SHOWN)}" for name, value in own.items())
        message = f"{event.type} {said}" if said else event.type
        record = logger.makeRecord(logger.name, level, "", 0, "%s", (message,), None, extra=extra)
        record.created = event.at
        record.msecs = event.at % 1 * 1000
        logger.handle(record)


class _Structured:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def __call__(self, level: int, event: e.Event, common: dict[str, Any], own: dict[str, Any]) -> None:
        method = getattr(self._logger, _METHODS[level])
        method(
            event.type, at=event.at, **common, **{f"{k}_" if k in _TAKEN else k: v for k, v in own.items()}
        )


_METHODS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}
_TAKEN = frozenset({"event", "at", "run_id", "step_id", "agent", "tenant", "conversation_id", "level"})


class _Run:
    __slots__ = ("common", "context")

    def __init__(self, context: contextvars.Context, common: dict[str, Any]) -> None:
        self.context = context
        self.common = common


class LogRecorder:
    """See `logging_observability` and `structlog_observability`."""

    def __init__(
        self,
        write: Callable[[int, e.Event, dict[str, Any], dict[str, Any]], None],
        tier: Tier,
        content: bool,
        redact: Callable[[str], str] | None,
        name: str,
    ) -> None:

        self._write = write
        self._told = told_at(tier, BY_TIER)
        self._content = Content(content, redact)
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._handover = Handover(self._handle, name)

    @property
    def faults(self) -> Any:
        return self._handover.faults

    @property
    def dropped(self) -> int:
        """How many events were never logged."""
        return self._handover.dropped

    def wants(self, kind: type[e.Event], /) -> bool:
        return kind in self._told

    def on_event(self, event: e.Event, /) -> None:
        kind = type(event)
        if kind is e.RunStarted or kind is e.RunResumed:
            # The thread writes within what surrounds the run: its trace, and what the application has bound.
            self._handover.put((event, contextvars.copy_context()))
        else:
            self._handover.put(event)

    async def flush(self) -> None:
        await self._handover.flush()

    async def aclose(self) -> None:
        await self._handover.aclose()

    # --- in the thread

    def _handle(self, item: e.Event | tuple[e.Event, contextvars.Context]) -> None:
        event, context = item if isinstance(item, tuple) else (item, None)
        run_id = event.run_id or ""
        if context is not None:
            self._begun(event, context)
        run = self._runs.get(run_id)
        if isinstance(event, LAST):
            self._runs.pop(run_id, None)
        common: dict[str, Any] = {} if run is None else dict(run.common)
        if event.run_id is not None:
            common["run_id"] = event.run_id
        if event.step is not None:
            common["step_id"] = event.step
        line = (_level(event), event, common, self._own(event))
        if run is None:
            self._write(*line)
        else:
            run.context.run(self._write, *line)

    def _begun(self, event: Any, context: contextvars.Context) -> None:
        common: dict[str, Any] = {"agent": event.agent}
        if event.identity is not None:
            tenant, _, conversation = event.identity.parts
            if tenant is not None:
                common["tenant"] = tenant
            if conversation is not None:
                common["conversation_id"] = conversation
        common |= context.run(_trace)
        self._runs[event.run_id] = _Run(context, common)
        if len(self._runs) > _REMEMBERED:
            self._runs.popitem(last=False)

    def _own(self, event: e.Event) -> dict[str, Any]:
        own: dict[str, Any] = {}
        for field in fields(event):
            name = field.name
            if name in _COMMON:
                continue
            value = getattr(event, name)
            if name in _SAID:
                value = self._content.text(value) if isinstance(value, str) else self._content.data(value)
            elif isinstance(value, Usage):
                own["input_tokens"], own["output_tokens"] = value.input_tokens, value.output_tokens
                continue
            if value is not None:
                own[name] = value
        return own


_COMMON = frozenset({"run_id", "at", "step", "agent", "identity"})


def _level(event: e.Event) -> int:
    if isinstance(event, _ERRORS):
        return logging.INFO if _cancelled(event) else logging.ERROR
    if isinstance(event, _WARNINGS) or (isinstance(event, e.ToolEnded) and event.outcome != "ok"):
        return logging.WARNING
    return logging.DEBUG if isinstance(event, _DETAILS) else logging.INFO


def _cancelled(event: e.Event) -> bool:
    return isinstance(event, e.RunFailed) and event.error == "cancelled"


def _trace() -> dict[str, str]:
    """Ids of the trace that is current here, where anything traces at all."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
