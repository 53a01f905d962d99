"""Slices: what a value rests on, and what rests on it, read off the journal by following pointers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from .journal import StepRecord, Version, version_id

__all__ = ["Edge", "EdgeKind", "Slice", "backward", "forward", "origin"]

EdgeKind = Literal["data", "prefix", "merge", "control", "input"]
"""Why one thing rests on another: read before the write; the list it grew from; joined into it; the
decision that led to the step; handed into a sub-flow."""


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` rests on `target`. `via` is the decision's step for a control edge."""

    source: Version
    target: Version
    kind: EdgeKind
    via: StepRecord | None = None


@dataclass(slots=True)
class Slice:
    """A value and everything it rests on, as a graph over versions.

    `decisions` are the decisions on the way. `cut` names what was left out because a bound was
    reached: a slice that was cut says so, it never looks whole.
    """

    root: Version
    journal: Sequence[StepRecord]
    versions: list[Version] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    decisions: list[StepRecord] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)

    def ids(self) -> list[str]:
        return [version_id(self.journal[version.step], version) for version in self.versions]


def backward(
    journal: Sequence[StepRecord],
    root: Version,
    *,
    prefix: bool = True,
    limit: int = 10_000,
) -> Slice:
    """Everything a version rests on, nearest first.

    Data edges go to what the step had read before the write: more than the value may really have
    needed, never less. `prefix=False` leaves out the list that an append grew from.
    """
    out = Slice(root, journal)
    versions, edges = out.versions, out.edges
    seen: set[int] = {id(root)}
    judged: set[int] = set()
    todo: deque[Version] = deque((root,))
    while todo:
        version = todo.popleft()
        if len(versions) >= limit:
            left = 1 + len(todo)
            out.cut.append(f"{left} more after the first {limit}: raise limit= to see them")
            break
        versions.append(version)
        step = journal[version.step]
        basis = version.basis
        if isinstance(basis, tuple):
            kind: EdgeKind = "merge"
            targets: Sequence[Version] = basis
        else:
            kind = "input" if step.node == "input" else "data"
            targets = step.reads[:basis]
        for target in targets:
            edges.append(Edge(version, target, kind))
            if id(target) not in seen:
                seen.add(id(target))
                todo.append(target)
        previous = version.previous
        if previous is not None and version.verb != "set" and (prefix or version is not root):
            edges.append(Edge(version, previous, "prefix"))
            if id(previous) not in seen:
                seen.add(id(previous))
                todo.append(previous)
        reason = step.because
        while reason is not None and id(reason) not in judged:
            judged.add(id(reason))
            out.decisions.append(reason)
            for target in reason.reads:
                edges.append(Edge(version, target, "control", reason))
                if id(target) not in seen:
                    seen.add(id(target))
                    todo.append(target)
            reason = reason.because
    return out


def forward(journal: Sequence[StepRecord], root: Version, *, limit: int = 10_000) -> Slice:
    """Everything that rests on a version."""
    rests_on: dict[int, list[tuple[Version, EdgeKind, StepRecord | None]]] = {}
    for step in journal:
        reasons = []
        reason = step.because
        while reason is not None:
            reasons.append(reason)
            reason = reason.because
        for version in step.writes:
            if version.step != step.number:
                continue
            basis = version.basis
            if isinstance(basis, tuple):
                sources: Sequence[Version] = basis
                kind: EdgeKind = "merge"
            else:
                sources, kind = step.reads[:basis], "input" if step.node == "input" else "data"
            for source in sources:
                rests_on.setdefault(id(source), []).append((version, kind, None))
            if version.previous is not None and version.verb != "set":
                rests_on.setdefault(id(version.previous), []).append((version, "prefix", None))
            for reason in reasons:
                for source in reason.reads:
                    rests_on.setdefault(id(source), []).append((version, "control", reason))
    out = Slice(root, journal)
    seen = {id(root)}
    todo = deque((root,))
    while todo:
        version = todo.popleft()
        if len(out.versions) >= limit:
            out.cut.append(f"{1 + len(todo)} more after the first {limit}: raise limit= to see them")
            break
        out.versions.append(version)
        for dependent, why, via in rests_on.get(id(version), ()):
            out.edges.append(Edge(dependent, version, why, via))
            if id(dependent) not in seen:
                seen.add(id(dependent))
                todo.append(dependent)
    return out


def origin(version: Version, index: int) -> Version:
    """The version that put the item at `index` into a growing list."""
    at = version
    while True:
        start = at.grown_from() if at.verb != "set" else 0
        if at.verb == "set" or (at.verb == "append" and index >= start):
            return at
        if at.verb == "append":
            assert at.previous is not None
            at = at.previous
            continue
        # A join: the items of its sources stand one after the other behind what they grew from.
        sources = at.basis if isinstance(at.basis, tuple) else ()
        if len(sources) == 1 and sources[0].value is at.value:
            at = sources[0]
        elif at.previous is not None and index < start:
            at = at.previous
        else:
            offset = index - start
            for source in sources:
                more = len(source.value) - start
                if offset < more:
                    at, index = source, start + offset
                    break
                offset -= more
            else:
                return at
