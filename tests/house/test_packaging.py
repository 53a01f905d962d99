"""What goes onto PyPI."""

from __future__ import annotations

import email
import tarfile
import zipfile
from pathlib import Path

import agentfootprint

SOURCE = Path(agentfootprint.__file__).parent


def read(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"agentfootprint-{agentfootprint.__version__}.dist-info/{name}").decode()


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    expected = [
        f"agentfootprint/{path.relative_to(SOURCE).as_posix()}"
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert sorted(names) == sorted(expected)
    assert "agentfootprint/py.typed" in names


def test_the_metadata_says_what_an_installer_needs(wheel: Path) -> None:
    metadata = email.message_from_string(read(wheel, "METADATA"))
    assert metadata["Name"] == "agentfootprint"
    assert metadata["Version"] == agentfootprint.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"cli", "all"} <= set(metadata.get_all("Provides-Extra", []))
    assert "agentfootprint contributors" in read(wheel, "licenses/LICENSE")


def test_the_command_and_the_pytest_plugin_are_registered(wheel: Path) -> None:
    entry_points = read(wheel, "entry_points.txt")
    assert "agentfootprint = agentfootprint.cli:main" in entry_points
    assert "[pytest11]\nagentfootprint.testing.plugin = agentfootprint.testing.plugin" in entry_points


def test_the_source_distribution_can_be_built_and_tested_from(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames()}
    assert {"src", "tests", "conftest.py", "Makefile", "pyproject.toml", "README.md", "LICENSE"} <= tops
    assert not {".git", ".venv", ".envs", ".ci"} & tops
