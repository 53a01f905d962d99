"""The shape of the source tree."""

from __future__ import annotations

import ast
from pathlib import Path

import agentfootprint

SOURCE = Path(agentfootprint.__file__).parent
MAX_LINES = 450


def test_no_module_is_too_long_to_read() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    too_long = {str(path.relative_to(SOURCE)): count for path, count in lines.items() if count > MAX_LINES}
    assert lines, f"no source found in {SOURCE}"
    assert not too_long, f"over {MAX_LINES} lines, split them: {too_long}"


def test_no_property_draws_inside_a_coroutine() -> None:
    """Hypothesis ends an example with a signal that kills the task it is raised in; what is left of that
    task is told, and its traceback parsed, whenever the collector comes by: in the middle of another test."""
    found = []
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AsyncFunctionDef):
                given = [each.annotation for each in node.args.args if each.annotation is not None]
                if any("DataObject" in ast.unparse(each) for each in given):
                    found.append(f"{path.name}:{node.lineno} {node.name}")
    assert found == []
