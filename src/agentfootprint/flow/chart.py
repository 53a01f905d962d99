"""A flow: a chart of named steps, built with decorators, checked before its first run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    TypeVar,
    get_args,
    get_type_hints,
    overload,
)

from ..errors import FlowInvalid
from .codec import digest
from .journal import Label, Version

if TYPE_CHECKING:
    from ..tools.context import ToolContext
    from ..tools.tool import Approval, Tool
    from .footprint import Footprint
    from .run import Run

__all__ = ["Chart", "Flow", "Node", "Reduce"]

S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Any])

NodeKind = Literal["step", "decide", "fork", "map", "sub"]

CHANGED = "changed"
"""The name of the record that a fork from a step begins with."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Reduce:
    """How the values that several branches wrote to one key become one: `fn(left, right)`, folded in
    the order of declaration. Written as `Annotated[int, Reduce(operator.add)]` on the state class."""

    fn: Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a chart. `to` are the names it may lead to; empty means the frame ends here."""

    name: str
    kind: NodeKind
    fn: Callable[..., Any]
    is_async: bool
    to: tuple[str, ...]
    doc: str
    branches: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()
    over: str | None = None
    limit: int | None = None
    child: Flow[Any] | None = None
    outputs: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """A flow as the interpreter wants it: checked, with what follows from its shape worked out.

    `rejoin` maps a decision to the step where its ways meet again (its immediate post-dominator),
    None where they meet only at the end. `inline` names the branches that never wait, so that no
    task is needed for them.
    """

    start: str
    nodes: Mapping[str, Node]
    rejoin: Mapping[str, str | None]
    inline: frozenset[str]
    types: Mapping[str, Any]
    reducers: Mapping[str, Callable[[Any, Any], Any]]
    labels: Mapping[str, frozenset[Label]]
    hash: str


class Flow(Generic[S]):
    """A chart of steps over a typed state.

    The first step declared is where runs begin. A step's `to` names what follows; without it the
    flow (or the branch) ends there.

    A kind of flow that has words of its own sets `narrator` (tells a whole run) and `explainer`
    (tells what a version, or one item of it, rests on, in at most so many lines). One whose steps have
    others run sets `nested_code`, which finds the code of these by what is told of their runs.

    Args:
        name: shown in records and pictures.
        state: a class whose annotations declare the keys: a TypedDict or a dataclass. Declared keys
            are decoded by their types when a run is loaded, may carry `Reduce(...)` and `Label(...)`
            in `Annotated`, and other keys are refused. Without it any key goes.
    """

    def __init__(self, name: str, *, state: type[S] | None = None, doc: str = "") -> None:
        if not _NAME.fullmatch(name):
            raise FlowInvalid(f"flow name {name!r}: use letters, digits, '_', '-', '.'")
        self.name = name
        self.doc = doc
        self.state_type = state
        self.narrator: Callable[[Footprint], str] | None = None
        self.explainer: Callable[[Footprint, Version, int | None, int], str] | None = None
        self.nested_code: Callable[[Mapping[str, Any]], Flow[Any] | None] | None = None
        self._nodes: dict[str, Node] = {}
        self._chart: Chart | None = None

    # ── building ────────────────────────────────────────────────────────────────────────────────

    @overload
    def step(self, fn: F, /) -> F: ...
    @overload
    def step(self, /, *, to: str | None = None, name: str | None = None) -> Callable[[F], F]: ...
    def step(self, fn: Any = None, /, *, to: str | None = None, name: str | None = None) -> Any:
        """A step: `async def` or `def` over one `Step`."""

        def add(function: F) -> F:
            self._add(function, "step", name, (to,) if to else ())
            return function

        return add(fn) if fn is not None else add

    def decide(self, *, to: Mapping[str, str] | Sequence[str], name: str | None = None) -> Callable[[F], F]:
        """A decision: returns one of the keys of `to` (or of its names), as a string or from
        `decide(...)`, which records the evidence."""
        targets = dict(to) if isinstance(to, Mapping) else {target: target for target in to}

        def add(function: F) -> F:
            self._add(function, "decide", name, tuple(targets.values()), outputs=targets)
            return function

        return add

    def fork(
        self,
        *,
        branches: Sequence[str],
        to: str | None = None,
        optional: Sequence[str] = (),
        name: str | None = None,
    ) -> Callable[[F], F]:
        """Branches that run side by side on views of their own and join in the order declared.

        The function may return the names of the branches to run (a choice, recorded as evidence);
        None runs all. A branch that fails fails the join, unless it is named in `optional`.
        """

        def add(function: F) -> F:
            self._add(
                function,
                "fork",
                name,
                (to,) if to else (),
                branches=tuple(branches),
                optional=frozenset(optional),
            )
            return function

        return add

    def map(
        self, *, over: str, to: str | None = None, limit: int | None = None, name: str | None = None
    ) -> Callable[[F], F]:
        """One step per item of the key `over`, at most `limit` at a time, joined in the items' order.

        The function takes the step and the item."""

        def add(function: F) -> F:
            if limit is not None and limit < 1:
                raise FlowInvalid(f"{function.__name__}: limit must be at least 1, not {limit}")
            self._add(function, "map", name, (to,) if to else (), over=over, limit=limit)
            return function

        return add

    def sub(
        self,
        name: str,
        child: Flow[Any],
        *,
        input: Callable[[Any], Any],  # noqa: A002 - the word the other end uses
        outputs: Mapping[str, str],
        to: str | None = None,
    ) -> None:
        """Another flow as one step: `input(step)` makes its input, `outputs` maps keys of its final
        state to keys of this one."""
        self._add(input, "sub", name, (to,) if to else (), child=child, outputs=dict(outputs))

    def _add(
        self, fn: Callable[..., Any], kind: NodeKind, name: str | None, to: tuple[str, ...], **more: Any
    ) -> None:
        name = name or fn.__name__
        if self._chart is not None:
            raise FlowInvalid(f"flow {self.name!r} has run: step {name!r} comes too late")
        if not _NAME.fullmatch(name):
            raise FlowInvalid(f"step name {name!r}: use letters, digits, '_', '-', '.'")
        if name in ("input", CHANGED):
            raise FlowInvalid(f"{name!r} is the name of a record that the engine makes itself: take another")
        if name in self._nodes:
            raise FlowInvalid(f"flow {self.name!r} has two steps named {name!r}")
        doc = (inspect.getdoc(fn) or "").strip().split("\n\n")[0].replace("\n", " ")
        is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
            getattr(fn, "__call__", None)  # noqa: B004 - a callable object's own method
        )
        self._nodes[name] = Node(name, kind, fn, is_async, to, doc, **more)

    # ── running ─────────────────────────────────────────────────────────────────────────────────

    async def start(self, input: Any = None, **options: Any) -> Run:  # noqa: A002
        """Runs the flow to its end, or to where it pauses. Options: see `Run`."""
        from .run import Run

        run = Run(self, **options)
        run.begin(input)
        await run.go()
        return run

    async def resume(
        self, snapshot: Mapping[str, Any], *, answers: Mapping[str, Any] | None = None, **options: Any
    ) -> Run:
        """Goes on from `run.snapshot()`, also in another process.

        Raises:
            ResumeRefused: a kind of it says what does not fit.
        """
        from .snapshot import restore

        run = restore(self, snapshot, answers=answers, **options)
        await run.go()
        return run

    def as_tool(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        input: Any = None,  # noqa: A002
        output: str = "output",
        deps: Callable[[ToolContext[Any]], Any] | None = None,
        approval: Approval = None,
        approval_expires_in: float | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
        capabilities: tuple[str, ...] = (),
        max_result_chars: int | None = None,
    ) -> Tool[..., Any]:
        """The flow as a tool of an agent: its record stands in that of the run that calls it, its questions
        to people pause that run, and the run's deadline is its own.

        Args:
            name: what the model calls it; the flow's name unless given.
            description: what the model is told it does; `doc` unless given.
            input: the type of what the model gives; unless given the type that the state declares for
                `input`, and text if there is none.
            output: the key whose final value is the tool's result.
            deps: what the steps get as `step.deps`, made of the tool's context (`ctx.identity`, `ctx.deps`);
                the deps of the agent's run unless given.

        The other options are those of `@tool`.

        Raises:
            ConfigurationError: there is no description, or the state declares no such `output`.
        """
        from ..tools.nested import flow_tool

        return flow_tool(
            self,
            name=name,
            description=description,
            input=input,
            output=output,
            deps=deps,
            approval=approval,
            approval_expires_in=approval_expires_in,
            timeout=timeout,
            idempotent=idempotent,
            capabilities=capabilities,
            max_result_chars=max_result_chars,
        )

    # ── the checked chart ───────────────────────────────────────────────────────────────────────

    @property
    def chart(self) -> Chart:
        if self._chart is None:
            self._chart = _compile(self)
        return self._chart

    def __repr__(self) -> str:
        return f"<Flow {self.name}: {len(self._nodes)} steps>"


def _compile(flow: Flow[Any]) -> Chart:
    nodes = flow._nodes
    if not nodes:
        raise FlowInvalid(f"flow {flow.name!r} has no steps")
    start = next(iter(nodes))
    leads: dict[str, tuple[str, ...]] = {}
    for node in nodes.values():
        for target in (*node.to, *node.branches):
            if target not in nodes:
                known = ", ".join(nodes)
                raise FlowInvalid(f"step {node.name!r} leads to {target!r}, which is not there: {known}")
        if node.kind == "decide" and not node.to:
            raise FlowInvalid(f"decision {node.name!r} leads nowhere: name its targets in `to`")
        if len(set(node.branches)) != len(node.branches):
            raise FlowInvalid(f"fork {node.name!r} names a branch twice")
        if strangers := node.optional - set(node.branches):
            raise FlowInvalid(f"fork {node.name!r}: optional {sorted(strangers)} are not its branches")
        leads[node.name] = node.to
    reached: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += nodes[name].to + nodes[name].branches
    if lost := [name for name in nodes if name not in reached]:
        raise FlowInvalid(f"flow {flow.name!r}: no way leads to {', '.join(lost)}")
    types, reducers, labels = _declared(flow.state_type)
    for node in nodes.values():
        if types and node.over is not None and node.over not in types:
            raise FlowInvalid(f"map {node.name!r} goes over {node.over!r}, which the state does not declare")
        if node.child is not None:
            outputs, given = node.outputs or {}, node.child.chart.types
            if given and (unknown := [theirs for theirs in outputs if theirs not in given]):
                raise FlowInvalid(f"sub-flow {node.name!r} does not declare {', '.join(unknown)}")
            if types and (unknown := [ours for ours in outputs.values() if ours not in types]):
                raise FlowInvalid(
                    f"sub-flow {node.name!r} gives {', '.join(unknown)}, which the state does not declare"
                )
    return Chart(
        start,
        dict(nodes),
        _post_dominators(flow.name, leads),
        _inline(nodes),
        types,
        reducers,
        labels,
        digest(
            [
                [n.name, n.kind, n.to, n.branches, n.over, n.child.chart.hash if n.child else None]
                for n in nodes.values()
            ]
        ),
    )


def _declared(state: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, frozenset[Label]]]:
    types: dict[str, Any] = {}
    reducers: dict[str, Any] = {}
    labels: dict[str, frozenset[Label]] = {}
    if state is None:
        return types, reducers, labels
    try:
        hints = get_type_hints(state, include_extras=True)
    except NameError as error:
        raise FlowInvalid(
            f"the types of {state.__name__} cannot be found ({error}): declare the class, and import what "
            "it names, at the top of a module"
        ) from None
    for key, hint in hints.items():
        extras = getattr(hint, "__metadata__", ())
        kind = get_args(hint)[0] if extras else hint
        types[key] = kind
        for extra in extras:
            if isinstance(extra, Reduce):
                reducers[key] = extra.fn
        if marks := frozenset(extra for extra in extras if isinstance(extra, Label)):
            labels[key] = marks
    return types, reducers, labels


def _inline(nodes: Mapping[str, Node]) -> frozenset[str]:
    """The steps from which everything that can follow in their frame is plain and never waits."""
    plain = {n.name for n in nodes.values() if n.kind in ("step", "decide") and not n.is_async}
    while True:
        less = {name for name in plain if all(to in plain for to in nodes[name].to)}
        if less == plain:
            return frozenset(plain)
        plain = less


def _post_dominators(flow: str, leads: Mapping[str, tuple[str, ...]]) -> dict[str, str | None]:
    """For each step, the nearest step that every way from it to the end passes; None is the end."""
    every = frozenset(leads) | {None}
    after: dict[str | None, frozenset[str | None]] = dict.fromkeys(leads, every)
    after[None] = frozenset({None})
    changed = True
    while changed:
        changed = False
        for name, targets in leads.items():
            ways = [after[target] for target in targets] or [after[None]]
            found = frozenset.intersection(*ways) | {name}
            if found != after[name]:
                after[name], changed = found, True
    out: dict[str, str | None] = {}
    for name in leads:
        if not _ends(name, leads):
            raise FlowInvalid(f"flow {flow!r}: from {name!r} there is no way to the end")
        rest = after[name] - {name}
        # The nearest one is passed first: it is post-dominated by all the others.
        out[name] = max(rest, key=lambda one: len(after[one]))
    return out


def _ends(name: str, leads: Mapping[str, tuple[str, ...]]) -> bool:
    seen, todo = set(), [name]
    while todo:
        at = todo.pop()
        if not leads[at]:
            return True
        if at not in seen:
            seen.add(at)
            todo += leads[at]
    return False
