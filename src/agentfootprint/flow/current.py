"""Which step is calling out right now: how what runs during an effect reaches the run around it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .effects import Effects

__all__ = ["Calling", "calling"]

Calling = tuple["Effects", str]
"""The step and the `name:key` of its call that is under way."""

calling: ContextVar[Calling | None] = ContextVar("agentfootprint_calling", default=None)
