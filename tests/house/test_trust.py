"""Data is never code: what is read back cannot name a class, a module or an expression to run."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.errors import JournalInvalid
from agentfootprint.flow.codec import decode
from agentfootprint.messages import Message

SOURCE = Path(__file__).parents[2] / "src" / "agentfootprint"
CALLS = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}

# Where a module may be loaded by a name that is no literal: names written in this package, and the
# `module:attribute` that a person types.
LOADERS = {"cli/loading.py"}


@functools.cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    paths = sorted(SOURCE.rglob("*.py"))
    return tuple((str(path.relative_to(SOURCE)), ast.parse(path.read_text())) for path in paths)


def test_nothing_is_evaluated_and_nothing_is_unpickled() -> None:
    found = []
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
                found.append(f"{name}:{node.lineno} calls {node.func.id}")
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules.append(node.module)
            found += [f"{name}:{node.lineno} imports {module}" for module in modules if module in MODULES]  # type: ignore[attr-defined]
    assert found == []


def test_modules_are_loaded_only_by_names_of_this_package_or_of_a_person() -> None:
    found = []
    for name, tree in trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            own = any(isinstance(a, ast.Name) and a.id == "__name__" for a in node.args)
            if called == "import_module" and not own and name not in LOADERS:
                found.append(f"{name}:{node.lineno}")
    assert found == []


@pytest.mark.parametrize(
    "data",
    [
        {"role": "user", "parts": [{"kind": "os.system", "text": "ls"}]},
        {"role": "user", "parts": [{"lc": 1, "type": "constructor", "id": ["os", "system"]}]},
        {"py/object": "os.system", "role": "user", "parts": []},
        {"__class__": "agentfootprint.messages.Message", "role": "user", "parts": []},
    ],
)
def test_data_that_names_a_constructor_is_refused_or_stays_data(data: Any) -> None:
    try:
        value = decode(Message, data)
    except JournalInvalid:
        return
    assert type(value) is Message
    assert value == Message("user", ())


def test_reserved_looking_keys_of_a_user_s_mapping_stay_data() -> None:
    value = {"lc": 1, "type": "constructor", "id": ["os"], "py/reduce": [], "__class__": "X", "blob": "x"}
    assert decode(dict[str, Any], value) == value
