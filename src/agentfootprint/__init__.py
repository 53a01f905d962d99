"""Agents on large language models, from laptop to production, where every run explains itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import Agent as Agent
    from .agent import Checkpoint as Checkpoint
    from .agent import Completed as Completed
    from .agent import OutputFallback as OutputFallback
    from .agent import Paused as Paused
    from .agent import Stopped as Stopped
    from .agent import StopReason as StopReason
    from .agent import is_paused as is_paused
    from .identity import MemoryIdentity as MemoryIdentity
    from .tools import ToolContext as ToolContext
    from .tools import ask_human as ask_human
    from .tools import pause_here as pause_here
    from .tools import tool as tool

__version__ = "0.1.0"

# Name to module; loaded on first use, so that importing the package costs next to nothing.
_EXPORTS = {
    "Agent": "agent",
    "Checkpoint": "agent",
    "Completed": "agent",
    "MemoryIdentity": "identity",
    "OutputFallback": "agent",
    "Paused": "agent",
    "StopReason": "agent",
    "Stopped": "agent",
    "ToolContext": "tools",
    "ask_human": "tools",
    "is_paused": "agent",
    "pause_here": "tools",
    "tool": "tools",
}

__all__ = [
    "Agent",
    "Checkpoint",
    "Completed",
    "MemoryIdentity",
    "OutputFallback",
    "Paused",
    "StopReason",
    "Stopped",
    "ToolContext",
    "__version__",
    "ask_human",
    "is_paused",
    "pause_here",
    "tool",
]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'agentfootprint' has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
