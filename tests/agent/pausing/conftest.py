"""The time of leases, set by hand."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from agentfootprint.agent import conversation as conversation_module
from agentfootprint.testing.clock import ManualClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The time as leases see it."""
    clock = ManualClock()
    fake = SimpleNamespace(time=clock, monotonic=time.monotonic)
    monkeypatch.setattr(conversation_module, "time", fake)
    return clock
