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
    from .logs import logging_observability as logging_observability
    from .logs import structlog_observability as structlog_observability
    from .otel import incoming_trace as incoming_trace
    from .otel import otel_observability as otel_observability
    from .otel import outgoing_trace as outgoing_trace
    from .prometheus import prometheus_observability as prometheus_observability
    from .queue import queued as queued
    from .records import open_records as open_records
    from .records import record_to as record_to
    from .registry import Handle as Handle
    from .registry import Recorders as Recorders
    from .sampling import Sampling as Sampling
    from .sampling import sampled as sampled
    from .terminal import terminal_live_status as terminal_live_status

_EXPORTS = {
    "Dispatch": "dispatch",
    "Enable": "enable",
    "Handle": "registry",
    "Recorder": "base",
    "Recorders": "registry",
    "Sampling": "sampling",
    "chat_bubble_live_status": "live_status",
    "console_observability": "console",
    "incoming_trace": "otel",
    "jsonl_observability": "jsonl",
    "logging_observability": "logs",
    "otel_observability": "otel",
    "outgoing_trace": "otel",
    "prometheus_observability": "prometheus",
    "queued": "queue",
    "open_records": "records",
    "read_events": "jsonl",
    "record_to": "records",
    "sampled": "sampling",
    "structlog_observability": "logs",
    "terminal_live_status": "terminal",
}

__all__ = [
    "Dispatch",
    "Enable",
    "Handle",
    "Recorder",
    "Recorders",
    "Sampling",
    "chat_bubble_live_status",
    "console_observability",
    "incoming_trace",
    "jsonl_observability",
    "logging_observability",
    "otel_observability",
    "outgoing_trace",
    "open_records",
    "prometheus_observability",
    "queued",
    "read_events",
    "record_to",
    "sampled",
    "structlog_observability",
    "terminal_live_status",
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
