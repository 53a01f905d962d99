"""What a step of a flow holds in its hands: tracked state, recorded effects, questions to people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ..errors import (
    DeadlineExceeded,
    FlowInvalid,
    RecordedFailure,
    ReplayDiverged,
    ReplayRefused,
    ResumeDiverged,
)
from .codec import decode, digest
from .journal import (
    UNANSWERED,
    Ask,
    AskRecord,
    Call,
    EventRecord,
    Label,
    StepRecord,
    Version,
)
from .seq import Seq

if TYPE_CHECKING:
    from .frame import Frame
    from .run import Run

__all__ = ["Pause", "Step"]

S = TypeVar("S")
T = TypeVar("T")


class Pause(BaseException):
    """Leaves a step that waits for a person. Not an `Exception`: `except Exception` lets it pass."""


def pause_in(error: BaseException) -> bool:
    """Whether an error is, or an exception group holds, the signal of a pause."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(Pause) is not None
    return isinstance(error, Pause)


class Stored:
    """A result read back from JSON; decoded when the step that asks for it says its type."""

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data


class Withheld:
    """A result that was redacted before it was stored."""

    __slots__ = ()


WITHHELD = Withheld()


class Again:
    """What a step that is entered again already did: its calls by name and key, with what was said
    during them, and its questions."""

    __slots__ = ("asked", "calls", "events", "inner", "strict")

    def __init__(self, calls: list[Call], events: Sequence[EventRecord], *, strict: bool) -> None:
        self.strict = strict
        self.events = events
        self.asked = 0
        self.calls: dict[tuple[str, str | None], list[Call]] = {}
        self.inner: dict[str, list[Call]] = {}
        for call in reversed(calls):
            self.calls.setdefault((call.name, call.key), []).append(call)
            if call.within is not None:
                self.inner.setdefault(call.within, []).append(call)


