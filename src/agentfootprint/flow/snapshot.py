"""A run that stands still, as JSON data, and the same run going on from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..errors import (
    AnswerInvalid,
    AnswerRequired,
    CheckpointMismatch,
    CheckpointTampered,
    CheckpointVersion,
    FlowInvalid,
    JournalInvalid,
)
from .chart import Chart, Flow
from .frame import Frame
from .journal import StepRecord, Version, version_id
from .reading import load_rows
from .rows import step_rows
from .run import Run
from .step import Step

__all__ = ["SNAPSHOT_SCHEMA", "chart_at", "key_types", "restore", "snapshot"]

SNAPSHOT_SCHEMA = 1


def snapshot(run: Run) -> dict[str, Any]:
    """Everything the interpreter holds: the journal and the tree of frames."""
    if run.status == "running":
        raise FlowInvalid("a run can be stored only while it stands still: paused, stopped or ended")
    return {
        "schema": SNAPSHOT_SCHEMA,
        "run": run.id,
        "flow": run.flow.name,
        "hash": run.root.chart.hash,
        "started": run.started,
        "status": run.status,
        "journal": step_rows(run.journal, redact=False),
        "frame": _frame(run, run.root),
    }


def _frame(run: Run, frame: Frame) -> dict[str, Any]:
    journal = run.journal
    row: dict[str, Any] = {
        "path": frame.path,
        "name": frame.name,
        "pc": frame.pc,
        "control": [[step.id, rejoin] for step, rejoin in frame.control],
        "state": {key: version_id(journal[v.step], v) for key, v in frame.state.items()},
        "visits": frame.visits,
    }
    if frame.index is not None:
        row["index"] = frame.index
    if frame.until is not None:
        row["until"] = frame.until
    if frame.because is not None:
        row["because"] = frame.because.id
    if frame.done:
        row["done"] = True
    if frame.open is not None:
        row["open"] = frame.open.id
    if frame.children is not None:
        row["children"] = [_frame(run, child) for child in frame.children]
    return row


def restore(
    flow: Flow[Any], data: Mapping[str, Any], *, answers: Mapping[str, Any] | None = None, **options: Any
) -> Run:
    """The run as it stood, with the answers filled in, ready to `go()`.

    Raises:
        CheckpointVersion, CheckpointMismatch, CheckpointTampered: the data is of another schema,
            of another flow, or not what `snapshot` made.
        AnswerRequired, AnswerInvalid: an open question has no answer; an answer has no question.
    """
    schema = data.get("schema")
    if schema != SNAPSHOT_SCHEMA:
        raise CheckpointVersion(
            f"the stored run has schema {schema!r}, this version reads {SNAPSHOT_SCHEMA}: "
            "resume it with the version of agentfootprint that stored it"
        )
    if data.get("flow") != flow.name or data.get("hash") != flow.chart.hash:
        raise CheckpointMismatch(
            f"the stored run is of flow {data.get('flow')!r} in another shape than {flow.name!r} has now: "
            "resume it with the code that paused it"
        )
    run = Run(flow, run_id=str(data["run"]), **options)
    try:
        run.journal = load_rows(data["journal"], key_types(flow))
        steps = {step.id: step for step in run.journal}
        versions = {
            version_id(step, version): version
            for step in run.journal
            for version in step.writes
            if version.step == step.number
        }
        run.root = _load_frame(data["frame"], flow.chart, flow, steps, versions)
        run.started = float(data["started"])
    except (JournalInvalid, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointTampered(
            f"the stored run is not what was stored: {type(error).__name__}: {error}"
        ) from None
    _fill(run, dict(answers or {}))
    return run


def _load_frame(
    row: Mapping[str, Any],
    chart: Chart,
    flow: Flow[Any],
    steps: Mapping[str, StepRecord],
    versions: Mapping[str, Version],
) -> Frame:
    if row["pc"] is not None and row["pc"] not in chart.nodes:
        raise ValueError(f"there is no step {row['pc']!r}")
    because = steps[row["because"]] if "because" in row else None
    state = {key: versions[name] for key, name in row["state"].items()}
    frame = Frame(
        None, chart, row["path"], row["name"], row["pc"], state, because, row.get("until"), row.get("index")
    )
    frame.control = [(steps[name], rejoin) for name, rejoin in row["control"]]
    frame.visits = dict(row["visits"])
    frame.done = row.get("done", False)
    if "open" in row:
        frame.open = cast("Step[Any]", steps[row["open"]])
    if "children" in row:
        frame.children = [
            _load_frame(child, chart_at(flow, child["path"]), flow, steps, versions)
            for child in row["children"]
        ]
    return frame


def chart_at(flow: Flow[Any], path: str) -> Chart:
    """The chart that a frame at this path walks on: its own flow's, or a sub-flow's."""
    chart = flow.chart
    for segment in path.split("/"):
        node = chart.nodes.get(segment.partition("#")[0])
        if node is not None and node.child is not None:
            chart = node.child.chart
    return chart


def key_types(flow: Flow[Any]) -> Any:
    """Declared types by frame and key, for reading rows back."""
    known: dict[str, Mapping[str, Any]] = {}

    def type_of(path: str, key: str) -> Any:
        types = known.get(path)
        if types is None:
            types = known[path] = chart_at(flow, path).types
        return types.get(key, Any)

    return type_of


def _fill(run: Run, answers: dict[str, Any]) -> None:
    missing = []
    for record in run.asks:
        if record.ask.id in answers:
            record.answer = answers.pop(record.ask.id)
        else:
            missing.append(record.ask.id)
    if missing:
        raise AnswerRequired(f"no answer for {', '.join(missing)}: answers={{ask.id: ...}} takes them")
    if answers:
        raise AnswerInvalid(f"no open question has the id {', '.join(map(repr, answers))}")
