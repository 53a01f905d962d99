"""A run within a step of another one, as the record of that step keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import JournalInvalid
from .again import WITHHELD, Stored
from .codec import dumps, encodes
from .journal import UNANSWERED

if TYPE_CHECKING:
    from .chart import Flow
    from .footprint import Footprint
    from .journal import Call, Label, StepRecord

__all__ = ["CUT", "NESTED", "Nested", "nested_in", "record_of", "told_in"]

NESTED = "nested"
"""The call by which a step has a run made, or go on. Its result is a `Nested`."""

CUT = "nested.cut"
"""The call by which a step that breaks off leaves how far the run within it had come."""


class Nested:
    """A run within a step: what happened in it and, while it waits for a person, all that it needs to go on.

    Attributes:
        told: what whoever ran it says of it, as JSON: its `kind` and `name`, the key of its `output`, …
        waits: text from which it goes on; None when it came to its end.
        recorded: its record; None where that of a later call of the step has it all.
    """

    __slots__ = ("recorded", "told", "waits")

    def __init__(
        self, footprint: Footprint | None, told: Mapping[str, Any], waits: str | None = None
    ) -> None:
        self.recorded = footprint
        self.told = told
        self.waits = waits

    @property
    def footprint(self) -> Footprint:
        """Its record, up to where it stands."""
        if self.recorded is None:
            raise JournalInvalid("the record of this run is that of the call by which it went on")
        return self.recorded

    @property
    def labels_of_asks(self) -> frozenset[Label] | None:
        """The labels of the questions that wait in its record."""
        if self.recorded is None:
            return None
        waiting = [one for step in self.recorded.steps for one in step.asks if one.answer is UNANSWERED]
        return frozenset[Any]().union(*(one.labels for one in waiting if one.labels)) or None

    def gone_on(self) -> Nested:
        """What is left of it when a later call of the step has the whole record: that it waited, and for
        what. So a run that waits again and again is not kept once for each time."""
        return Nested(None, self.told, "")

    def data(self, *, redact: bool = False) -> dict[str, Any]:
        """The JSON form. Redacted it tells what happened, and cannot go on."""
        told = {key: value for key, value in self.told.items() if not (redact and key == "asks")}
        data: dict[str, Any] = {"told": told}
        if self.recorded is not None:
            data["rows"] = list(self.recorded.rows(redact=redact))
        if self.waits is not None:
            data["waits"] = "" if redact else self.waits
        return data

    @staticmethod
    def of(result: Any, within: Flow[Any] | None = None) -> Nested:
        """A call's result, also one that was read from a record. `within` is the flow that it was called in,
        which may know the code of what it runs: then values have their types.

        Raises:
            JournalInvalid: it is no such record.
        """
        from .footprint import Footprint

        if isinstance(result, Nested):
            return result
        data = result.data if isinstance(result, Stored) else result
        try:
            told, rows, waits = data["told"], data.get("rows"), data.get("waits")
            code = None if within is None or within.nested_code is None else within.nested_code(told)
            lines = None if rows is None else [dumps(row) for row in rows]
        except (TypeError, KeyError, AttributeError) as error:
            raise JournalInvalid(f"this is no record of a run within another: {error}") from None
        return Nested(None if lines is None else Footprint.from_lines(lines, code), told, waits)


encodes(Nested, Nested.data)


def told_in(call: Call) -> Mapping[str, Any]:
    """What is told of the run that a call made."""
    result = call.result.data if isinstance(call.result, Stored) else call.result
    told: Mapping[str, Any] = result.told if isinstance(result, Nested) else result["told"]
    return told


def record_of(call: Call) -> Footprint | None:
    """The record of the run that a call made; None where there is none, or a later call has it."""
    if call.end is None or call.error is not None or call.result is WITHHELD:
        return None
    return Nested.of(call.result).recorded


def nested_in(step: StepRecord) -> Call | None:
    """The call of a step that says how far the run within it came; None when there was none."""
    for call in reversed(step.calls):
        if call.name in (NESTED, CUT) and call.error is None and call.end is not None:
            return call
    return None
