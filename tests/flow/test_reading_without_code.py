"""A footprint is read where the code that ran is not at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from agentfootprint.flow import Flow, Footprint, Seq, Step


class Notes(TypedDict, total=False):
    input: str
    notes: Seq[str]


async def test_a_growing_list_reads_back_without_its_declared_type(tmp_path: Path) -> None:
    flow: Flow[Notes] = Flow("notes", state=Notes)

    @flow.step(to="spread")
    def begin(step: Step[Notes]) -> None:
        step["notes"] = Seq([step.input])

    @flow.fork(branches=["left", "right"], to="last")
    def spread(step: Step[Notes]) -> None: ...

    @flow.step
    def left(step: Step[Notes]) -> None:
        step.append("notes", "left")

    @flow.step
    def right(step: Step[Notes]) -> None:
        step.append("notes", "right")

    @flow.step
    def last(step: Step[Notes]) -> None:
        step.append("notes", "last")

    run = await flow.start("first")
    run.footprint.save(tmp_path / "notes.footprint.jsonl")

    read = Footprint.load(tmp_path / "notes.footprint.jsonl")

    assert list(read.state["notes"]) == ["first", "left", "right", "last"]
    assert list(read.at("last#0")["notes"]) == ["first", "left", "right"]
