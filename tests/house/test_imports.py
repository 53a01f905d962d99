"""What an import costs, and that every public name is there."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import agentfootprint

SOURCE = Path(agentfootprint.__file__).parent

# Prints what a statement loads that nobody should have to wait for: third-party modules, and the database.
PROBE = """
import os, sys
before = set(sys.modules)
{statement}
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}} - {{"agentfootprint"}}
library = os.path.dirname(os.__file__)

def standard(name):
    # A module of the interpreter's own may be missing from its list of names.
    file = getattr(sys.modules[name], "__file__", None) or ""
    return name in sys.stdlib_module_names or os.path.dirname(file) == library

print(*sorted(name for name in loaded if not standard(name) or name == "sqlite3"))
"""


def heavy_imports_of(statement: str) -> list[str]:
    command = [sys.executable, "-c", PROBE.format(statement=statement)]
    env = os.environ | {"PYTHONPATH": str(SOURCE.parent)}
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def rooms() -> list[str]:
    inits = sorted(SOURCE.rglob("__init__.py"))
    return [".".join(["agentfootprint", *init.parent.relative_to(SOURCE).parts]) for init in inits]


def declared_for_editors(room: ModuleType) -> set[str]:
    """The names that a room imports under TYPE_CHECKING: what mypy and editors see of its lazy exports."""
    assert room.__file__ is not None
    names: set[str] = set()
    for statement in ast.parse(Path(room.__file__).read_text()).body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test).endswith("TYPE_CHECKING"):
            for node in ast.walk(statement):
                if isinstance(node, ast.ImportFrom):
                    names |= {alias.asname or alias.name for alias in node.names}
    return names


def test_importing_the_package_loads_nothing_but_itself() -> None:
    assert heavy_imports_of("import agentfootprint") == []


def test_the_public_names_of_the_package_load_nothing_but_itself() -> None:
    assert heavy_imports_of(f"from agentfootprint import {', '.join(agentfootprint.__all__)}") == []


@pytest.mark.parametrize("name", rooms())
def test_every_exported_name_of_a_room_exists(name: str) -> None:
    room = import_module(name)
    exported = list(getattr(room, "__all__", []))
    assert len(exported) == len(set(exported)), "a name is exported twice"
    missing = [export for export in exported if not hasattr(room, export)]
    assert not missing, f"{name}.__all__ promises names that do not resolve: {missing}"
    if hasattr(room, "__getattr__"):
        assert declared_for_editors(room) <= set(exported), "names under TYPE_CHECKING that are not exported"
        assert set(exported) <= set(dir(room)), "exported names that dir() does not show"


@pytest.mark.parametrize("name", rooms())
def test_a_name_that_a_room_does_not_have_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        import_module(name).no_such_name  # noqa: B018
