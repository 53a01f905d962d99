"""The core alone, in an environment that holds nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MAX_DISTRIBUTIONS = 15


@pytest.fixture(scope="session")
def core(wheel: Path, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The folder of executables of a fresh environment with the wheel and its required dependencies."""

    def install(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
        installed = subprocess.run(
            [*pip, "install", "-qq", str(wheel)], capture_output=True, text=True, timeout=280
        )
        assert installed.returncode == 0, installed.stderr

    return made_once("core", install) / "bin"


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AGENTFOOTPRINT"))
    }
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


def test_a_core_install_is_small(core: Path, tmp_path: Path) -> None:
    script = "import importlib.metadata as m; print(*sorted({d.name for d in m.distributions()}))"
    names = run([core / "python", "-c", script], tmp_path).stdout.split()
    assert "agentfootprint" in names
    assert len(names) <= MAX_DISTRIBUTIONS, names


def test_the_core_runs_mocks_first_alone(core: Path, tmp_path: Path) -> None:
    script = Path(__file__).with_name("mocks_first.py")
    ran = run([core / "python", "-W", "error", script], tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "It has shipped."


@pytest.mark.parametrize("arguments", [[], ["--help"], ["chat", "app:agent"]])
def test_the_command_without_its_extra_says_what_to_install(
    core: Path, tmp_path: Path, arguments: list[str]
) -> None:
    ran = run([core / "agentfootprint", *arguments], tmp_path)
    assert ran.returncode != 0
    assert "pip install 'agentfootprint[cli]'" in ran.stderr
    assert "Traceback" not in ran.stderr
