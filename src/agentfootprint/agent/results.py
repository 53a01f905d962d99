"""How a run ended: completed, paused for a person, or stopped before the model was done."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from ..flow import Ask, Footprint, Run
from ..messages import Message, Usage
from .checkpoint import Checkpoint
from .history import settled
from .paying import spent_by, used_by

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["Completed", "Paused", "Result", "StopReason", "Stopped", "is_paused"]

Output = TypeVar("Output")


class StopReason(enum.StrEnum):
    """Why a run stopped before the model was done: a limit, a guardrail, the vendor's filter
    (`CONTENT_FILTER`), or the model itself, which declined (`REFUSAL`)."""

    MAX_ITERATIONS = "max_iterations"
    MAX_TOOL_CALLS = "max_tool_calls"
    MAX_TOKENS = "max_tokens"
    DEADLINE = "deadline"
    COST_BUDGET = "cost_budget"
    GUARDRAIL = "guardrail"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"


FILTERED = (StopReason.CONTENT_FILTER, StopReason.REFUSAL)
"""Reasons that the model's answer itself gives."""


@dataclass(frozen=True, slots=True)
class _Ended:
    _run: Run

    @property
    def run_id(self) -> str:
        return self._run.id

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation with this run's messages: an immutable view, fit for `run(messages=...)`."""
        return _messages(self._run)

    @property
    def usage(self) -> Usage:
        """Tokens of the whole run so far, across its pauses."""
        return used_by(self._run)

    @property
    def cost(self) -> Decimal | None:
        """USD of the whole run so far, across its pauses and all attempts; None when the agent has no
        `pricing_table`, or when a price is not known."""
        spent = spent_by(self._run)
        return None if spent is None else spent.total

    @property
    def footprint(self) -> Footprint:
        """Everything that happened: `narrative()`, `why("output")`, `replay()`, `save(path)`."""
        return self._run.footprint


def _messages(run: Run) -> Sequence[Message]:
    if run.status == "failed" and "history" in run.root.state:
        # It broke off: calls that were running get the result that says so.
        return tuple(settled(run, ()))
    history: Sequence[Message] = run.get("history", ())
    return history


@dataclass(frozen=True, slots=True)
class Completed(_Ended, Generic[Output]):
    """The model answered. `output` is the answer."""

    output: Output
    status: Literal["completed"] = "completed"


@dataclass(frozen=True, slots=True)
class Paused(_Ended):
    """The run waits for a person. Store `checkpoint.to_json()`, show `asks`, later `agent.resume`."""

    checkpoint: Checkpoint
    status: Literal["paused"] = "paused"

    @property
    def output(self) -> None:
        """There is no answer yet."""
        return

    @property
    def asks(self) -> list[Ask]:
        return self.checkpoint.asks


@dataclass(frozen=True, slots=True)
class Stopped(_Ended, Generic[Output]):
    """The run ended before the model was done; `reason` says why. At a limit, `output` is the last answer
    the model gave without tools, None if it could not be asked or does not fit `output=`; when the answer was
    filtered or declined, what there is of it; None when a guardrail said no, and `messages` lack what it
    was about."""

    reason: StopReason
    output: Output | None = None
    _messages: Sequence[Message] | None = field(default=None, repr=False)
    status: Literal["stopped"] = "stopped"

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation with this run's messages, but nothing that guardrails have not let through."""
        return _messages(self._run) if self._messages is None else self._messages


Result: TypeAlias = "Completed[Output] | Paused | Stopped[Output]"


def is_paused(result: Any) -> TypeIs[Paused]:
    """Whether a run waits for a person; narrows the type, both ways."""
    return isinstance(result, Paused)
