"""Entering a step again: the pause that left it, and what it had done before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ReplayDiverged, ResumeDiverged
from .codec import digest
from .journal import UNANSWERED, Ask, AskRecord, Call, EventRecord

__all__ = ["WITHHELD", "Again", "Pause", "Stored", "Withheld", "pause_in"]


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
    """A value or a result that was redacted before it was stored."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "[redacted]"


WITHHELD = Withheld()


class Again:
    """What a step that is entered again already did: its calls by name and key, with the `events` told
    during them, and its questions.

    `answered` are questions of the same step in another run, whose answers hold if it asks the same.
    """

    __slots__ = ("answered", "asked", "calls", "cut", "diverged", "events", "inner", "strict")

    def __init__(
        self,
        calls: list[Call],
        events: Sequence[EventRecord] = (),
        *,
        strict: bool,
        answered: Sequence[AskRecord] = (),
        cut: frozenset[tuple[str, str | None]] = frozenset(),
    ) -> None:
        self.strict = strict
        self.events = events
        self.answered = answered
        self.cut = cut
        self.asked = 0
        self.diverged: ResumeDiverged | ReplayDiverged | None = None
        self.calls: dict[tuple[str, str | None], list[Call]] = {}
        self.inner: dict[str, list[Call]] = {}
        for call in reversed(calls):
            self.calls.setdefault((call.name, call.key), []).append(call)
            if call.within is not None:
                self.inner.setdefault(call.within, []).append(call)

    def answer_to(self, ask: Ask, kind: str) -> Any:
        asked = (kind, digest(ask))
        for record in self.answered:
            if (record.kind, digest(record.ask)) == asked:
                return record.answer
        return UNANSWERED
