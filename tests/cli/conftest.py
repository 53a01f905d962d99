from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import agentfootprint
from agentfootprint.cli.commands import app

from .terminal import Terminal

Command = Callable[..., "subprocess.CompletedProcess[str]"]

SECONDS = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an `app.py`."""
    source = Path(__file__).with_name("desk.py").read_text()
    (tmp_path / "app.py").write_text(source)
    return tmp_path


@pytest.fixture
def env() -> dict[str, str]:
    keep = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI")
    }
    source = str(Path(agentfootprint.__file__).parents[1])
    return keep | {"PYTHONPATH": source, "COLUMNS": "160", "LINES": "40", "TERM": "xterm-256color"}


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command in this process, in the folder, without a terminal; every time as if for the
    first time."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        before = set(sys.modules)
        result = CliRunner().invoke(app, list(arguments), input=given, prog_name="agentfootprint")
        for name in set(sys.modules) - before:
            if str(folder) in str(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]
        return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def process(folder: Path, env: dict[str, str]) -> Command:
    """Runs the real command in a process of its own, in the folder, without a terminal."""

    def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "agentfootprint.cli", *arguments],
            cwd=folder,
            env=env,
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    return run


@pytest.fixture
def terminal(folder: Path, env: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Runs the real command on a pseudo-terminal, in the folder."""
    opened: list[Terminal] = []

    def run(*arguments: str) -> Terminal:
        opened.append(Terminal(arguments, folder, env))
        return opened[-1]

    yield run
    for each in opened:
        each.close()
