"""The engine: flows of steps whose every read, write, decision and effect is one journal."""

from __future__ import annotations

from .again import Pause
from .chart import Flow, Reduce
from .footprint import Footprint
from .journal import SECRET, Ask, Call, Decision, Label, StepRecord, Version
from .rules import check, decide, empty, eq, ge, gt, is_false, is_true, le, lt, ne, nonempty, one_of, rule
from .run import Run
from .seq import Seq
from .slices import Edge, Slice
from .step import Step

__all__ = [
    "SECRET",
    "Ask",
    "Call",
    "Decision",
    "Edge",
    "Flow",
    "Footprint",
    "Label",
    "Pause",
    "Reduce",
    "Run",
    "Seq",
    "Slice",
    "Step",
    "StepRecord",
    "Version",
    "check",
    "decide",
    "empty",
    "eq",
    "ge",
    "gt",
    "is_false",
    "is_true",
    "le",
    "lt",
    "ne",
    "nonempty",
    "one_of",
    "rule",
]
