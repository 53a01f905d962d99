"""What a step of a flow holds in its hands: tracked state, and the effects of `Effects`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ..errors import FlowInvalid
from .effects import Effects
from .journal import Label, StepRecord, Version, new_version
from .seq import Seq

if TYPE_CHECKING:
    from .frame import Frame

__all__ = ["Step"]

S = TypeVar("S")


class Step(Effects, Generic[S]):
    """The step that is running. Reads and writes through it are the evidence of the run.

    `step["key"]` reads, `step["key"] = value` writes, `step.state` does both by attribute on the
    declared state class. Values must not be changed in place after they were written.
    """

    __slots__ = ()

    # The record's sequences are lists while the step runs.
    reads: list[Version]
    writes: list[Version]

    def __init__(
        self,
        frame: Frame,
        number: int,
        node: str,
        visit: int,
        because: StepRecord | None,
        start: float,
    ) -> None:
        self.number = number
        self.path = frame.path
        self.node = node
        self.visit = visit
        self.because = because
        self.reads = []
        self.writes = []
        self.calls = ()
        self.decision = None
        self.status = "running"
        self.start = start
        self.end = None
        self._again = None
        self._frame = frame
        self._labels = None
        self.rare = None

    # ── state ───────────────────────────────────────────────────────────────────────────────────

    def read_version(self, key: str) -> Version | None:
        """The version of a key as this step sees it, tracked as read; None if never written."""
        frame = self._frame
        if frame is None:
            raise self._over()
        version = frame.state.get(key)
        if version is not None:
            if version not in self.reads:
                self.reads.append(version)
            if version.labels is not None:
                self._labels = version.labels if self._labels is None else self._labels | version.labels
        return version

    def __getitem__(self, key: str) -> Any:
        version = self.read_version(key)
        if version is None:
            assert self._frame is not None
            known = ", ".join(self._frame.state)
            raise KeyError(f"step {self.id!r} reads {key!r}, which nothing has written; there is: {known}")
        return version.value

    def get(self, key: str, default: Any = None) -> Any:
        version = self.read_version(key)
        return default if version is None else version.value

    def __contains__(self, key: str) -> bool:
        return self.read_version(key) is not None

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def set(
        self, key: str, value: Any, *, labels: frozenset[Label] | None = None, declassify: bool = False
    ) -> None:
        """Writes a key. The value carries the labels of everything this step has read, and `labels`;
        `declassify=True` says that it reveals nothing of what was read and drops them."""
        self._write(key, "set", value, labels, declassify)

    def append(self, key: str, item: Any) -> None:
        """Adds an item to a growing list (a `Seq`; the first append makes it). O(1)."""
        self.extend(key, (item,))

    def extend(self, key: str, items: Any) -> None:
        """Adds items to a growing list. O(items)."""
        frame = self._frame
        if frame is None:
            raise self._over()
        previous = frame.state.get(key)
        if previous is None:
            grown: Seq[Any] = Seq(items)
        elif type(previous.value) is Seq:
            grown = previous.value.extend(items)
        else:
            raise FlowInvalid(
                f"step {self.id!r} appends to {key!r}, which holds {type(previous.value).__name__}: "
                "start it as Seq(...)"
            )
        self._write(key, "append", grown, previous.labels if previous is not None else None)

    def _write(
        self,
        key: str,
        verb: Any,
        value: Any,
        labels: frozenset[Label] | None = None,
        declassify: bool = False,
    ) -> None:
        frame = self._frame
        if frame is None:
            raise self._over()
        chart = frame.chart
        if chart.types and key not in chart.types:
            known = ", ".join(chart.types)
            raise FlowInvalid(f"step {self.id!r} writes {key!r}, which the state does not declare: {known}")
        if not declassify and self._labels is not None:
            labels = self._labels if labels is None else labels | self._labels
        if chart.labels and key in chart.labels:
            labels = chart.labels[key] if labels is None else labels | chart.labels[key]
        state = frame.state
        version = new_version(self.number, key, verb, value, len(self.reads), state.get(key), labels)
        state[key] = version
        self.writes.append(version)
        guard = frame.run.guard if frame.run is not None else None
        if guard is not None:
            guard.wrote(self, version)

    @property
    def state(self) -> S:
        """The state by attribute, typed as the flow's state class: reads and writes are tracked."""
        return cast(S, _StateView(self))

    @property
    def input(self) -> Any:
        """What the run (or the sub-flow) was started with."""
        return self["input"]

    @property
    def deps(self) -> Any:
        """What the caller handed to the run and no record keeps: clients, connections, callbacks."""
        return self.run.deps

    @property
    def labels(self) -> frozenset[Label]:
        """The labels of everything read so far."""
        return self._labels or frozenset()

    def forget_labels(self, kind: str = "secrecy") -> None:
        """From here on, what was read before no longer labels what is written (of this kind)."""
        if self._labels is not None:
            self._labels = frozenset(label for label in self._labels if label.kind != kind) or None


class _StateView:
    """Attributes of the state class, read and written through a step."""

    __slots__ = ("_step",)

    def __init__(self, step: Step[Any]) -> None:
        object.__setattr__(self, "_step", step)

    def __getattr__(self, key: str) -> Any:
        try:
            return object.__getattribute__(self, "_step")[key]
        except KeyError as error:
            raise AttributeError(str(error)) from None

    def __setattr__(self, key: str, value: Any) -> None:
        object.__getattribute__(self, "_step")[key] = value
