"""What must not leave the process: values by their labels, known secrets wherever they are quoted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .again import WITHHELD
from .codec import encode
from .journal import Label, StepRecord, Version

__all__ = ["REDACTED", "known_secrets", "scrub", "secret", "secrets_in"]

REDACTED = "[redacted]"

SHORTEST = 4
SHORTEST_NUMBER = 6
"""Shorter secrets are not looked for inside other strings: they would hit by chance."""


def secret(labels: frozenset[Label] | None) -> bool:
    return labels is not None and any(label.kind == "secrecy" for label in labels)


def known_secrets(journal: Iterable[StepRecord]) -> tuple[str, ...]:
    """The strings (and the numbers, as text) inside values labelled secret, longest first."""
    return secrets_in(version for step in journal for version in step.writes)


def secrets_in(versions: Iterable[Version]) -> tuple[str, ...]:
    found: set[str] = set()
    for version in versions:
        if version.labels is not None and secret(version.labels) and version.value is not WITHHELD:
            # Of a growing list, the items before are those of the version it grew from.
            grown = version.verb == "append"
            _texts(encode(version.value[version.grown_from() :] if grown else version.value), found)
    return tuple(sorted((text for text in found if len(text) >= SHORTEST), key=len, reverse=True))


def _texts(data: Any, found: set[str]) -> None:
    if isinstance(data, str):
        found.add(data)
    elif isinstance(data, dict):
        for item in data.values():
            _texts(item, found)
    elif isinstance(data, list):
        for item in data:
            _texts(item, found)
    elif isinstance(data, (int, float)) and not isinstance(data, bool):
        text = str(data)
        if len(text) >= SHORTEST_NUMBER:
            found.add(text)


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
