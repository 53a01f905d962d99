"""What a run tells of itself: its turns, decisions, limits, conversation and answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..identity import MemoryIdentity
from ..messages import Usage
from .base import Event

__all__ = [
    "ContextPrepared",
    "ConversationFailed",
    "ConversationSaved",
    "Emitted",
    "GuardrailTripped",
    "HistoryHealed",
    "LimitReached",
    "OutputFellBack",
    "OutputRejected",
    "RouteDecided",
    "RunEnded",
    "RunFailed",
    "RunPaused",
    "RunResumed",
    "RunStarted",
    "StepEnded",
]


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins. `within` is the id of the run whose tool it is; None is a run of its own."""

    type: ClassVar[str] = "run.started"
    agent: str
    identity: MemoryIdentity | None
    input: str
    within: str | None = None


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """A paused or broken-off run goes on. `by` is who answered, `within` the run whose tool it is."""

    type: ClassVar[str] = "run.resumed"
    agent: str
    identity: MemoryIdentity | None
    by: str | None
    within: str | None = None


@dataclass(frozen=True, slots=True)
class RunPaused(Event):
    """A person is asked. `asks` are the ids of the open questions, `questions` their texts."""

    type: ClassVar[str] = "run.paused"
    asks: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """A run came to its end. `usage` and `cost` are with those of runs within it; `cost` in USD is None when
    unknown; `duration` is in seconds."""

    type: ClassVar[str] = "run.ended"
    status: Literal["completed", "stopped"]
    reason: str | None
    usage: Usage
    cost: float | None
    duration: float


@dataclass(frozen=True, slots=True)
class RunFailed(Event):
    """A run broke off: `error` is the code of the error, `message` its text."""

    type: ClassVar[str] = "run.failed"
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class ContextPrepared(Event):
    """Which of the slots in front of the model (system, messages, tools) were built for this turn."""

    type: ClassVar[str] = "context.prepared"
    iteration: int
    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RouteDecided(Event):
    """What happens after the model's answer, and the rule that said so."""

    type: ClassVar[str] = "route.decided"
    choice: str
    rule: str


@dataclass(frozen=True, slots=True)
class LimitReached(Event):
    """A limit of the run was reached: `limit` names it, `value` is where it stands."""

    type: ClassVar[str] = "limit.reached"
    limit: str
    value: float


@dataclass(frozen=True, slots=True)
class HistoryHealed(Event):
    """A conversation with calls without results, or results without calls, was made whole."""

    type: ClassVar[str] = "history.healed"
    added: int
    dropped: int


@dataclass(frozen=True, slots=True)
class ConversationSaved(Event):
    """The turn joined its conversation as number `turn`, counted from 1."""

    type: ClassVar[str] = "conversation.saved"
    turn: int
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class ConversationFailed(Event):
    """The turn could not be saved; the answer is not lost, it is in the result."""

    type: ClassVar[str] = "conversation.failed"
    message: str
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class OutputRejected(Event):
    """The model's answer does not fit `output=`; the first that does not is `attempt` 1."""

    type: ClassVar[str] = "output.rejected"
    attempt: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutputFellBack(Event):
    """No answer of the model fits, and `tier` was asked to stand in; `failed` says why it could not."""

    type: ClassVar[str] = "output.fell_back"
    tier: Literal["recover", "canned"]
    failed: str | None


@dataclass(frozen=True, slots=True)
class GuardrailTripped(Event):
    """A guardrail stopped the run; `reason` is its own word."""

    type: ClassVar[str] = "guardrail.tripped"
    guardrail: str
    stage: Literal["input", "output"]
    reason: str


@dataclass(frozen=True, slots=True)
class StepEnded(Event):
    """A step of the run's flow was left: `status` is done, paused, failed or cancelled."""

    type: ClassVar[str] = "step.ended"
    node: str
    status: str
    duration: float


@dataclass(frozen=True, slots=True)
class Emitted(Event):
    """What a step of a user's own flow, or a tool, said with `emit(name, data)`."""

    type: ClassVar[str] = "flow.emitted"
    name: str
    data: Any
