"""What every event has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["Event"]


@dataclass(frozen=True, slots=True)
class Event:
    """What every event has: the run, the time (seconds since the epoch) and the step it belongs to.

    Run and step are None for what a provider's decorator tells outside a run.
    """

    type: ClassVar[str] = "event"

    run_id: str | None
    at: float
    step: str | None
