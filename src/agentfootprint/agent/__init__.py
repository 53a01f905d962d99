"""The agent: the loop of model and tools as a flow, its results and its checkpoints."""

from __future__ import annotations

from .agent import Agent
from .checkpoint import Checkpoint
from .results import Completed, Paused, Result, Stopped, StopReason, is_paused
from .stream import AgentStream

__all__ = [
    "Agent",
    "AgentStream",
    "Checkpoint",
    "Completed",
    "Paused",
    "Result",
    "StopReason",
    "Stopped",
    "is_paused",
]
