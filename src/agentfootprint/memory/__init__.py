"""What outlives a turn."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .asking import Ask
from .base import (
    ComparingStore,
    Filter,
    Match,
    MemoryEntry,
    MemoryStore,
    Not,
    Page,
    Profile,
    SearchableStore,
    TextSearch,
)
from .facts import Extract, Fact
from .memory import Memory, Recalled
from .stores.in_memory import InMemoryStore
from .strategies import Budget, Chosen, Decay, Extracting, Folding, Hybrid, Strategy, TopK, Window
from .summaries import Summarize

if TYPE_CHECKING:
    from .stores.agentcore import AgentCoreStore as AgentCoreStore
    from .stores.agentcore_records import ExtractingAgentCoreStore as ExtractingAgentCoreStore
    from .stores.dynamodb import DynamoDBStore as DynamoDBStore
    from .stores.pinecone import PineconeStore as PineconeStore
    from .stores.postgres import PostgresStore as PostgresStore
    from .stores.redis import RedisStore as RedisStore
    from .stores.sqlite import SQLiteStore as SQLiteStore

# Name to module; a driver is loaded by those who use it.
_LAZY = {
    "AgentCoreStore": "agentcore",
    "DynamoDBStore": "dynamodb",
    "ExtractingAgentCoreStore": "agentcore_records",
    "PineconeStore": "pinecone",
    "PostgresStore": "postgres",
    "RedisStore": "redis",
    "SQLiteStore": "sqlite",
}

__all__ = [
    "AgentCoreStore",
    "Ask",
    "Budget",
    "Chosen",
    "ComparingStore",
    "Decay",
    "DynamoDBStore",
    "Extract",
    "Extracting",
    "ExtractingAgentCoreStore",
    "Fact",
    "Filter",
    "Folding",
    "Hybrid",
    "InMemoryStore",
    "Match",
    "Memory",
    "MemoryEntry",
    "MemoryStore",
    "Not",
    "Page",
    "PostgresStore",
    "PineconeStore",
    "Profile",
    "Recalled",
    "RedisStore",
    "SQLiteStore",
    "SearchableStore",
    "Strategy",
    "Summarize",
    "TextSearch",
    "TopK",
    "Window",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".stores.{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
