"""Every event a run can show, in one catalogue.

Events are seen live by recorders, by `agent.on(...)` and by whoever streams the run. `type` is the
dotted name that patterns match (`agent.on("tool.*", ...)`). Events are for watching; the footprint
is the record. A step that is entered again after a pause tells its events again.
"""

from __future__ import annotations

from collections.abc import Mapping

from .base import Event
from .memories import (
    EmbeddingEnded,
    MemoryFailed,
    MemoryFolded,
    MemoryRecalled,
    MemoryWritten,
    RetrievalEnded,
)
from .models import (
    CircuitClosed,
    CircuitOpened,
    CircuitProbed,
    CostTicked,
    ModelEnded,
    ModelFailed,
    ModelFellBack,
    ModelGaveUp,
    ModelRetried,
    ModelStarted,
    RateLimitWaited,
    ReasoningDelta,
    StateDegraded,
    StateRecovered,
    TextDelta,
    ToolCallDrafted,
)
from .runs import (
    ContextPrepared,
    ConversationFailed,
    ConversationSaved,
    Emitted,
    GuardrailTripped,
    HistoryHealed,
    LimitReached,
    OutputFellBack,
    OutputRejected,
    RouteDecided,
    RunEnded,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    StepEnded,
)
from .tools import PermissionDecided, ToolEnded, ToolOutcome, ToolProgress, ToolStarted

__all__ = [
    "CATALOGUE",
    "CircuitClosed",
    "CircuitOpened",
    "CircuitProbed",
    "ContextPrepared",
    "ConversationFailed",
    "ConversationSaved",
    "CostTicked",
    "EmbeddingEnded",
    "Emitted",
    "Event",
    "GuardrailTripped",
    "HistoryHealed",
    "LimitReached",
    "MemoryFailed",
    "MemoryFolded",
    "MemoryRecalled",
    "MemoryWritten",
    "ModelEnded",
    "ModelFailed",
    "ModelFellBack",
    "ModelGaveUp",
    "ModelRetried",
    "ModelStarted",
    "OutputFellBack",
    "OutputRejected",
    "PermissionDecided",
    "RateLimitWaited",
    "ReasoningDelta",
    "RetrievalEnded",
    "RouteDecided",
    "RunEnded",
    "RunFailed",
    "RunPaused",
    "RunResumed",
    "RunStarted",
    "StateDegraded",
    "StateRecovered",
    "StepEnded",
    "TextDelta",
    "ToolCallDrafted",
    "ToolEnded",
    "ToolOutcome",
    "ToolProgress",
    "ToolStarted",
]

CATALOGUE: Mapping[str, type[Event]] = {kind.type: kind for kind in Event.__subclasses__()}
"""Dotted name to class, of every event there is."""
