"""`agentfootprint replay`: a recorded run told, run again without any effect, or run otherwise."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import InputInvalid
from ..flow import Footprint, Run, StepRecord
from ..flow.redaction import hidden, hiding
from ..flow.telling import short, tell_decision
from ..observe.snippet import seconds, snippet
from .codes import COMPLETED, PAUSED
from .loading import find, make
from .loop import Loop
from .replaying import forked, read, replayed
from .terminal import consoles, print_output, printable

__all__ = ["ReplayOptions", "replay_file", "tell_footprint"]


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What the command line says about a record."""

    path: Path
    target: str | None
    fork_at: str | None
    changes: Sequence[str]
    live: bool
    why: str | None
    mermaid: bool


def replay_file(options: ReplayOptions) -> int:
    changes = _check(options)
    found = None if options.target is None else find(options.target)
    out, err = consoles()
    code = COMPLETED
    with Loop() as loop:
        loaded = None if options.target is None else loop.run(make(options.target, found))
        footprint = read(options.path, loaded)
        if options.fork_at is not None and loaded is not None:
            run = loop.run(forked(loaded, footprint, at=options.fork_at, changes=changes, live=options.live))
            _tell_fork(err, footprint, run)
            code = PAUSED if run.status == "paused" else COMPLETED
            footprint = run.footprint
        elif loaded is not None:
            loop.run(replayed(loaded, footprint))
            err.print(
                Text.assemble(
                    ("matches ", "bold green"),
                    f"{len(footprint.steps)} steps ran again without any effect, and did what is recorded.",
                )
            )
    if options.mermaid:
        print(footprint.to_mermaid())
    elif options.why is not None:
        print(printable(_why(footprint, options.why)))
    elif options.fork_at is not None:
        _tell_answer(footprint)
    elif loaded is None:
        tell_footprint(out, footprint)
    return code


def _check(options: ReplayOptions) -> dict[str, Any]:
    """Refuses options that do not fit together; the changes of a fork, by key."""
    if options.fork_at is None:
        if options.changes or options.live:
            raise InputInvalid("--set and --live belong to a fork: say where with --fork-at STEP")
    elif options.target is None:
        raise InputInvalid("a fork runs the code again: name the agent, such as app:agent")
    changes = {}
    for text in options.changes:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputInvalid(f"--set {text!r} is not KEY=JSON")
        try:
            changes[key] = json.loads(value)
        except ValueError:
            changes[key] = value
    return changes


def _why(footprint: Footprint, what: str) -> str:
    key, colon, index = what.partition(":")
    if not colon:
        return footprint.why(key)
    try:
        return footprint.why(key, int(index))
    except ValueError as error:
        if isinstance(error, InputInvalid):
            raise
        raise InputInvalid(f"--why {what!r}: after the colon comes the number of an item, from 0") from None


# ── telling ─────────────────────────────────────────────────────────────────────────────────────


def tell_footprint(out: Console, footprint: Footprint) -> None:
    """What happened, in sentences, and step by step."""
    steps = footprint.steps
    ended = max((step.end or step.start for step in steps), default=footprint.started)
    begun = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(footprint.started))
    out.print(
        Text.assemble(
            (printable(footprint.flow), "bold"),
            (f" · run {printable(footprint.run_id)} · {begun} · ", "dim"),
            (footprint.status, _STYLES.get(footprint.status, "red")),
            (f" · {len(steps)} steps in {seconds(ended - footprint.started)}", "dim"),
        ),
        soft_wrap=True,
    )
    if footprint.truncated:
        out.print(Text("The file ends before the run did: what is missing is not shown.", style="yellow"))
    out.print()
    out.print(Text(printable(footprint.narrative())), soft_wrap=True)
    out.print()
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for heading in ("step", "time", "what"):
        table.add_column(heading, overflow="fold")
    with hiding(steps):
        for step in steps:
            table.add_row(
                Text(step.id, style=_STYLES.get(step.status, "red")),
                Text(seconds((step.end or step.start) - step.start), style="dim"),
                Text(snippet(hidden(_what(step)), 200)),
            )
    out.print(table)


_STYLES = {"done": "green", "paused": "yellow", "running": "yellow", "stopped": "yellow"}


def _what(step: StepRecord) -> str:
    parts: list[str] = [] if step.status == "done" else [step.status]
    if step.error is not None:
        parts.append(f"{step.error[0]}: {step.error[1]}")
    parts += [f"called {call.name}" for call in step.calls]
    parts += [f"asked {record.ask.question}" for record in step.asks]
    if step.decision is not None:
        parts.append(tell_decision(step.decision))
    own = dict.fromkeys(version.key for version in step.writes if version.step == step.number)
    if own:
        parts.append(f"wrote {', '.join(own)}")
    return "; ".join(parts)


def _tell_fork(err: Console, before: Footprint, run: Run) -> None:
    """What came out otherwise than recorded: decisions first, then the final values."""
    with hiding((*before.steps, *run.journal)):
        decided = {step.id: step.decision for step in before.steps if step.decision is not None}
        for step in run.footprint.steps:
            was = decided.get(step.id)
            if step.decision is not None and (was is None or was.choice != step.decision.choice):
                told = f"{step.id} {tell_decision(step.decision)}"
                err.print(Text(printable(told)), soft_wrap=True)
        old, new = before.state, run.footprint.state
        for key, value in new.items():
            if key != "output" and short(value) != short(old.get(key)):
                before_it = short(old[key]) if key in old else "nothing"
                err.print(
                    Text(printable(f"{key}: {before_it} → {short(value)}"), style="dim"), soft_wrap=True
                )
        if run.status == "paused":
            for record in run.asks:
                told = f"paused: a person is asked {hidden(record.ask.question)!r}"
                err.print(Text(printable(told), style="yellow"), soft_wrap=True)


def _tell_answer(footprint: Footprint) -> None:
    state = footprint.state
    with hiding(footprint.steps):
        if "output" in state:
            print_output(hidden(state["output"]))
            return
        last = next((step for step in reversed(footprint.steps) if step.writes and not step.path), None)
        for key in dict.fromkeys(v.key for v in last.writes) if last is not None else ():
            print(f"{key} = {short(state[key], 2000)}")
