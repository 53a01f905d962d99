"""What must agree before a provider is asked once more for the same answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from ..messages import LLMRequest
from .base import LLMProvider

__all__ = ["Gate", "Over", "again", "gate", "over", "settle"]

Gate = Callable[[LLMProvider, LLMRequest, Exception], Awaitable[None]]

gate: ContextVar[Gate | None] = ContextVar("agentfootprint_gate", default=None)
"""Set around a model call by who pays for it; it raises to refuse a further attempt."""


Over = Callable[[Exception], Awaitable[None]]

settle: ContextVar[Over | None] = ContextVar("agentfootprint_settle", default=None)
"""Set around a model call by who pays for it; told how an attempt ended while there may be none after it."""


async def over(failed: Exception) -> None:
    """Called by decorators that wait before they ask again: should they be cancelled meanwhile, what the
    attempt cost is as it was."""
    told = settle.get()
    if told is not None:
        await told(failed)


async def again(provider: LLMProvider, request: LLMRequest, failed: Exception) -> None:
    """Called by decorators before every attempt after the first, with how the one before failed."""
    allowed = gate.get()
    if allowed is not None:
        await allowed(provider, request, failed)
