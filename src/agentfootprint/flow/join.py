"""How what several branches wrote becomes one state again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import JoinConflict
from .journal import StepRecord, Verb, Version

__all__ = ["Joined", "join"]


class Joined(NamedTuple):
    """One key after a join: the versions that met there, and their one value."""

    key: str
    value: Any
    verb: Verb
    versions: tuple[Version, ...]


def join(
    journal: Sequence[StepRecord],
    state: Mapping[str, Version],
    branches: Sequence[Mapping[str, Version]],
    reducers: Mapping[str, Callable[[Any, Any], Any]],
) -> list[Joined]:
    """What the branches' states, in the order declared, make of the state they began with.

    A key that one branch wrote is taken over as it is. Lists that only grew give their new items in
    order; everything else that several wrote goes through its reducer.

    Raises:
        JoinConflict: several wrote a key that has no reducer, or one replaced a list that others
            appended to.
    """
    changed: dict[str, list[Version]] = {}
    for branch in branches:
        for key, version in branch.items():
            if state.get(key) is not version:
                changed.setdefault(key, []).append(version)
    return [
        _joined(journal, key, state.get(key), tuple(versions), reducers.get(key))
        for key, versions in changed.items()
    ]


def _joined(
    journal: Sequence[StepRecord],
    key: str,
    base: Version | None,
    versions: tuple[Version, ...],
    reducer: Callable[[Any, Any], Any] | None,
) -> Joined:
    value = versions[0].value
    if len(versions) == 1:
        return Joined(key, value, "merge", versions)
    if all(_grew_from(version, base) for version in versions):
        size = len(base.value) if base is not None else 0
        for version in versions[1:]:
            value = value.extend(version.value[size:])
        return Joined(key, value, "merge", versions)
    if reducer is None:
        writers = " and ".join(repr(journal[version.step].id) for version in versions)
        raise JoinConflict(
            f"{key!r} was written by {writers}: declare how to bring them together "
            f"(Annotated[..., Reduce(fn)]), or write different keys"
        )
    for version in versions[1:]:
        value = reducer(value, version.value)
    return Joined(key, value, "reduce", versions)


def _grew_from(version: Version, base: Version | None) -> bool:
    """Whether a version came from the base by appends, and joins of appends, alone."""
    at: Version | None = version
    while at is not base:
        if at is None or not at.grew:
            return False
        at = at.previous
    return True
