"""Agents on large language models, from laptop to production, where every run explains itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .identity import MemoryIdentity as MemoryIdentity

__version__ = "0.1.0"

# Name to module; loaded on first use, so that importing the package costs next to nothing.
_EXPORTS = {
    "MemoryIdentity": "identity",
}

__all__ = ["MemoryIdentity", "__version__"]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'agentfootprint' has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
