"""The agent: the loop of model and tools as a flow, its results and its checkpoints."""

from __future__ import annotations

from .agent import Agent
from .checkpoint import Checkpoint
from .contract import OutputFallback, OutputProblem
from .guardrails import Guarded, Guardrail
from .results import Completed, Paused, Result, Stopped, StopReason, is_paused
from .stream import AgentStream

__all__ = [
    "Agent",
    "AgentStream",
    "Checkpoint",
    "Completed",
    "Guarded",
    "Guardrail",
    "OutputFallback",
    "OutputProblem",
    "Paused",
    "Result",
    "StopReason",
    "Stopped",
    "is_paused",
]
