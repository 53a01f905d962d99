"""What is told of models: asked, answering, failing, left alone, paid for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..messages import Usage
from .base import Event

__all__ = [
    "CircuitClosed",
    "CircuitOpened",
    "CircuitProbed",
    "CostTicked",
    "ModelEnded",
    "ModelFailed",
    "ModelFellBack",
    "ModelGaveUp",
    "ModelRetried",
    "ModelStarted",
    "RateLimitWaited",
    "ReasoningDelta",
    "StateDegraded",
    "StateRecovered",
    "TextDelta",
    "ToolCallDrafted",
]


@dataclass(frozen=True, slots=True)
class ModelStarted(Event):
    type: ClassVar[str] = "model.started"
    provider: str
    model: str
    messages: int
    tools: int
    streamed: bool


@dataclass(frozen=True, slots=True)
class TextDelta(Event):
    """A piece of the answer, live only."""

    type: ClassVar[str] = "model.text"
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta(Event):
    """A piece of the model's thinking, live only."""

    type: ClassVar[str] = "model.reasoning"
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDrafted(Event):
    """A piece of a tool call while the model writes it, live only."""

    type: ClassVar[str] = "model.tool_call"
    index: int
    call_id: str | None
    tool: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class ModelEnded(Event):
    """A model answered. Times in seconds; `first_token` is None when it was not streamed."""

    type: ClassVar[str] = "model.ended"
    provider: str
    model: str
    usage: Usage | None
    stop_reason: str
    tool_calls: int
    chunks: int
    first_token: float | None
    duration: float


@dataclass(frozen=True, slots=True)
class ModelFailed(Event):
    type: ClassVar[str] = "model.failed"
    provider: str
    model: str
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class ModelRetried(Event):
    """An attempt failed, the first is number 1; the next follows after `delay` seconds."""

    type: ClassVar[str] = "model.retried"
    provider: str
    model: str
    attempt: int
    delay: float
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class ModelGaveUp(Event):
    """An error that could be retried is not: `reason` is what ran out. The error itself follows."""

    type: ClassVar[str] = "model.gave_up"
    provider: str
    model: str
    attempts: int
    reason: Literal["attempts", "time", "retry_budget", "retry_after"]
    error: str


@dataclass(frozen=True, slots=True)
class ModelFellBack(Event):
    """A provider failed, the next of its chain is asked instead."""

    type: ClassVar[str] = "model.fell_back"
    provider: str
    model: str
    to_provider: str
    to_model: str
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class CircuitOpened(Event):
    """A circuit breaker opened for `cooldown` seconds. `probe` says that a probe failed."""

    type: ClassVar[str] = "circuit.opened"
    circuit: str
    failures: int
    cooldown: float
    probe: bool


@dataclass(frozen=True, slots=True)
class CircuitProbed(Event):
    """A circuit breaker is half-open, and this call finds out whether the provider is back."""

    type: ClassVar[str] = "circuit.probed"
    circuit: str


@dataclass(frozen=True, slots=True)
class CircuitClosed(Event):
    """A probe succeeded: the provider is asked again."""

    type: ClassVar[str] = "circuit.closed"
    circuit: str


@dataclass(frozen=True, slots=True)
class RateLimitWaited(Event):
    """A call waited `seconds` for room in our own rate limit."""

    type: ClassVar[str] = "rate_limit.waited"
    limiter: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StateDegraded(Event):
    """What instances share cannot be reached: `what` goes on with what this process knows."""

    type: ClassVar[str] = "state.degraded"
    what: str
    message: str


@dataclass(frozen=True, slots=True)
class StateRecovered(Event):
    """What instances share is reached again."""

    type: ClassVar[str] = "state.recovered"
    what: str


@dataclass(frozen=True, slots=True)
class CostTicked(Event):
    """A priced call was made: `kind` says whether of the agent's model, of an embedder, or of a model that
    works for a memory. Money is USD as decimal text, None where unknown; `total` is the run's
    so far, across its pauses. `budget_used` is the share of the run's budget that is used, `window_used` that
    of its tightest window of time, as last seen, by all runs; 1 is all of it, None that there is no limit."""

    type: ClassVar[str] = "cost.ticked"
    kind: Literal["model", "embedding", "memory"]
    provider: str
    model: str
    usage: Usage | None
    cost: str | None
    total: str | None
    budget_used: float | None = None
    window_used: float | None = None
