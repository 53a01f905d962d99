"""Where a walk stands: a tree of frames, each with its own program counter and control stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .chart import Chart
from .journal import StepRecord, Version
from .step import Step

if TYPE_CHECKING:
    from .run import Run

__all__ = ["Frame"]


class Frame:
    """One walk over a chart: the run itself, a branch of a fork, an item of a map, or a sub-flow.

    `pc` names the step to run next (None: at its end) and `until` the step where a branch ends.
    `control` holds the decisions that hold here and where each stops holding. `state` maps keys to
    versions: the frame's own view. `open` is a step that was left before its end, `children` the
    frames that it opened.
    """

    __slots__ = (
        "because",
        "chart",
        "children",
        "control",
        "done",
        "index",
        "name",
        "open",
        "path",
        "pc",
        "run",
        "state",
        "until",
        "visits",
    )

    def __init__(
        self,
        run: Run | None,
        chart: Chart,
        path: str,
        name: str,
        pc: str | None,
        state: dict[str, Version],
        because: StepRecord | None,
        until: str | None = None,
        index: int | None = None,
    ) -> None:
        self.chart = chart
        self.path = path
        self.name = name
        self.pc = pc
        self.state = state
        self.because = because
        self.until = until
        self.index = index
        self.control: list[tuple[StepRecord, str | None]] = []
        self.visits: dict[str, int] = {}
        self.open: Step[Any] | None = None
        self.children: list[Frame] | None = None
        self.done = False
        # Only while the run walks, so that a run that stands still holds no circle of references.
        self.run = run
