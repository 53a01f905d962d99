"""The tables of events and errors in docs/ say what the code says."""

from __future__ import annotations

import inspect
import tomllib
from dataclasses import fields
from pathlib import Path

from agentfootprint import errors, memory
from agentfootprint.errors import AgentFootprintError
from agentfootprint.events import CATALOGUE, Event

PORTS = ("ComparingStore", "ExtractingAgentCoreStore", "MemoryStore", "SearchableStore")

DOCS = Path(__file__).parents[2] / "docs"


def table(page: str) -> list[str]:
    """The rows of the page's table, without its head."""
    lines = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("|")]
    return lines[2:]


def event_row(kind: type[Event]) -> str:
    common = {field.name for field in fields(Event)}
    own = ", ".join(f"`{field.name}`" for field in fields(kind) if field.name not in common)
    return f"| `{kind.type}` | `{kind.__name__}` | {own} | {first_paragraph(kind)} |"


def error_row(kind: type[AgentFootprintError]) -> str:
    depth = sum(issubclass(base, AgentFootprintError) for base in kind.__mro__) - 1
    return f"| {'· ' * depth}`{kind.__name__}` | `{kind.code}` |"


def first_paragraph(kind: type) -> str:
    doc = kind.__doc__ or ""
    if doc.startswith(f"{kind.__name__}("):  # a dataclass without words of its own
        return ""
    return " ".join(inspect.cleandoc(doc).partition("\n\n")[0].split())


def test_events_are_those_of_the_catalogue() -> None:
    assert table("events.md") == [event_row(kind) for kind in CATALOGUE.values()]


def test_errors_are_those_of_the_tree() -> None:
    def tree(kind: type[AgentFootprintError]) -> list[str]:
        children = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
        return [error_row(kind)] + [row for child in children for row in tree(child)]

    assert table("errors.md") == tree(AgentFootprintError)


def test_stores_are_what_the_matrix_says() -> None:
    lines = (DOCS / "memory.md").read_text().splitlines()
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines if "Store` |" in line]
    kept = [name for name in dir(memory) if name.endswith("Store") and name not in PORTS]
    assert sorted(row[0] for row in rows) == sorted(kept)
    extras = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name, extra, profile, searches, *_ in rows:
        store = getattr(memory, name)
        assert (store.profile, "yes" if hasattr(store, "search") else "no") == (profile, searches), name
        assert extra == "none" or extra in extras, name
