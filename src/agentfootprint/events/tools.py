"""What is told of tool calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from .base import Event

__all__ = ["PermissionDecided", "ToolEnded", "ToolOutcome", "ToolProgress", "ToolStarted"]


ToolOutcome = Literal["ok", "error", "timeout", "invalid_arguments", "unknown_tool", "denied", "skipped"]


@dataclass(frozen=True, slots=True)
class PermissionDecided(Event):
    """What the permission policy says of a call, and the id of the rule that said so."""

    type: ClassVar[str] = "permission.decided"
    tool: str
    call_id: str
    verdict: Literal["allow", "deny", "ask", "halt"]
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class ToolStarted(Event):
    type: ClassVar[str] = "tool.started"
    tool: str
    call_id: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolProgress(Event):
    """What a tool says while it works; `fraction` between 0 and 1 where it knows."""

    type: ClassVar[str] = "tool.progress"
    tool: str
    call_id: str
    message: str
    fraction: float | None


@dataclass(frozen=True, slots=True)
class ToolEnded(Event):
    """A tool call has its result: `result` is the text the model reads."""

    type: ClassVar[str] = "tool.ended"
    tool: str
    call_id: str
    outcome: ToolOutcome
    result: str
    duration: float
