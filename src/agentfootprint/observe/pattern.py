"""Which events a recorder sees: a dotted glob such as `tool.*`, or a class of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ..errors import ConfigurationError
from ..events import CATALOGUE, Event

__all__ = ["Pattern", "selector"]

Pattern: TypeAlias = str | type[Event]


def selector(pattern: Pattern) -> Callable[[type[Event]], bool]:
    """The pattern as a question to a class of events.

    Raises:
        ConfigurationError: no event of the catalogue can ever match; names the nearest ones.
    """
    selects = _glob(pattern) if isinstance(pattern, str) else _subclass(pattern)
    if not any(selects(kind) for kind in CATALOGUE.values()):
        name = pattern if isinstance(pattern, str) else pattern.__qualname__
        raise ConfigurationError(f"no event can ever match {name!r}: {_suggestion(name)}")
    return selects


def _glob(pattern: str) -> Callable[[type[Event]], bool]:
    if pattern == "*":
        return lambda kind: True
    from fnmatch import fnmatchcase

    return lambda kind: fnmatchcase(kind.type, pattern)


def _subclass(wanted: Any) -> Callable[[type[Event]], bool]:
    if not (isinstance(wanted, type) and issubclass(wanted, Event)):
        raise ConfigurationError(
            f"{wanted!r} names no events: pass a pattern such as 'tool.*' or a class of agentfootprint.events"
        )
    return lambda kind: issubclass(kind, wanted)


def _suggestion(name: str) -> str:
    from difflib import get_close_matches

    families = {kind.split(".")[0] + ".*" for kind in CATALOGUE}
    known = [*CATALOGUE, *families, *(kind.__name__ for kind in CATALOGUE.values())]
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(match) for match in near) + "?"
    return "there are " + ", ".join(sorted(families)) + " and '*' for all"
