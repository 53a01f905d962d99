"""What a step does outside its state: recorded effects, questions to people, events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..errors import (
    AgentFootprintError,
    DeadlineExceeded,
    FlowInvalid,
    RecordedFailure,
    ReplayDiverged,
    ReplayRefused,
    ResumeDiverged,
)
from .again import WITHHELD, Again, Pause, Stored, pause_in
from .codec import decode, digest
from .current import calling
from .journal import UNANSWERED, Arguments, Ask, AskRecord, Call, EventRecord, Label, StepRecord

if TYPE_CHECKING:
    from .frame import Frame
    from .run import Run

__all__ = ["Effects"]

T = TypeVar("T")


class Effects(StepRecord):
    """The half of a running step that reaches outside; `Step` adds the state."""

    __slots__ = ("_again", "_frame", "_labels")

    _again: Again | None
    _frame: Frame | None
    _labels: frozenset[Label] | None

    @property
    def run(self) -> Run:
        """The run this step is part of."""
        if self._frame is None or self._frame.run is None:
            raise self._over()
        return self._frame.run

    @property
    def running(self) -> bool:
        """Whether the step has not ended yet: what a task it left behind must know."""
        return self._frame is not None and self._frame.run is not None

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
        arguments: Any = Arguments(args, kwargs) if kwargs else args
        if self._again is not None and (hit := self._hit(name, key, arguments)) is not None:
            return self._answer(hit, returns, raises)
        record = self._open_call(name, key, arguments, within)
        outer = calling.set((self, record))
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
        finally:
            calling.reset(outer)
        record.result = result
        self._close_call(record)
        return result

    def call_now(
        self, name: str, fn: Callable[..., T], /, *args: Any, returns: Any = Any, within: str | None = None
    ) -> T:
        """A recorded effect that does not wait: a clock, a random number, the environment.

        `returns` and `within` are those of `call`.
        """
        if self._again is not None and (hit := self._hit(name, None, args)) is not None:
            return cast(T, self._answer(hit, returns, ()))
        record = self._open_call(name, None, args, within)
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
        self.calls = (*self.calls, record)

    def _close_call(self, record: Call, error: BaseException | None = None) -> None:
        record.end = time.time()
        record.labels = self._labels
        if error is not None:
            record.error = (type(error).__name__, str(error))
            if pause_in(error):
                # It did not fail, it waits: entered again, it is called again.
                self.calls = tuple(call for call in self.calls if call is not record)
        if self._frame is not None and self.run.tell is not None:
            self.run.tell("called", self, record)

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
        asked = Call(name, key, arguments, 0.0).arguments_digest
        place = len(waiting) - 1
        if asked != waiting[place].arguments_digest:
            if not self.run.patched:
                raise self._diverges(
                    f"step {self.id!r} calls {name!r} with other arguments than were recorded: "
                    "what a step does must follow from what it reads"
                )
            while place >= 0 and asked != waiting[place].arguments_digest:
                place -= 1
            if place < 0:
                return None
        record = waiting.pop(place)
        self._add_call(record)
        self.take_over(f"{name}:{key}")
        return record

    def was_cut(self, name: str, key: str | None = None) -> bool:
        """Whether this call was begun before, when the step broke off, and its outcome is not known."""
        return self._again is not None and (name, key) in self._again.cut

    def was_called(self, name: str, key: str | None = None) -> bool:
        """Whether the record answers for this call: the step is entered again, and made it before."""
        return self._again is not None and bool(self._again.calls.get((name, key)))

    def take_over(self, within: str) -> None:
        """Keeps what was called and told during a call, by its `name:key`, that is not made again, and during
        the calls within it."""
        again = self._again
        if again is None:
            return
        taken = {within}
        self._take_calls(within, taken)
        if again.events:
            self.events = (*self.events, *(event for event in again.events if event.within in taken))

    def _take_calls(self, within: str, taken: set[str]) -> None:
        assert self._again is not None
        for inner in reversed(self._again.inner.get(within, ())):
            self._add_call(inner)
            name = f"{inner.name}:{inner.key}"
            if name not in taken:
                taken.add(name)
                self._take_calls(name, taken)

    def _answer(self, record: Call, returns: Any, raises: tuple[type[Exception], ...]) -> Any:
        if record.labels is not None:
            self.takes_labels(record.labels)
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

    def ask_now(
        self, question: str, *, kind: str = "ask", labels: frozenset[Label] | None = None, **more: Any
    ) -> Any:
        """`ask` from code that cannot await. `labels` are those of the question beside the step's own."""
        run = self.run
        place = self._again.asked if self._again is not None else len(self.asks)
        if self._again is not None:
            self._again.asked += 1
        ask = Ask(f"{self.id}?{place}", question, **more)
        if place < len(self.asks):
            record = self.asks[place]
            if (record.kind, digest(record.ask)) != (kind, digest(ask)):
                raise self._diverges(
                    f"step {self.id!r} asked {record.ask.question!r} before it paused and asks "
                    f"{question!r} now: what is asked must follow from what the step reads"
                )
            if record.answer is not UNANSWERED:
                return record.answer
        else:
            own = self._labels
            record = AskRecord(ask, kind, labels=own if labels is None else labels | (own or labels))
            self.asks = [*self.asks, record]
            answered = run.answer_now(ask)
            if answered is UNANSWERED and self._again is not None:
                answered = self._again.answer_to(ask, kind)
            if answered is not UNANSWERED:
                record.answer = answered
                return answered
        self.paused = True
        raise Pause

    def ask_all(
        self, asks: Sequence[Ask], *, kind: str, labels: frozenset[Label] | None = None
    ) -> tuple[list[Any], str | None]:
        """Asks several questions at once, those of a run within this step, with their labels. Leaves the step
        here until all are answered; then the answers, and who gave the last of them."""
        answers, waits = [], False
        for ask in asks:
            more = {"arguments": ask.arguments, "data": ask.data, "schema": ask.schema, "labels": labels}
            try:
                answers.append(
                    self.ask_now(ask.question, kind=kind, tool=ask.tool, expires_at=ask.expires_at, **more)
                )
            except Pause:
                waits = True
        if waits:
            raise Pause
        end = len(self.asks) if self._again is None else self._again.asked
        named = [record.by for record in self.asks[end - len(asks) : end] if record.by is not None]
        return answers, named[-1] if named else None

    def takes_labels(self, labels: frozenset[Label] | None) -> None:
        """From here on, what is written carries these labels too."""
        if labels:
            self._labels = labels if self._labels is None else self._labels | labels

    def _diverges(self, message: str) -> ResumeDiverged | ReplayDiverged:
        strict = self._again is not None and self._again.strict
        error = ReplayDiverged(message) if strict else ResumeDiverged(message)
        if self._again is not None:
            self._again.diverged = error
        return error

    @property
    def swallowed(self) -> AgentFootprintError | None:
        """What code within this step caught although it was not meant for it: a pause, a divergence."""
        if self._again is not None and self._again.diverged is not None:
            return self._again.diverged
        if self.paused:
            return FlowInvalid(
                f"step {self.id!r} asked a person and then went on without the answer: "
                "something caught the pause (a bare `except:` or `except BaseException`)"
            )
        return None

    # ── telling ─────────────────────────────────────────────────────────────────────────────────

    def emit(self, name: str, data: Any = None, *, within: str | None = None) -> None:
        """An event for whoever watches, kept in the journal. `data` is JSON.

        `within` is `name:key` of the call during which it is told: when the record answers for that
        call, the event is taken over with it.
        """
        run = self.run
        record = EventRecord(name, data, time.time(), self._labels, within)
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
