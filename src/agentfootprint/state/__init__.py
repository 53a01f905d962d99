"""Small records that instances share."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import LogRecord, Record, StateKey, StateStore
from .memory import InMemoryState

if TYPE_CHECKING:
    from .sqlite import SQLiteState as SQLiteState

__all__ = ["InMemoryState", "LogRecord", "Record", "SQLiteState", "StateKey", "StateStore"]


def __getattr__(name: str) -> Any:
    if name == "SQLiteState":  # sqlite3 is loaded by those who use it
        value = globals()[name] = import_module(".sqlite", __name__).SQLiteState
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
