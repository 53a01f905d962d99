"""Ways to take a run through the outside world: stored, loaded, told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from agentfootprint.errors import AgentFootprintError
from agentfootprint.flow import Flow, Footprint, Run
from agentfootprint.flow.rows import canonical_rows

SETTINGS = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
"""The same examples on every machine: what they find, they find everywhere."""


def told(run: Run | Footprint) -> str:
    """What must be the same whenever the same run is told."""
    return canonical_rows(run.steps if isinstance(run, Footprint) else run.journal)


def stored(run: Run) -> dict[str, Any]:
    """The run as it would lie in a store."""
    data: dict[str, Any] = json.loads(json.dumps(run.snapshot()))
    return data


def loaded(run: Run, flow: Flow[Any] | None = None, *, redact: bool = False) -> Footprint:
    """The run's footprint, written to lines and read back."""
    return Footprint.from_lines(run.footprint.to_jsonl(redact=redact).split("\n"), flow)


def answers_to(run: Run, answer: Any = True) -> dict[str, Any]:
    return {record.ask.id: answer for record in run.asks}


async def broken(flow: Flow[Any], given: Any = None) -> tuple[Run, AgentFootprintError]:
    """A run that fails, and its error."""
    run = Run(flow)
    run.begin(given)
    with pytest.raises(AgentFootprintError) as caught:
        await run.go()
    assert run.status == "failed"
    return run, caught.value
