"""How a step is left before its end (a pause, an error, a cancellation) and made ready to go on."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ..errors import AgentFootprintError, StepFailed
from .again import Again, pause_in
from .redaction import scrub, secrets_in

if TYPE_CHECKING:
    from .frame import Frame
    from .run import Run
    from .step import Step

__all__ = ["left_by", "reopen"]

CANCELLED = asyncio.CancelledError.__name__


def left_by(run: Run, frame: Frame, step: Step[Any], error: BaseException) -> bool:
    """A step was left before its end. Takes back what it wrote; whether the frame just waits.

    Raises:
        StepFailed: the step's own code raised something that is no error of this library.
    """
    frame.open = step
    step.end = time.time()
    text = str(error)
    if step.labels or any(version.labels for version in step.writes):
        # Taken-back secrets are known to nobody later, and messages travel far.
        text = scrub(text, secrets_in((*step.reads, *step.writes)))
    if frame.children is None:
        for version in reversed(step.writes):
            if version.previous is None:
                del frame.state[version.key]
            else:
                frame.state[version.key] = version.previous
        step.writes = []
        step.reads = [version for version in step.reads if version.step != step.number]
    if pause_in(error):
        step.status = "paused"
        step.reads = []
    elif isinstance(error, asyncio.CancelledError):
        step.status = "cancelled"
    else:
        step.status = "failed"
        step.error = (type(error).__name__, text)
    if run.tell is not None:
        run.tell("close", step, None)
    if step.status != "failed":
        return step.status == "paused"
    if isinstance(error, AgentFootprintError) or not isinstance(error, Exception):
        return False
    raise StepFailed(f"step {step.id!r} raised {type(error).__name__}: {text}") from error


def reopen(frame: Frame, step: Step[Any]) -> None:
    """Makes a step that was left ready to be entered again, with what it already did.

    After a pause even failed calls answer as before, since the step has gone past them; after
    an error or a cancellation only what succeeded counts, the rest is tried again. What a call
    that was cancelled did is not known: the step may ask (`was_cut`), else it is tried again.
    """
    paused = step.status == "paused"
    step.paused = False
    step.status = "running"
    step.error = None
    step.end = None
    step._frame = frame
    if frame.children is not None:
        return  # its function is over, only what it opened goes on
    done = [c for c in step.calls if c.end is not None and (c.error is None or paused)]
    kept = [c for c in done if c.error is None or c.error[0] != CANCELLED]
    cut = [
        c
        for c in step.calls
        if not paused and (c.end is None or (c.error is not None and c.error[0] == CANCELLED))
    ]
    step._again = Again(kept, step.events, strict=False, cut=frozenset((c.name, c.key) for c in cut))
    step.calls = ()
    step.reads, step.writes, step.events = [], [], ()
    step._labels = None
