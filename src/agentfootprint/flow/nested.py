"""A run within a step of another one, as the record of that step keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .again import Stored
from .codec import dumps, encodes

if TYPE_CHECKING:
    from .chart import Flow
    from .footprint import Footprint
    from .journal import Call, StepRecord

__all__ = ["CUT", "NESTED", "Nested", "nested_in"]

NESTED = "nested"
"""The call by which a step has a run made, or go on. Its result is a `Nested`."""

CUT = "nested.cut"
"""The call by which a step that breaks off leaves how far the run within it had come."""


class Nested:
    """A run within a step: what happened in it and, while it waits for a person, all that it needs to go on.

    Attributes:
        footprint: its record, up to where it stands.
        told: what whoever ran it says of it, as JSON: its `kind` and `name`, the key of its `output`, …
        waits: text from which it goes on; None when it came to its end.
    """

    __slots__ = ("footprint", "told", "waits")

    def __init__(self, footprint: Footprint, told: Mapping[str, Any], waits: str | None = None) -> None:
        self.footprint = footprint
        self.told = told
        self.waits = waits

    def data(self, *, redact: bool = False) -> dict[str, Any]:
        """The JSON form. Redacted it tells what happened, and cannot go on."""
        data: dict[str, Any] = {"told": dict(self.told), "rows": list(self.footprint.rows(redact=redact))}
        if self.waits is not None and not redact:
            data["waits"] = self.waits
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
        told = data["told"]
        code = None if within is None or within.nested_code is None else within.nested_code(told)
        lines = [dumps(row) for row in data["rows"]]
        return Nested(Footprint.from_lines(lines, code), told, data.get("waits"))


encodes(Nested, Nested.data)


def nested_in(step: StepRecord) -> Call | None:
    """The call of a step that says how far the run within it came; None when there was none."""
    for call in reversed(step.calls):
        if call.name in (NESTED, CUT) and call.error is None and call.end is not None:
            return call
    return None
