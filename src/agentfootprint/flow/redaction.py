"""What must not leave the process: values by their labels, known secrets wherever they are quoted."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, get_origin, get_type_hints

from .again import WITHHELD
from .codec import encode
from .journal import Label, StepRecord, Version
from .nested import CUT, NESTED, record_of
from .seq import Seq

__all__ = ["REDACTED", "hidden", "hiding", "known_secrets", "scrub", "secret", "secrets_in"]

REDACTED = "[redacted]"

SHORTEST = 4
SHORTEST_NUMBER = 6
"""Shorter secrets are not looked for inside other strings: they would hit by chance."""


def secret(labels: frozenset[Label] | None) -> bool:
    return labels is not None and any(label.kind == "secrecy" for label in labels)


def known_secrets(journal: Iterable[StepRecord]) -> tuple[str, ...]:
    """The strings (and the numbers, as text) inside values labelled secret, also in runs within, longest
    first."""
    return secrets_in(_versions(journal))


def _versions(journal: Iterable[StepRecord]) -> Iterator[Version]:
    for step in journal:
        yield from step.writes
        for call in step.calls:
            if call.name in (NESTED, CUT) and (within := record_of(call)) is not None:
                yield from _versions(within.steps)


def secrets_in(versions: Iterable[Version]) -> tuple[str, ...]:
    found: set[str] = set()
    for version in versions:
        if version.labels is not None and secret(version.labels) and version.value is not WITHHELD:
            # Of a growing list, the items before are those of the version it grew from.
            grown = version.verb == "append"
            _texts(version.value[version.grown_from() :] if grown else version.value, found)
    return tuple(sorted((text for text in found if len(text) >= SHORTEST), key=len, reverse=True))


def _texts(value: Any, found: set[str]) -> None:
    if isinstance(value, str):
        found.add(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            _texts(item, found)
    elif isinstance(value, (list, tuple, Seq)):
        for item in value:
            _texts(item, found)
    elif isinstance(value, (int, float)):
        text = "" if isinstance(value, bool) else str(value)
        if len(text) >= SHORTEST_NUMBER:
            found.add(text)
    elif dataclasses.is_dataclass(value):
        kind: Any = type(value)
        for name in _free_fields(kind):
            _texts(getattr(value, name), found)
    elif value is not None:
        _texts(encode(value), found)


@functools.cache
def _free_fields(kind: type) -> tuple[str, ...]:
    """The fields of a dataclass but those that hold one of a few fixed words: such words are no
    secret, and stand everywhere."""
    try:
        hints = get_type_hints(kind)
    except (NameError, TypeError):
        hints = {}  # Names that only a type checker can find.
    return tuple(f.name for f in dataclasses.fields(kind) if get_origin(hints.get(f.name)) is not Literal)


_hiding: ContextVar[tuple[str, ...]] = ContextVar("agentfootprint_hiding", default=())


@contextmanager
def hiding(journal: Iterable[StepRecord]) -> Iterator[None]:
    """What is told within, is told without the secrets of this journal, and of those around it."""
    secrets = {*_hiding.get(), *known_secrets(journal)}
    token = _hiding.set(tuple(sorted(secrets, key=len, reverse=True)))
    try:
        yield
    finally:
        _hiding.reset(token)


def hidden(data: Any) -> Any:
    """The data without the secrets that are hidden here. Asked for before anything is cut short: half of a
    secret would not be known for one."""
    return scrub(data, _hiding.get())


def scrub(data: Any, secrets: Sequence[str]) -> Any:
    """The data with every known secret replaced wherever it stands inside a string."""
    if not secrets:
        return data
    if isinstance(data, str):
        for one in secrets:
            if one in data:
                data = data.replace(one, REDACTED)
        return data
    if isinstance(data, dict):
        return {scrub(key, secrets): scrub(item, secrets) for key, item in data.items()}
    if isinstance(data, list):
        return [scrub(item, secrets) for item in data]
    return data
