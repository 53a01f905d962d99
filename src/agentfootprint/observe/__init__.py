"""Recorders: whatever watches runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Recorder as Recorder
    from .console import console_observability as console_observability
    from .dispatch import Dispatch as Dispatch
    from .enable import Enable as Enable
    from .jsonl import jsonl_observability as jsonl_observability
    from .jsonl import read_events as read_events
    from .live_status import chat_bubble_live_status as chat_bubble_live_status
    from .queue import queued as queued
    from .registry import Handle as Handle
    from .registry import Recorders as Recorders

_EXPORTS = {
    "Dispatch": "dispatch",
    "Enable": "enable",
    "Handle": "registry",
    "Recorder": "base",
    "Recorders": "registry",
    "chat_bubble_live_status": "live_status",
    "console_observability": "console",
    "jsonl_observability": "jsonl",
    "queued": "queue",
    "read_events": "jsonl",
}

__all__ = [
    "Dispatch",
    "Enable",
    "Handle",
    "Recorder",
    "Recorders",
    "chat_bubble_live_status",
    "console_observability",
    "jsonl_observability",
    "queued",
    "read_events",
]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'agentfootprint.observe' has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
