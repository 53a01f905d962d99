"""`agentfootprint runs`: the runs that `record_to` keeps, listed, told and handed out."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ..errors import InputInvalid
from ..flow import Footprint
from ..observe.records import open_records
from ..observe.records.base import KeptRun, RunRecords
from .codes import COMPLETED
from .replay import tell_footprint
from .replaying import flow_of
from .terminal import consoles, printable

__all__ = ["RunsOptions", "export", "ls", "show"]


@dataclass(frozen=True, slots=True)
class RunsOptions:
    """Which runs: where they are kept, and of which tenant; None: those without one."""

    place: str
    tenant: str | None

    def open(self) -> RunRecords:
        if "://" not in self.place and not Path(self.place).exists():
            raise InputInvalid(f"there is nothing at {self.place}: name what record_to was given")
        return open_records(self.place)


def ls(options: RunsOptions, *, agent: str | None, status: str | None, limit: int, as_json: bool) -> int:
    """The newest runs, a line each."""
    with closing(options.open()) as records:
        runs = records.list(options.tenant, agent=agent, status=status, limit=limit)
    if as_json:
        for run in runs:
            print(json.dumps(_told(run), ensure_ascii=False))
        return COMPLETED
    table = Table("run", "agent", "started", "took", "status", "steps", "size", box=None, pad_edge=False)
    for run in runs:
        table.add_row(
            run.run_id,
            printable(run.agent),
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(run.started)),
            f"{max(run.ended - run.started, 0.0):.1f} s",
            run.status,
            str(run.steps),
            f"{run.size / 1024:.1f} KiB",
        )
    consoles()[0].print(table)
    return COMPLETED


def show(options: RunsOptions, wanted: str) -> int:
    """What happened in a run, in sentences, and step by step."""
    lines = _lines(options, wanted).splitlines()
    footprint = Footprint.from_lines(lines)
    known = flow_of(footprint)
    tell_footprint(consoles()[0], footprint if known is None else Footprint.from_lines(lines, known))
    return COMPLETED


def export(options: RunsOptions, wanted: str, file: Path | None) -> int:
    """A run's footprint, as it is replayed and shown elsewhere."""
    lines = _lines(options, wanted)
    if file is None:
        print(lines.decode("utf-8", "replace"), end="")
        return COMPLETED
    try:
        # Never over something that is there.
        with file.open("xb") as out:
            out.write(lines)
    except OSError as error:
        raise InputInvalid(f"cannot write {file}: {error.strerror}") from None
    consoles()[1].print(f"wrote {file}", markup=False, highlight=False)
    return COMPLETED


def _lines(options: RunsOptions, wanted: str) -> bytes:
    with closing(options.open()) as records:
        lines = records.read(options.tenant, wanted)
        if lines is None and wanted:
            near = [
                run for run in records.list(options.tenant, limit=10_000) if run.run_id.startswith(wanted)
            ]
            if len(near) == 1:
                lines = records.read(options.tenant, near[0].run_id)
    if lines is None:
        whose = "of no tenant" if options.tenant is None else f"of tenant {options.tenant!r}"
        raise InputInvalid(f"no one run {whose} is {wanted!r}: `agentfootprint runs ls` lists them")
    return lines


def _told(run: KeptRun) -> dict[str, Any]:
    tenant, principal, conversation = (None,) * 3 if run.identity is None else run.identity.parts
    return {
        "run": run.run_id,
        "agent": run.agent,
        "tenant": tenant,
        "principal": principal,
        "conversation": conversation,
        "status": run.status,
        "started": run.started,
        "ended": run.ended,
        "steps": run.steps,
        "size": run.size,
    }
