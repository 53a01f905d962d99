"""Which step is calling out right now: how what runs during an effect reaches the run around it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .effects import Effects
    from .journal import Call

__all__ = ["Calling", "calling"]

Calling = tuple["Effects", "Call"]
"""The step and its call that is under way."""

calling: ContextVar[Calling | None] = ContextVar("agentfootprint_calling", default=None)