class Step(StepRecord, Generic[S]):
    """The step that is running. Reads and writes through it are the evidence of the run.

    `step["key"]` reads, `step["key"] = value` writes, `step.state` does both by attribute on the
    declared state class. Values must not be changed in place after they were written.
    """

    __slots__ = ("_again", "_frame", "_labels", "_run", "paused")

    _again: Again | None
    _frame: Frame | None
    _run: Run | None
    _labels: frozenset[Label] | None

    # The record's sequences are lists while the step runs.
    reads: list[Version]
    writes: list[Version]

    def __init__(
        self,
        run: Run,
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
        self.events = ()
        self.asks = ()
        self.decision = None
        self.status = "running"
        self.error = None
        self.start = start
        self.end = None
        self.paused = False
        self._again = None
        self._frame = frame
        self._run = run
        self._labels = None

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
        version = Version(self.number, key, verb, value, len(self.reads), state.get(key), labels)
        state[key] = version
        self.writes.append(version)
        assert self._run is not None
        if self._run.guard is not None:
            self._run.guard.wrote(self, version)

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
    def run(self) -> Run:
        if self._run is None:
            raise self._over()
        return self._run

    @property
    def labels(self) -> frozenset[Label]:
        """The labels of everything read so far."""
        return self._labels or frozenset()

    def forget_labels(self, kind: str = "secrecy") -> None:
        """From here on, what was read before no longer labels what is written (of this kind)."""
        if self._labels is not None:
            self._labels = frozenset(label for label in self._labels if label.kind != kind) or None

    # ── effects ─────────────────────────────────────────────────────────────────────────────────

    async def call(
        self,
        name: str,
        fn: Callable[..., Any],
        /,
        *args: Any,
        key: str | None = None,
        timeout: float | None = None,
        returns: Any = Any,
        raises: tuple[type[Exception], ...] = (),
        within: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """An effect outside the run: called once, recorded, and answered from the record when the
        step is entered again or replayed.

        Args:
            name: what is called, in the record.
            fn: a plain or async function; it gets the remaining arguments.
            key: tells calls of one name apart; without it they are told apart by their order.
            timeout: seconds; raises `TimeoutError`. The run's deadline holds in any case.
            returns: the type of the result, for reading it back from JSON.
            raises: errors that the step itself handles; the record answers with them by name.
            within: `name:key` of the call during which this one is made; when the record answers
                for that one, this one is taken over with it.

        Raises:
            DeadlineExceeded: the run's time was over.
            ReplayRefused: a replay has no record of this call.
            ResumeDiverged, ReplayDiverged: the record is of other arguments.
        """
        run = self.run
        if self._again is not None and (hit := self._hit(name, key, (args, kwargs))) is not None:
            return self._answer(hit, returns, raises)
        record = self._open_call(name, key, (args, kwargs), within)
        try:
            if timeout is None and run.deadline is None:
                result = fn(*args, **kwargs)
                if type(result) is CoroutineType or hasattr(result, "__await__"):
                    result = await result
            else:
                result = await self._bounded(fn, args, kwargs, timeout)
        except BaseException as error:
            self._close_call(record, error=error)
            raise
        record.result = result
        self._close_call(record)
        return result

    def call_now(self, name: str, fn: Callable[..., T], /, *args: Any, returns: Any = Any) -> T:
        """A recorded effect that does not wait: a clock, a random number, the environment."""
        if self._again is not None and (hit := self._hit(name, None, (args, {}))) is not None:
            return cast(T, self._answer(hit, returns, ()))
        record = self._open_call(name, None, (args, {}))
        try:
            record.result = result = fn(*args)
        except BaseException as error:
            self._close_call(record, error=error)
            raise
        self._close_call(record)
        return result

    def now(self) -> float:
        """The time in seconds since the epoch, recorded."""
        return self.call_now("clock", time.time)

    def _open_call(self, name: str, key: str | None, arguments: Any, within: str | None = None) -> Call:
        run = self.run
        if run.replaying and run.effects == "recorded":
            raise ReplayRefused(
                f"step {self.id!r} calls {name!r}, which the record does not answer: "
                "a replay does no effects (a fork may be given effects='live')"
            )
        record = Call(name, key, arguments, time.time(), within)
        self._add_call(record)
        if run.tell is not None:
            run.tell("call", self, record)
        return record

    def _add_call(self, record: Call) -> None:
        # Most steps call nothing and share the empty tuple.
        if self.calls:
            self.calls.append(record)  # type: ignore[attr-defined]
        else:
            self.calls = [record]

    def _close_call(self, record: Call, error: BaseException | None = None) -> None:
        record.end = time.time()
        record.labels = self._labels
        if error is not None:
            record.error = (type(error).__name__, str(error))
            if pause_in(error):
                # It did not fail, it waits: entered again, it is called again.
                self.calls = [call for call in self.calls if call is not record]
        run = self._run
        if run is not None and run.tell is not None:
            run.tell("called", self, record)

    async def _bounded(self, fn: Any, args: Any, kwargs: Any, timeout: float | None) -> Any:
        run = self.run
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        if run.deadline is not None:
            left = run.deadline - time.monotonic()
            if until is None or loop.time() + left < until:
                try:
                    async with asyncio.timeout(left):
                        result = fn(*args, **kwargs)
                        return await result if hasattr(result, "__await__") else result
                except TimeoutError:
                    if time.monotonic() < run.deadline:
                        raise
                    raise DeadlineExceeded(
                        f"the run's time was over in step {self.id!r}: give it a longer timeout"
                    ) from None
        async with asyncio.timeout_at(until):
            result = fn(*args, **kwargs)
            return await result if hasattr(result, "__await__") else result

    def _hit(self, name: str, key: str | None, arguments: Any) -> Call | None:
        assert self._again is not None
        waiting = self._again.calls.get((name, key))
        if not waiting:
            return None
        record = waiting[-1]
        asked = Call(name, key, arguments, 0.0).arguments_digest
        if asked != record.arguments_digest:
            if self.run.patched:
                return None
            kind = ReplayDiverged if self._again.strict else ResumeDiverged
            raise kind(
                f"step {self.id!r} calls {name!r} with other arguments than were recorded: "
                "what a step does must follow from what it reads"
            )
        waiting.pop()
        self._add_call(record)
        for inner in reversed(self._again.inner.get(f"{name}:{key}", ())):
            self._add_call(inner)
        if self._again.events:
            self.events = [*self.events, *(e for e in self._again.events if e.within == f"{name}:{key}")]
        return record

    def _answer(self, record: Call, returns: Any, raises: tuple[type[Exception], ...]) -> Any:
        if record.error is not None:
            kind, text = record.error
            for expected in raises:
                if expected.__name__ == kind:
                    raise expected(text)
            raise RecordedFailure(f"{record.name!r} failed when it was recorded: {kind}: {text}")
        if type(record.result) is Stored:
            record.result = decode(returns, record.result.data)
        elif record.result is WITHHELD:
            raise ReplayRefused(
                f"the result of {record.name!r} in step {self.id!r} was redacted: "
                "only the unredacted record can be run again"
            )
        return record.result

    # ── people ──────────────────────────────────────────────────────────────────────────────────

    async def ask(
        self,
        question: str,
        *,
        kind: str = "ask",
        tool: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        data: Any = None,
        schema: Mapping[str, Any] | None = None,
        expires_at: float | None = None,
    ) -> Any:
        """Asks a person: leaves the step here, and returns the answer when it is entered again.

        The step then runs again from its first line; calls it already made are answered from the
        record, other side effects repeat: ask before you act.

        Raises:
            ResumeDiverged: entered again, the step asks something else than before.
        """
        return self.ask_now(
            question,
            kind=kind,
            tool=tool,
            arguments=arguments,
            data=data,
            schema=schema,
            expires_at=expires_at,
        )

    def ask_now(self, question: str, *, kind: str = "ask", **more: Any) -> Any:
        """`ask` from code that cannot await."""
        run = self.run
        place = self._again.asked if self._again is not None else len(self.asks)
        if self._again is not None:
            self._again.asked += 1
        ask = Ask(f"{self.id}?{place}", question, **more)
        if place < len(self.asks):
            record = self.asks[place]
            if (record.kind, digest(record.ask)) != (kind, digest(ask)):
                raise ResumeDiverged(
                    f"step {self.id!r} asked {record.ask.question!r} before it paused and asks "
                    f"{question!r} now: what is asked must follow from what the step reads"
                )
            if record.answer is not UNANSWERED:
                return record.answer
        else:
            record = AskRecord(ask, kind)
            self.asks = [*self.asks, record]
            answered = run.answer_now(ask)
            if answered is not UNANSWERED:
                record.answer = answered
                return answered
        self.paused = True
        raise Pause

    # ── telling ─────────────────────────────────────────────────────────────────────────────────

    def emit(self, name: str, data: Any = None, *, within: str | None = None) -> None:
        """An event for whoever watches, kept in the journal. `data` is JSON.

        `within` is `name:key` of the call during which it is said: when the record answers for that
        call, the event is taken over with it.
        """
        run = self.run
        record = EventRecord(name, data, time.time(), within)
        self.events = [*self.events, record]
        if run.tell is not None:
            run.tell("emit", self, record)

    def live(self, what: Any) -> None:
        """Something for whoever watches right now; the journal does not keep it."""
        run = self.run
        if run.tell is not None:
            run.tell("live", self, what)

    def _over(self) -> FlowInvalid:
        return FlowInvalid(
            f"step {self.id!r} has ended: its Step cannot be used from something it left running"
        )


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
