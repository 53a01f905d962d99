"""Every event a run can show, in one catalogue.

Events are seen live by recorders, by `agent.on(...)` and by whoever streams the run. `type` is the
dotted name that patterns match (`agent.on("tool.*", ...)`). Events are for watching; the footprint
is the record. A step that is entered again after a pause tells its events again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from .identity import MemoryIdentity
from .messages import Usage

__all__ = [
    "CATALOGUE",
    "CircuitClosed",
    "CircuitOpened",
    "CircuitProbed",
    "ContextPrepared",
    "ConversationFailed",
    "ConversationSaved",
    "CostTicked",
    "Emitted",
    "Event",
    "GuardrailTripped",
    "HistoryHealed",
    "LimitReached",
    "MemoryFailed",
    "MemoryFolded",
    "MemoryRecalled",
    "MemoryWritten",
    "ModelEnded",
    "ModelFailed",
    "ModelFellBack",
    "ModelGaveUp",
    "ModelRetried",
    "ModelStarted",
    "OutputFellBack",
    "OutputRejected",
    "RateLimitWaited",
    "ReasoningDelta",
    "RouteDecided",
    "RunEnded",
    "RunFailed",
    "RunPaused",
    "RunResumed",
    "RunStarted",
    "StateDegraded",
    "StateRecovered",
    "StepEnded",
    "TextDelta",
    "ToolCallDrafted",
    "ToolEnded",
    "ToolOutcome",
    "ToolProgress",
    "ToolStarted",
]

ToolOutcome = Literal["ok", "error", "timeout", "invalid_arguments", "unknown_tool", "denied", "skipped"]


@dataclass(frozen=True, slots=True)
class Event:
    """What every event has: the run, the time (seconds since the epoch) and the step it belongs to.

    Run and step are None for what a provider's decorator tells outside a run.
    """

    type: ClassVar[str] = "event"

    run_id: str | None
    at: float
    step: str | None


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    type: ClassVar[str] = "run.started"
    agent: str
    identity: MemoryIdentity | None
    input: str


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """A paused or broken-off run goes on. `by` is who answered."""

    type: ClassVar[str] = "run.resumed"
    agent: str
    identity: MemoryIdentity | None
    by: str | None


@dataclass(frozen=True, slots=True)
class RunPaused(Event):
    """A person is asked. `asks` are the ids of the open questions, `questions` their texts."""

    type: ClassVar[str] = "run.paused"
    asks: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """A run came to its end. `cost` in USD is None when unknown; `duration` is in seconds."""

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
    so far, across its pauses."""

    type: ClassVar[str] = "cost.ticked"
    kind: Literal["model", "embedding", "memory"]
    provider: str
    model: str
    usage: Usage | None
    cost: str | None
    total: str | None


@dataclass(frozen=True, slots=True)
class RouteDecided(Event):
    """What happens after the model's answer, and the rule that said so."""

    type: ClassVar[str] = "route.decided"
    choice: str
    rule: str


@dataclass(frozen=True, slots=True)
class ToolStarted(Event):
    type: ClassVar[str] = "tool.started"
    tool: str
    call_id: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolProgress(Event):
    """What a tool says while it works; `fraction` between 0 and 1 where it knows."""

    type: ClassVar[str] = "tool.progress"
    tool: str
    call_id: str
    message: str
    fraction: float | None


@dataclass(frozen=True, slots=True)
class ToolEnded(Event):
    """A tool call has its result: `result` is the text the model reads."""

    type: ClassVar[str] = "tool.ended"
    tool: str
    call_id: str
    outcome: ToolOutcome
    result: str
    duration: float


@dataclass(frozen=True, slots=True)
class LimitReached(Event):
    """A limit of the run was reached: `limit` names it, `value` is where it stands."""

    type: ClassVar[str] = "limit.reached"
    limit: str
    value: float


@dataclass(frozen=True, slots=True)
class MemoryRecalled(Event):
    type: ClassVar[str] = "memory.recalled"
    memory: str
    entries: int


@dataclass(frozen=True, slots=True)
class MemoryWritten(Event):
    type: ClassVar[str] = "memory.written"
    memory: str
    entry: str


@dataclass(frozen=True, slots=True)
class MemoryFailed(Event):
    """A memory could not be read, written or summarized; the answer is not lost."""

    type: ClassVar[str] = "memory.failed"
    memory: str
    operation: Literal["recall", "remember", "fold"]
    message: str


@dataclass(frozen=True, slots=True)
class MemoryFolded(Event):
    """So many turns became part of a memory's summary."""

    type: ClassVar[str] = "memory.folded"
    memory: str
    turns: int


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


@dataclass(frozen=True, slots=True)
class ConversationFailed(Event):
    """The turn could not be saved; the answer is not lost, it is in the result."""

    type: ClassVar[str] = "conversation.failed"
    message: str


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


CATALOGUE: Mapping[str, type[Event]] = {kind.type: kind for kind in Event.__subclasses__()}
"""Dotted name to class, of every event there is."""
