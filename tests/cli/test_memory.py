"""`agentfootprint memory`: what is kept of somebody, and forgetting it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Command

APP = """
from agentfootprint import Agent
from agentfootprint.memory import Memory, SQLiteStore
from agentfootprint.providers import MockProvider
from agentfootprint.state import SQLiteState

store = SQLiteStore("desk.db")
agent = Agent(
    MockProvider(respond=lambda request: f"Heard {request.messages[-1].text}"),
    memory=[Memory("mine", scope="principal", store=store), Memory("ours", scope="tenant", store=store)],
    state=SQLiteState("desk.db"),
)
bare = Agent(MockProvider(reply="x"))
"""

ALICE = ("--tenant", "acme", "--principal", "alice")


@pytest.fixture
def desk(command: Command, folder: Path) -> Command:
    """The command, beside an app that two people have talked to."""
    (folder / "desk.py").write_text(APP)
    for name in ("alice", "bob"):
        who = ("--tenant", "acme", "--principal", name, "--conversation", "c-1")
        assert command("run", "desk:agent", f"I am {name}\x1b[31m", *who).returncode == 0
    return command


def test_ls_tells_a_line_for_each_entry_and_paints_no_terminal(desk: Command) -> None:
    ran = desk("memory", "ls", "desk:agent", *ALICE)
    assert ran.returncode == 0
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert lines[0][:3] == ["memory", "entry", "written"]
    assert [line[0] for line in lines[1:]] == ["mine", "ours", "ours"]
    assert "\x1b[31m" not in ran.stdout
    assert "I am alice" in ran.stdout
    assert len(desk("memory", "ls", "desk:agent", *ALICE, "--limit", "1").stdout.splitlines()) == 3
    assert "ours" not in desk("memory", "ls", "desk:agent", *ALICE, "--memory", "mine").stdout


def test_export_and_show_tell_whole_entries(desk: Command) -> None:
    lines = desk("memory", "export", "desk:agent", *ALICE, "--memory", "mine").stdout.splitlines()
    [entry] = [json.loads(line) for line in lines]
    assert entry["memory"] == "mine"
    assert entry["metadata"]["conversation"] == "c-1"
    shown = desk("memory", "show", "desk:agent", entry["id"][:20], *ALICE)
    assert json.loads(shown.stdout) == entry
    missing = desk("memory", "show", "desk:agent", "nothing", *ALICE)
    assert missing.returncode != 0
    assert "no entry of 'nothing'" in missing.stderr


def test_stats_count_what_is_kept(desk: Command) -> None:
    lines = desk("memory", "stats", "desk:agent", *ALICE).stdout.splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [
        ["mine", "SQLiteStore", "principal", "1"],
        ["ours", "SQLiteStore", "tenant", "2"],
    ]


def test_forget_deletes_what_is_kept_of_a_person_and_tells_it(desk: Command) -> None:
    for given in ("", "n\n", "\n"):
        refused = desk("memory", "forget", "desk:agent", *ALICE, given=given)
        assert refused.returncode != 0
        assert "nothing was deleted" in refused.stderr
    assert "I am alice" in desk("memory", "ls", "desk:agent", *ALICE).stdout
    ran = desk("memory", "forget", "desk:agent", *ALICE, given="y\n")
    assert ran.returncode == 0
    assert "Delete all that is kept of acme / alice" in ran.stderr
    assert ran.stdout.splitlines()[1].split() == ["SQLiteStore", "mine,", "ours", "2"]
    left = desk("memory", "ls", "desk:agent", *ALICE).stdout
    assert "I am alice" not in left
    assert "I am bob" in left
    again = desk("memory", "forget", "desk:agent", *ALICE, "--yes")
    assert again.stdout.splitlines()[1].split()[-1] == "0"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ls", "desk:agent"), "--tenant"),
        (("ls", "desk:agent", "--principal", "alice"), "--tenant"),
        (("forget", "desk:agent", "--yes"), "--tenant"),
        (("ls", "desk:agent", *ALICE, "--memory", "x"), "it has: mine, ours"),
        (("ls", "desk:bare", *ALICE), "no memory"),
    ],
)
def test_what_is_missing_is_told(desk: Command, arguments: tuple[str, ...], told: str) -> None:
    ran = desk("memory", *arguments)
    assert ran.returncode != 0
    assert told in ran.stderr
