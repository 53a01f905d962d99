"""The command itself: what it says about itself, and where its extra is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import agentfootprint

from .conftest import Command


def test_the_version_is_told(process: Command) -> None:
    ran = process("--version")
    assert (ran.returncode, ran.stdout) == (0, f"agentfootprint {agentfootprint.__version__}\n")


def test_help_names_the_commands(process: Command) -> None:
    ran = process("--help")
    assert ran.returncode == 0
    assert all(name in ran.stdout for name in ("chat", "run", "replay"))


@pytest.mark.parametrize("name", ["run", "replay"])
def test_help_documents_the_exit_codes(process: Command, name: str) -> None:
    told = " ".join(process(name, "--help").stdout.split())
    for code in ("0 completed", "1 failed", "2 the command line", "3 paused", "4 stopped", "130 interrupted"):
        assert code in told


def test_without_arguments_help_is_shown(process: Command) -> None:
    assert "Usage" in process().stdout


def test_an_unknown_option_is_a_usage_error(process: Command) -> None:
    ran = process("run", "app:agent", "hello", "--colour")
    assert ran.returncode == 2
    assert "--colour" in ran.stderr


@pytest.mark.parametrize("absent", ["typer", "rich"])
@pytest.mark.parametrize("arguments", [[], ["--help"], ["chat", "app:agent"]])
def test_without_its_extra_the_command_says_what_to_install(
    folder: Path, env: dict[str, str], arguments: list[str], absent: str
) -> None:
    script = f"import sys; sys.modules[{absent!r}] = None; from agentfootprint.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr == (
        "the agentfootprint command needs an optional package: pip install 'agentfootprint[cli]'\n"
    )


def test_the_library_does_not_load_the_extra(env: dict[str, str]) -> None:
    script = (
        "import sys, agentfootprint.cli; from agentfootprint import Agent; "
        "print({'typer', 'rich'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "set()\n"


def test_a_reader_that_leaves_early_is_no_error(folder: Path, env: dict[str, str]) -> None:
    folder.joinpath("long.py").write_text(
        "from agentfootprint import Agent\n"
        "from agentfootprint.providers import MockProvider\n"
        "agent = Agent(MockProvider(reply='x' * 10_000_000))\n"
    )
    line = f"{sys.executable} -m agentfootprint.cli run long:agent hello | head -c 5"
    ran = subprocess.run(["sh", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "xxxxx"
    assert "Traceback" not in ran.stderr
