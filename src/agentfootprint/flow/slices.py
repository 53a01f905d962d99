"""Slices: what a value rests on, and what rests on it, read off the journal by following pointers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .journal import StepRecord, Version, version_id

__all__ = ["Edge", "EdgeKind", "Slice", "backward", "forward", "origin"]

EdgeKind = Literal["data", "prefix", "merge", "control", "input"]
"""Why one thing rests on another: read before the write; the list it grew from; joined into it; the
decision that led to the step; handed into a sub-flow."""


Links: TypeAlias = "list[tuple[Version | StepRecord, EdgeKind]]"


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` rests on `target`. A decision stands in the graph as its step."""

    source: Version | StepRecord
    target: Version | StepRecord
    kind: EdgeKind


@dataclass(slots=True)
class Slice:
    """A value and everything it rests on, as a graph over versions and decisions, nearest first.

    `links` are the edges as they were followed: for each node what it rests on, or, in a slice
    `ahead`, what rests on it. `cut` names what was left out because a bound was reached: a slice
    that was cut says so, it never looks whole.
    """

    root: Version
    journal: Sequence[StepRecord]
    versions: list[Version] = field(default_factory=list)
    decisions: list[StepRecord] = field(default_factory=list)
    links: list[tuple[Version | StepRecord, Links]] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    ahead: bool = False

    @property
    def edges(self) -> list[Edge]:
        """The edges, each from what rests on something to what it rests on."""
        return [
            Edge(other, node, kind) if self.ahead else Edge(node, other, kind)
            for node, links in self.links
            for other, kind in links
        ]

    def ids(self) -> list[str]:
        """The ids of the versions."""
        return [version_id(self.journal[version.step], version) for version in self.versions]


def _rests_on(journal: Sequence[StepRecord], node: Version | StepRecord, prefix: bool = True) -> Links:
    """What one version, or one decision, rests on directly."""
    links: Links
    if isinstance(node, StepRecord):
        links = [(version, "data") for version in node.reads]
        if node.because is not None:
            links.append((node.because, "control"))
        return links
    step = journal[node.step]
    basis = node.basis
    if isinstance(basis, tuple):
        links = [(version, "merge") for version in basis]
    elif step.node == "input":
        links = [(version, "input") for version in step.reads]
    else:
        links = [(version, "data") for version in step.reads[:basis]]
    if prefix and node.previous is not None and node.grew:
        links.append((node.previous, "prefix"))
    if step.because is not None:
        links.append((step.because, "control"))
    return links


def backward(
    journal: Sequence[StepRecord], root: Version, *, prefix: bool = True, limit: int = 10_000
) -> Slice:
    """Everything a version rests on.

    Data edges go to what the step had read before the write: more than the value may really have
    needed, never less. `prefix=False` leaves out the list that an append grew from.
    """
    return _walk(
        root, journal, lambda node: _rests_on(journal, node, prefix or node is not root), limit, False
    )


def forward(journal: Sequence[StepRecord], root: Version, *, limit: int = 10_000) -> Slice:
    """Everything that rests on a version."""
    dependents: dict[int, Links] = {}
    nodes: list[Version | StepRecord] = []
    for step in journal:
        nodes += [version for version in step.writes if version.step == step.number]
        if step.decision is not None:
            nodes.append(step)
    for node in nodes:
        for target, kind in _rests_on(journal, node):
            dependents.setdefault(id(target), []).append((node, kind))
    return _walk(root, journal, lambda node: dependents.get(id(node), []), limit, True)


def _walk(
    root: Version,
    journal: Sequence[StepRecord],
    links: Callable[[Version | StepRecord], Links],
    limit: int,
    ahead: bool,
) -> Slice:
    out = Slice(root, journal, ahead=ahead)
    versions, decisions, followed = out.versions, out.decisions, out.links
    seen: set[int] = {id(root)}
    todo: deque[Version | StepRecord] = deque((root,))
    while todo:
        if len(versions) + len(decisions) >= limit:
            out.cut.append(f"{len(todo)} or more left out after the first {limit}: raise limit= to see them")
            break
        node = todo.popleft()
        if isinstance(node, StepRecord):
            decisions.append(node)
        else:
            versions.append(node)
        found = links(node)
        followed.append((node, found))
        for target, _ in found:
            if id(target) not in seen:
                seen.add(id(target))
                todo.append(target)
    return out


def origin(version: Version, index: int) -> Version:
    """The version that put the item at `index` into a growing list."""
    at = version
    while True:
        sources = at.basis if at.verb == "merge" and isinstance(at.basis, tuple) else ()
        if len(sources) == 1:
            at = sources[0]
            continue
        if not at.grew:
            return at
        start = at.grown_from()
        if index < start:
            assert at.previous is not None
            at = at.previous
        elif not sources:
            return at
        else:
            # The items of what was joined stand one after the other behind what they grew from.
            index -= start
            for source in sources:
                more = len(source.value) - start
                if index < more:
                    break
                index -= more
            at, index = source, start + index
