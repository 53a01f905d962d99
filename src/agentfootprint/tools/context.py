"""What a tool may ask of the run it is called from."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["ToolContext"]

Deps = TypeVar("Deps")


class ToolContext(Generic[Deps]):
    """A first parameter of this type is filled by the run and is no argument of the model."""
