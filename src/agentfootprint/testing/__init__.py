"""Kits and doubles for tests of agents, tools and adapters."""

from __future__ import annotations

from .clock import ManualClock

__all__ = ["ManualClock"]
