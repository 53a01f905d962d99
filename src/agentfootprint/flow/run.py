"""The interpreter: one loop that walks frames, fresh or resumed, live or replayed."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable, Container, Mapping
from typing import Any, Literal

from ..errors import (
    AgentFootprintError,
    DeadlineExceeded,
    FlowInvalid,
)
from .abreast import drive_all
from .chart import Chart, Flow, Node
from .footprint import Footprint
from .frame import Frame
from .guard import Guard, development
from .join import Joined, join
from .journal import UNANSWERED, Ask, AskRecord, Decision, StepRecord, Version, new_version
from .leaving import left_by, reopen
from .step import Step

__all__ = ["Run", "RunStatus", "Tell"]

RunStatus = Literal["running", "done", "paused", "stopped", "failed", "cancelled"]

Tell = Callable[[str, StepRecord, Any], None]
"""Hears the walk as it happens: ("open" | "close" | "call" | "called" | "emit" | "live", step, what)."""

_NONE: Mapping[str, Any] = {}


class Run:
    """One walk over a flow, and everything it recorded.

    Args:
        flow: the chart to walk.
        deps: handed to the steps as `step.deps`, never recorded.
        timeout: seconds for the whole run; reaching it raises `DeadlineExceeded`.
        tell: hears the walk as it happens. It must not raise.
        stop_after: stop at the step boundary after this many steps (status "stopped").
        answers: answers to questions, by their ids, given the moment they are asked.
        state: initial values of keys, besides `input`.
        run_id: a name of its own; made up when None.
    """

    def __init__(
        self,
        flow: Flow[Any],
        *,
        deps: Any = None,
        timeout: float | None = None,
        tell: Tell | None = None,
        stop_after: int | None = None,
        answers: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
        run_id: str | None = None,
    ) -> None:
        chart = flow.chart
        self.flow = flow
        self.id = run_id or f"{time.time_ns():x}-{os.urandom(5).hex()}"
        self.deps = deps
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.tell = tell
        self.loop: asyncio.AbstractEventLoop | None = None
        self.status: RunStatus = "running"
        self.journal: list[StepRecord] = []
        self.root = Frame(None, chart, "", flow.name, chart.start, {}, None)
        self.started = time.time()
        self.ended: float | None = None
        self.guard = Guard() if development() else None
        self.redacted = False
        # A replay: what was recorded, by step id; what happens to effects that were not.
        self.source: Mapping[str, StepRecord] | None = None
        self.effects: Literal["recorded", "live"] = "live"
        self.patch: tuple[str, Mapping[str, Any]] | None = None
        self.patched = False
        self.broken_off = False
        self.record_over = False
        self._initial = _NONE if not state else dict(state)
        self._answers = _NONE if not answers else dict(answers)
        self._left = stop_after
        self._halting = False

    # ── the outside ─────────────────────────────────────────────────────────────────────────────

    @property
    def replaying(self) -> bool:
        return self.source is not None

    @property
    def footprint(self) -> Footprint:
        """What happened so far, to be read and asked."""
        return Footprint(
            self.journal,
            flow=self.flow.name,
            flow_hash=self.root.chart.hash,
            run_id=self.id,
            started=self.started,
            status=self.status,
            code=self.flow,
            redacted=self.redacted,
        )

    @property
    def asks(self) -> list[AskRecord]:
        """The open questions, in the order of the steps that ask."""
        return [
            record
            for frame in _frames(self.root)
            if frame.open is not None and not frame.children
            for record in frame.open.asks
            if record.answer is UNANSWERED
        ]

    def __getitem__(self, key: str) -> Any:
        """The value of a key where the run stands now."""
        version = self.root.state.get(key)
        if version is None:
            raise KeyError(f"nothing has written {key!r}; there is: {', '.join(self.root.state)}")
        return version.value

    def get(self, key: str, default: Any = None) -> Any:
        version = self.root.state.get(key)
        return default if version is None else version.value

    def answered_by(self, answers: Container[str], by: str | None) -> None:
        """Notes who gave the answers to the questions of these ids."""
        for step in self.journal:
            for record in step.asks:
                if record.ask.id in answers and record.answer is not UNANSWERED:
                    record.by = by

    def halt(self) -> None:
        """Stops the run at the next step boundary; steps that are running finish first."""
        self._halting = True

    def snapshot(self) -> dict[str, Any]:
        """The run as JSON data, to go on with `flow.resume(...)`; only while nothing is running."""
        from .snapshot import snapshot

        return snapshot(self)

    # ── the walk ────────────────────────────────────────────────────────────────────────────────

    def begin(self, value: Any) -> None:
        """Records the input and the initial state as the run's first step."""
        self._record_input(self.root, {"input": value, **self._initial}, (), None)

    async def go(self) -> None:
        """Walks until the end, a pause, a stop, or an error.

        Raises:
            StepFailed: a step raised; errors of this library are raised as they are. Either carries
                `footprint`.
        """
        self.status = "running"
        self.loop = asyncio.get_running_loop()
        self._halting = False
        for frame in _frames(self.root):
            frame.run = self
            if frame.open is not None:
                reopen(frame, frame.open)
        try:
            finished = await self._drive(self.root)
        except asyncio.CancelledError:
            self._ended("cancelled")
            raise
        except BaseException as error:
            self._ended("failed")
            if isinstance(error, AgentFootprintError):
                error.footprint = self.footprint
            raise
        finally:
            for frame in _frames(self.root):
                frame.run = None
        stopped = self._halting or self.record_over
        self._ended("done" if finished else "stopped" if stopped else "paused")

    def _ended(self, status: RunStatus) -> None:
        self.status = status
        self.ended = time.time()

    async def _drive(self, frame: Frame) -> bool:
        """Walks one frame; whether it came to its end (else it waits where it stands)."""
        chart = frame.chart
        nodes = chart.nodes
        control = frame.control
        journal = self.journal
        item = frame.index is not None
        # One step begins when the one before it ended: nothing happens in between.
        now = time.time()
        while True:
            pc = frame.pc
            if pc is None or pc == frame.until:
                frame.done = True
                return True
            if self._halting:
                return False
            node = nodes[pc]
            kind = "item" if item else node.kind
            step = frame.open
            if step is None:
                while control and control[-1][1] == pc:
                    control.pop()
                step = Step(
                    frame,
                    len(journal),
                    pc,
                    frame.visits.get(pc, 0),
                    control[-1][0] if control else frame.because,
                    now,
                )
                if self.source is None:
                    journal.append(step)
                elif not self._prepare_replay(frame, step):
                    return False
            if self.tell is not None:
                self.tell("open", step, None)
            following: str | None = node.to[0] if node.to else None
            try:
                if self.deadline is not None and time.monotonic() >= self.deadline:
                    raise DeadlineExceeded(
                        f"the run's time was over before step {step.id!r}: give it a longer timeout"
                    )
                if kind == "step":
                    returned = node.fn(step)
                    if node.is_async:
                        returned = await returned
                    if returned is not None:
                        raise _returned(step, returned)
                elif kind == "decide":
                    decision = node.fn(step)
                    if node.is_async:
                        decision = await decision
                    following = self._decided(step, node, decision)
                elif kind == "item":
                    assert frame.index is not None
                    returned = node.fn(step, step[node.over or ""][frame.index])
                    if node.is_async:
                        returned = await returned
                    if returned is not None:
                        raise _returned(step, returned)
                    following = None
                elif not await self._compound(frame, step, node):
                    frame.open = step
                    return False
                if step.rare is not None or step._again is not None:
                    swallowed = step.swallowed
                    if swallowed is not None:
                        raise swallowed
            except BaseException as error:
                if left_by(self, frame, step, error):
                    return False
                raise
            now = step.end = time.time()
            step.status = "done"
            step.reads = tuple(step.reads)  # type: ignore[assignment]
            step.writes = tuple(step.writes)  # type: ignore[assignment]
            if self.guard is not None:
                self.guard.closes(step)
            step._frame = step._again = None
            frame.visits[pc] = step.visit + 1
            frame.open = frame.children = None
            frame.pc = following
            if step.decision is not None and len(node.to) > 1:
                rejoin = chart.rejoin[pc]
                # Inside the same region a later decision takes the place of the earlier one, which
                # stays reachable as the reason of the later one's step.
                if control and control[-1][1] == rejoin:
                    control[-1] = (step, rejoin)
                else:
                    control.append((step, rejoin))
            if self.tell is not None:
                self.tell("close", step, None)
            if self._left is not None:
                self._left -= 1
                if self._left <= 0:
                    self._halting = True

    def _decided(self, step: Step[Any], node: Node, decision: Any) -> str:
        if type(decision) is not Decision:
            if not isinstance(decision, str):
                raise FlowInvalid(
                    f"decision {step.id!r} returned {decision!r}: return a name, or decide(...)"
                )
            decision = Decision(decision, "")
        targets = node.outputs or {}
        target = targets.get(decision.choice)
        if target is None:
            raise FlowInvalid(
                f"decision {step.id!r} chose {decision.choice!r}, but leads only to: {', '.join(targets)}"
            )
        step.decision = decision
        return target

    # ── frames within frames ────────────────────────────────────────────────────────────────────

    async def _compound(self, frame: Frame, step: Step[Any], node: Node) -> bool:
        if frame.children is None:
            frame.children = await self._spread(frame, step, node)
        children = frame.children
        if not await drive_all(self._drive, children, node):
            return False
        if node.kind == "sub":
            given = children[0].state
            outputs = (node.outputs or {}).items()
            if missing := [theirs for theirs, _ in outputs if theirs not in given]:
                raise FlowInvalid(f"sub-flow {step.id!r} ended without writing {', '.join(missing)}")
            for theirs, ours in outputs:
                version = given[theirs]
                self._merge(frame, step, Joined(ours, version.value, "merge", (version,)))
        else:
            self._join(frame, step, [child for child in children if child.done])
        return True

    async def _spread(self, frame: Frame, step: Step[Any], node: Node) -> list[Frame]:
        """Opens the frames of a fork, a map or a sub-flow."""
        if node.kind == "map":
            assert node.over is not None
            items = step[node.over]
            because = step.because
            return [
                Frame(
                    self,
                    frame.chart,
                    _inside(step.id, f"[{i}]"),
                    node.name,
                    node.name,
                    dict(frame.state),
                    because,
                    None,
                    i,
                )
                for i in range(len(items))
            ]
        returned = node.fn(step)
        if node.is_async:
            returned = await returned
        if node.kind == "sub":
            assert node.child is not None
            chart: Chart = node.child.chart
            child = Frame(self, chart, f"{step.id}/", node.child.name, chart.start, {}, step.because)
            self._record_input(child, {"input": returned}, tuple(step.reads), step.because)
            return [child]
        names = node.branches
        because = step.because
        if returned is not None:
            decision = returned if type(returned) is Decision else Decision(tuple(returned), "")
            if unknown := [name for name in decision.choice if name not in names]:
                raise FlowInvalid(f"fork {step.id!r} chose {unknown}, which are not its branches")
            names = tuple(name for name in names if name in decision.choice)
            step.decision = decision
            because = step
        until = node.to[0] if node.to else None
        return [
            Frame(
                self,
                frame.chart,
                _inside(step.id, f".{name}/"),
                name,
                name,
                dict(frame.state),
                because,
                until,
            )
            for name in names
        ]

    def _record_input(
        self,
        frame: Frame,
        values: Mapping[str, Any],
        reads: tuple[Version, ...],
        because: StepRecord | None,
    ) -> None:
        """The step a frame of its own state begins with: its writes are what it was given."""
        now = time.time()
        step: Step[Any] = Step(frame, len(self.journal), "input", 0, because, now)
        self.journal.append(step)
        labels = frozenset[Any]().union(*(v.labels for v in reads if v.labels is not None)) or None
        for key, value in values.items():
            declared = frame.chart.labels.get(key)
            marks = declared if labels is None else labels if declared is None else labels | declared
            version = new_version(step.number, key, "set", value, len(reads), None, marks)
            frame.state[key] = version
            step.writes.append(version)
            if self.guard is not None:
                self.guard.wrote(step, version)
        step.reads = reads  # type: ignore[assignment]
        step.writes = tuple(step.writes)  # type: ignore[assignment]
        step.end = now
        step.status = "done"
        step._frame = None
        if self.tell is not None:
            self.tell("close", step, None)

    def _join(self, frame: Frame, step: Step[Any], children: list[Frame]) -> None:
        """Brings the branches' writes together, in the order declared."""
        states = [child.state for child in children]
        # All of it is worked out before anything is written: a join that fails has joined nothing.
        for joined in join(self.journal, frame.state, states, frame.chart.reducers):
            if len(joined.versions) == 1:
                frame.state[joined.key] = joined.versions[0]
                step.writes.append(joined.versions[0])
            else:
                self._merge(frame, step, joined)

    def _merge(self, frame: Frame, step: Step[Any], joined: Joined) -> None:
        key, value, verb, versions = joined
        labels = frozenset[Any]().union(*(v.labels for v in versions if v.labels is not None)) or None
        merged = new_version(step.number, key, verb, value, versions, frame.state.get(key), labels)
        frame.state[key] = merged
        step.writes.append(merged)
        if self.guard is not None:
            self.guard.wrote(step, merged)

    # ── answers and records ─────────────────────────────────────────────────────────────────────

    def answer_now(self, ask: Ask) -> Any:
        return self._answers.get(ask.id, UNANSWERED)

    def _prepare_replay(self, frame: Frame, step: Step[Any]) -> bool:
        from .replay import prepare

        return prepare(self, frame, step)


def _returned(step: Step[Any], returned: Any) -> FlowInvalid:
    return FlowInvalid(
        f"step {step.id!r} returned {type(returned).__name__}: "
        "a step returns nothing, it writes with step[key] = value"
    )


@functools.lru_cache(maxsize=512)
def _inside(step_id: str, place: str) -> str:
    """The path of a frame that a step opened: one string for all runs, since each record holds it."""
    return step_id + place


def _frames(frame: Frame) -> list[Frame]:
    out = [frame]
    for child in frame.children or ():
        out += _frames(child)
    return out
