"""What outlives a turn."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import Filter, Match, MemoryEntry, MemoryStore, Not, Page, SearchableStore
from .memory import Memory, Recalled
from .stores.in_memory import InMemoryStore
from .strategies import Budget, Chosen, Decay, Hybrid, Strategy, TopK, Window

if TYPE_CHECKING:
    from .stores.sqlite import SQLiteStore as SQLiteStore

__all__ = [
    "Budget",
    "Chosen",
    "Decay",
    "Filter",
    "Hybrid",
    "InMemoryStore",
    "Match",
    "Memory",
    "MemoryEntry",
    "MemoryStore",
    "Not",
    "Page",
    "Recalled",
    "SQLiteStore",
    "SearchableStore",
    "Strategy",
    "TopK",
    "Window",
]


def __getattr__(name: str) -> Any:
    if name == "SQLiteStore":  # sqlite3 is loaded by those who use it
        value = globals()[name] = import_module(".stores.sqlite", __name__).SQLiteStore
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
