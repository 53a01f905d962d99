"""Small records that instances share."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import CheckedStore, LogRecord, Record, StateKey, StateStore
from .memory import InMemoryState

if TYPE_CHECKING:
    from .dynamodb import DynamoDBState as DynamoDBState
    from .postgres import PostgresState as PostgresState
    from .redis import RedisState as RedisState
    from .sqlite import SQLiteState as SQLiteState

# Name to module; a driver is loaded by those who use it.
_LAZY = {
    "DynamoDBState": "dynamodb",
    "PostgresState": "postgres",
    "RedisState": "redis",
    "SQLiteState": "sqlite",
}

__all__ = [
    "CheckedStore",
    "DynamoDBState",
    "InMemoryState",
    "LogRecord",
    "PostgresState",
    "Record",
    "RedisState",
    "SQLiteState",
    "StateKey",
    "StateStore",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
