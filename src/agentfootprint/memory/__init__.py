"""What outlives a turn."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import Filter, Match, MemoryEntry, MemoryStore, Not, Page, SearchableStore
from .memory import Memory, Recalled
from .stores.in_memory import InMemoryStore
from .strategies import Strategy, Window

if TYPE_CHECKING:
    from .stores.postgres import PostgresStore as PostgresStore
    from .stores.sqlite import SQLiteStore as SQLiteStore

__all__ = [
    "Filter",
    "InMemoryStore",
    "Match",
    "Memory",
    "MemoryEntry",
    "MemoryStore",
    "Not",
    "Page",
    "PostgresStore",
    "Recalled",
    "SQLiteStore",
    "SearchableStore",
    "Strategy",
    "Window",
]


# Loaded by those who use them: database drivers and sqlite3.
_LAZY = {"PostgresStore": ".stores.postgres", "SQLiteStore": ".stores.sqlite"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = globals()[name] = getattr(import_module(_LAZY[name], __name__), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
