"""`agentfootprint runs`: kept runs listed, told and handed out, of one tenant at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentfootprint.flow import Footprint

from .conftest import Command

APP = """
from agentfootprint import Agent
from agentfootprint.observe import record_to
from agentfootprint.providers import MockProvider

agent = Agent(
    MockProvider(respond=lambda request: f"Heard {request.messages[-1].text}"),
    name="desk",
    recorders=[record_to("runs"), record_to("runs.db")],
)
"""


@pytest.fixture
def desk(command: Command, folder: Path) -> Command:
    """The command, beside runs of two tenants and of none."""
    (folder / "desk.py").write_text(APP)
    for tenant in ("acme", "zeta"):
        assert command("run", "desk:agent", f"I am {tenant}\x1b[31m", "--tenant", tenant).returncode == 0
    assert command("run", "desk:agent", "I am nobody").returncode == 0
    return command


@pytest.mark.parametrize("place", ["runs", "runs.db"])
def test_a_run_is_listed_shown_and_exported_for_its_tenant(desk: Command, folder: Path, place: str) -> None:
    lines = desk("runs", "ls", place, "--tenant", "acme").stdout.splitlines()
    assert lines[0].split() == ["run", "agent", "started", "took", "status", "steps", "size"]
    assert len(lines) == 2
    [told] = [
        json.loads(line) for line in desk("runs", "ls", place, "--tenant=acme", "--json").stdout.splitlines()
    ]
    assert (told["agent"], told["tenant"], told["status"]) == ("desk", "acme", "completed")

    shown = desk("runs", "show", place, told["run"][:8], "--tenant", "acme")
    assert "I am acme" in shown.stdout
    assert "\x1b[31m" not in shown.stdout

    whole = ("runs", "export", place, told["run"], "--tenant", "acme")
    assert desk(*whole, "-o", f"{place}.footprint.jsonl").returncode == 0
    assert Footprint.load(folder / f"{place}.footprint.jsonl").run_id == told["run"]
    again = desk(*whole, "-o", f"{place}.footprint.jsonl")
    assert again.returncode != 0  # It is not written over.
    piped = desk(*whole).stdout
    assert piped == (folder / f"{place}.footprint.jsonl").read_text()

    for whose in (["--tenant", "zeta"], ["--tenant", "acm"], []):
        other = desk("runs", "show", place, told["run"], *whose)
        assert other.returncode != 0
        assert "I am acme" not in other.stdout + other.stderr


def test_filters_and_what_is_not_there(desk: Command) -> None:
    assert len(desk("runs", "ls", "runs").stdout.splitlines()) == 2
    assert len(desk("runs", "ls", "runs", "--status", "failed").stdout.splitlines()) == 1
    assert len(desk("runs", "ls", "runs", "--agent", "other").stdout.splitlines()) == 1
    missing = desk("runs", "ls", "elsewhere.db")
    assert missing.returncode != 0
    assert "there is nothing at elsewhere.db" in missing.stderr
