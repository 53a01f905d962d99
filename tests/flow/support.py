"""Ways to take a run through the outside world: stored, loaded, told."""

from __future__ import annotations

import json
from typing import Any

from agentfootprint.flow import Flow, Footprint, Run
from agentfootprint.flow.rows import canonical_rows


def told(run: Run | Footprint) -> str:
    """What must be the same whenever the same run is told."""
    return canonical_rows(run.steps if isinstance(run, Footprint) else run.journal)


def stored(run: Run) -> dict[str, Any]:
    """The run as it would lie in a store."""
    data: dict[str, Any] = json.loads(json.dumps(run.snapshot()))
    return data


def loaded(run: Run, flow: Flow[Any] | None = None, *, redact: bool = False) -> Footprint:
    """The run's footprint, written to lines and read back."""
    return Footprint.from_lines(run.footprint.to_jsonl(redact=redact).splitlines(keepends=True), flow)


def answers_to(run: Run, answer: Any = True) -> dict[str, Any]:
    return {record.ask.id: answer for record in run.asks}
