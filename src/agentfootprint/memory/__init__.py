"""What outlives a turn."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from .memory import Memory, Recalled
from .stores.in_memory import InMemoryStore
from .strategies import Strategy, Window

if TYPE_CHECKING:
    from .stores.agentcore import AgentCoreStore as AgentCoreStore
    from .stores.agentcore_records import ExtractingAgentCoreStore as ExtractingAgentCoreStore
    from .stores.pinecone import PineconeStore as PineconeStore
    from .stores.sqlite import SQLiteStore as SQLiteStore

__all__ = [
    "AgentCoreStore",
    "ComparingStore",
    "ExtractingAgentCoreStore",
    "Filter",
    "InMemoryStore",
    "Match",
    "Memory",
    "MemoryEntry",
    "MemoryStore",
    "Not",
    "Page",
    "PineconeStore",
    "Profile",
    "Recalled",
    "SQLiteStore",
    "SearchableStore",
    "Strategy",
    "TextSearch",
    "Window",
]

# What they need is loaded by those who use them.
_LAZY = {
    "AgentCoreStore": ".stores.agentcore",
    "ExtractingAgentCoreStore": ".stores.agentcore_records",
    "PineconeStore": ".stores.pinecone",
    "SQLiteStore": ".stores.sqlite",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = globals()[name] = getattr(import_module(_LAZY[name], __name__), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
