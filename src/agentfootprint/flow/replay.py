"""Running a record again: effects are answered from it, and every step must do what it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ReplayDiverged, ReplayRefused
from .again import WITHHELD, Again
from .chart import CHANGED
from .frame import Frame
from .journal import AskRecord, StepRecord, Version
from .rows import canonical_rows, opener_id
from .step import Step

if TYPE_CHECKING:
    from .chart import Flow
    from .footprint import Footprint
    from .run import Run

__all__ = ["fork", "prepare", "replay"]


async def replay(flow: Flow[Any], footprint: Footprint, *, deps: Any = None) -> Run:
    """Walks the flow again without any effect; the same journal must come out.

    Raises:
        ReplayRefused: the record is redacted, or an effect has no record.
        ReplayDiverged: a step did something else than recorded; the message names it.
    """
    run = _again(flow, footprint, deps)
    await run.go()
    # Where a record was broken off inside a step that contains others, the replay may have ended it; and a
    # step that was cancelled is not run again.
    broken = ("running", "cancelled") if run.broken_off else ()
    open_steps = {step.id for step in footprint.steps if step.status in broken}
    old = canonical_rows(footprint.steps, without=open_steps)
    if old != canonical_rows(run.journal, without=open_steps):
        raise ReplayDiverged(_difference(footprint.steps, run.journal))
    return run


async def fork(
    flow: Flow[Any],
    footprint: Footprint,
    *,
    at: str,
    set: Mapping[str, Any],  # noqa: A002 - what the caller changes
    deps: Any = None,
    effects: Literal["recorded", "live"] = "recorded",
) -> Run:
    """Walks the flow as recorded up to the step `at`, changes state there, and goes on.

    After the change a call that was recorded with the same arguments is answered from the record;
    others are refused, or done for real with `effects="live"`.
    """
    target = footprint.step(at)
    if target.node == "input":
        raise ReplayRefused(
            f"{at!r} is what was given: start anew with another input, or fork at a later step"
        )
    if _beside_others(footprint, target):
        raise ReplayRefused(
            f"step {at!r} runs beside others (a fork or a map): fork at a step of the run itself, "
            "or at the fork as a whole"
        )
    run = _again(flow, footprint, deps)
    run.effects = effects
    run.patch = (target.id, dict(set))
    await run.go()
    return run


def _beside_others(footprint: Footprint, step: StepRecord) -> bool:
    """Whether a step is inside a branch or an item; inside a sub-flow alone it is not."""
    path = step.path
    while (opener := opener_id(path)) is not None:
        if path != f"{opener}/":
            return True
        path = footprint.step(opener).path
    return False


def _again(flow: Flow[Any], footprint: Footprint, deps: Any) -> Run:
    from .run import Run

    if footprint.flow_hash != flow.chart.hash:
        raise ReplayRefused(
            f"the record is of flow {footprint.flow!r} in another shape than {flow.name!r} has now"
        )
    if footprint.redacted:
        raise ReplayRefused("the record was redacted when it was written: only the original can be run again")
    steps = {step.id: step for step in footprint.steps}
    given = steps.get("input#0")
    if given is None:
        raise ReplayRefused("the record does not begin with its input: it was cut")
    values = {version.key: version.value for version in given.writes}
    if any(value is WITHHELD for value in values.values()):
        raise ReplayRefused("the record's input was redacted")
    run = Run(flow, deps=deps, state={k: v for k, v in values.items() if k != "input"})
    run.source = steps
    run.effects = "recorded"
    run.broken_off = footprint.truncated or footprint.status in ("stopped", "cancelled", "running")
    run.begin(values.get("input"))
    return run


def prepare(run: Run, frame: Frame, step: Step[Any]) -> bool:
    """Gives a step that is about to run what the record knows of it, and applies the change of a
    fork. False where a record that was broken off does not go on."""
    assert run.source is not None
    recorded = run.source.get(step.id)
    if run.broken_off and not run.patched and (recorded is None or _was_cancelled(frame, recorded)):
        run.record_over = True
        return False
    if run.patch is not None and run.patch[0] == step.id:
        _apply(run, frame, step, run.patch[1])
    run.journal.append(step)
    if recorded is None:
        step._again = Again([], strict=True)
        return True
    calls = [call for call in recorded.calls if call.end is not None]
    if run.patched:
        # Whoever said yes to another question did not say yes to this one.
        step._again = Again(calls, recorded.events, strict=True, answered=recorded.asks)
    else:
        # The questions stand as they were: a call that the record answers does not ask again.
        step._again = Again(calls, recorded.events, strict=True)
        step.asks = [AskRecord(r.ask, r.kind, r.answer, r.by, r.labels) for r in recorded.asks]
    return True


def _was_cancelled(frame: Frame, recorded: StepRecord) -> bool:
    """Whether the record ends inside this step itself, not in one that it contains."""
    alone = frame.index is not None or frame.chart.nodes[recorded.node].kind in ("step", "decide")
    return alone and recorded.status == "cancelled"


def _apply(run: Run, frame: Frame, step: Step[Any], changes: Mapping[str, Any]) -> None:
    """Writes a fork's changes as a step of their own, so that the evidence names them."""
    run.patched = True
    patch: Step[Any] = Step(frame, step.number, CHANGED, 0, step.because, step.start)
    run.journal.append(patch)
    step.number += 1
    for key, value in changes.items():
        patch.set(key, value)
    patch.writes = tuple(patch.writes)  # type: ignore[assignment]
    patch.reads = ()  # type: ignore[assignment]
    patch.status, patch.end = "done", patch.start
    patch._frame = None


def _difference(old: list[StepRecord], new: list[StepRecord]) -> str:
    """Names the first step, in the order of the record, that is not the same."""
    again = {step.id: step for step in new}
    for step in old:
        other = again.get(step.id)
        if other is None:
            return f"step {step.id!r} was recorded and did not run again"
        mine, theirs = _gist(old, step), _gist(new, other)
        for what in mine:
            if mine[what] != theirs[what]:
                return f"step {step.id!r} did something else than recorded: its {what} differ"
    extra = [step.id for step in new if step.id not in {one.id for one in old}]
    return f"step {extra[0]!r} ran and was not recorded" if extra else "the records differ"


def _gist(journal: list[StepRecord], step: StepRecord) -> dict[str, Any]:
    from .codec import encode

    def plain(version: Version) -> Any:
        return [version.key, version.verb, encode(version.value)]

    return {
        "reads": [v.key for v in step.reads],
        "writes": [plain(v) for v in step.writes],
        "decision": None if step.decision is None else [step.decision.choice, step.decision.rule],
        "calls": [[c.name, c.key, c.arguments_digest] for c in step.calls],
        "questions": [[encode(record.ask), record.kind] for record in step.asks],
        "events": [[e.name, encode(e.data)] for e in step.events],
    }
