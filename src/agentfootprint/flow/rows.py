"""The journal as JSON rows. Files and checkpoints share this form; `reading` takes it back.

A row names other steps and versions by their ids, so it reads without the code that ran. What can be
large is written once: an append holds only the new items, a join of growing lists nothing, and a value
over `BLOB` characters stands in a row of its own and is named by its digest.

A step that opened others (a fork, a map, a sub-flow) has two rows around theirs: what it did before,
marked `opens`, and what came of it. So whatever a row refers to stands before it, and a file that ends
early is a whole journal up to there.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from typing import Any

from .again import WITHHELD, Stored
from .codec import canonical, digest, dumps, encode
from .journal import (
    UNANSWERED,
    AskRecord,
    Call,
    Compared,
    Decision,
    EventRecord,
    Label,
    StepRecord,
    Version,
    version_id,
)
from .nested import CUT, NESTED, Nested
from .redaction import known_secrets, scrub, secret
from .seq import Seq

__all__ = ["BLOB", "canonical_rows", "opener_id", "step_rows"]

BLOB = 16 * 1024
"""Values whose JSON is longer than this stand in a row of their own."""


def step_rows(journal: Sequence[StepRecord], *, redact: bool = True) -> list[dict[str, Any]]:
    """The whole journal as rows, blobs included."""
    return _Writer(journal, redact=redact).all()


def canonical_rows(journal: Sequence[StepRecord], *, without: Container[str] = ()) -> str:
    """What must be the same whenever the same run is told: without times and order of arrival, and
    without the steps of these ids."""
    # Which of two rows comes first decides where a shared blob stands, so that arrival is sorted out
    # before anything is written.
    ordered = sorted((step for step in journal if step.id not in without), key=lambda step: step.id)
    writer = _Writer(journal, redact=False, timed=False)
    rows = [row for step in ordered for row in writer.rows(step, opens=False)]
    return "\n".join(sorted(canonical(row) for row in rows))


_OPENER = re.compile(r"(.*/)?[^/#]*#\d+")


def opener_id(path: str) -> str | None:
    """The id of the step that opened the frame at this path; None for the run's own."""
    if not path:
        return None
    if path.endswith("]"):
        return path[: path.rindex("[")]
    found = _OPENER.match(path[:-1])
    return found[0] if found else None


class _Writer:
    def __init__(self, journal: Sequence[StepRecord], *, redact: bool, timed: bool = True) -> None:
        self._journal = journal
        self._redact = redact
        self._timed = timed
        self._secrets = known_secrets(journal) if redact else ()
        self._blobs: set[str] = set()
        self._out: list[dict[str, Any]] = []

    def all(self) -> list[dict[str, Any]]:
        """Every step where it began; what opened others again after the last of them."""
        place: dict[str, int] = {}
        closes: dict[int, int] = {}  # a step that opened others, and the last step inside it
        for number, step in enumerate(self._journal):
            place[step.id] = number
            opener = opener_id(step.path)
            while opener is not None and opener in place:
                closes[place[opener]] = number
                opener = opener_id(self._journal[place[opener]].path)
        closing: dict[int, list[int]] = {}
        for number, last in closes.items():
            closing.setdefault(last, []).append(number)
        out: list[dict[str, Any]] = []
        for number, step in enumerate(self._journal):
            out += self.rows(step, opens=number in closes)
            for inner in sorted(closing.get(number, ()), reverse=True):
                if self._journal[inner].status != "running":
                    out += self.closing(self._journal[inner])
        return out

    def rows(self, step: StepRecord, *, opens: bool) -> list[dict[str, Any]]:
        """The row of a step, or the first row of one that `opens` others, behind its blobs."""
        row: dict[str, Any] = {"step": step.id}
        if opens:
            row["opens"] = True
        elif step.status != "done":
            row["status"] = step.status
        if step.because is not None:
            row["because"] = step.because.id
        if step.error is not None and not opens:
            row["error"] = self._free(list(step.error))
        if self._timed:
            row["start"] = _time(step.start)
            if not opens:
                row["end"] = _time(step.end)
        if step.reads:
            row["reads"] = [self._id(version) for version in step.reads]
        writes = step.writes[: _before_joining(step)] if opens else step.writes
        if writes:
            row["writes"] = [self._write(step, version) for version in writes]
        if step.calls:
            row["calls"] = [self._call(call) for call in step.calls]
        if step.decision is not None:
            row["decision"] = self._decision(step.decision)
        if step.events:
            row["events"] = [self._event(event) for event in step.events]
        if step.asks:
            row["asks"] = [self._ask(record) for record in step.asks]
        return self._behind_blobs(row)

    def closing(self, step: StepRecord) -> list[dict[str, Any]]:
        """The second row of a step that opened others."""
        row: dict[str, Any] = {"step": step.id}
        if step.status != "done":
            row["status"] = step.status
        if step.error is not None:
            row["error"] = self._free(list(step.error))
        row["end"] = _time(step.end)
        if writes := step.writes[_before_joining(step) :]:
            row["writes"] = [self._write(step, version) for version in writes]
        return self._behind_blobs(row)

    def _behind_blobs(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        blobs, self._out = self._out, []
        return [*blobs, row]

    def _id(self, version: Version) -> str:
        return version_id(self._journal[version.step], version)

    def _free(self, data: Any) -> Any:
        """Data that may quote a secret, without it."""
        return scrub(data, self._secrets)

    def _write(self, step: StepRecord, version: Version) -> Any:
        if version.step != step.number:
            return self._id(version)
        row: dict[str, Any] = {"key": version.key}
        if version.verb != "set":
            row["verb"] = version.verb
        if version.previous is not None:
            row["previous"] = self._id(version.previous)
        if isinstance(version.basis, tuple):
            row["of"] = [self._id(source) for source in version.basis]
        else:
            row["seen"] = version.basis
        if version.labels:
            row["labels"] = _labels(version.labels)
        value = version.value
        if value is WITHHELD or self._hidden(version.labels):
            row["redacted"] = True
        elif version.verb == "append":
            row["items"] = [self._value(item) for item in value[version.grown_from() :]]
        elif (source := _copied(step, version)) is not None:
            row["copy"] = self._id(source)
        elif version.verb == "merge":
            pass  # it follows from what was merged
        elif type(value) is Seq:
            row["items"] = [self._value(item) for item in value]
        else:
            row["value"] = self._value(value)
        return row

    def _value(self, value: Any) -> Any:
        """A JSON value in a list of one, or the digest of its blob in an object."""
        data = self._free(encode(value))
        if type(data) in (str, list, dict):
            text = dumps(data)
            if len(text) > BLOB:
                name = digest(data)
                if name not in self._blobs:
                    self._blobs.add(name)
                    self._out.append({"blob": name, "value": data})
                return {"blob": name}
        return [data]

    def _call(self, call: Call) -> dict[str, Any]:
        hidden = call.result is WITHHELD or self._hidden(call.labels)
        # The digest of a secret that is short could be guessed; nothing is run again from a redacted record.
        row: dict[str, Any] = {"name": call.name, "arguments": "" if hidden else call.arguments_digest}
        if call.key is not None:
            row["key"] = self._free(call.key)
        if self._timed:
            row["start"], row["end"] = _time(call.start), _time(call.end)
        if call.within is not None:
            row["within"] = self._free(call.within)
        if call.labels:
            row["labels"] = _labels(call.labels)
        if hidden:
            row["redacted"] = True
        if call.error is not None:
            row["error"] = self._free(list(call.error))
        elif call.end is not None and not hidden:
            result = call.result.data if type(call.result) is Stored else call.result
            if self._redact and call.name in (NESTED, CUT):
                result = Nested.of(result).data(redact=True)
            row["result"] = self._value(result)
        return row

    def _event(self, event: EventRecord) -> dict[str, Any]:
        row: dict[str, Any] = {"name": event.name}
        if event.labels:
            row["labels"] = _labels(event.labels)
        if event.data is WITHHELD or self._hidden(event.labels):
            row["redacted"] = True
        else:
            row["data"] = self._free(encode(event.data))
        if self._timed:
            row["at"] = _time(event.at)
        if event.within is not None:
            row["within"] = event.within
        return row

    def _ask(self, record: AskRecord) -> dict[str, Any]:
        ask = encode(record.ask)
        row: dict[str, Any] = {"ask": ask, "kind": record.kind}
        if record.labels:
            row["labels"] = _labels(record.labels)
        if self._hidden(record.labels):
            row["redacted"] = True
            for name in ("arguments", "data"):
                ask.pop(name, None)
        row["ask"] = self._free(ask)
        if record.answer is not UNANSWERED:
            row["answer"] = self._free(encode(record.answer))
            if record.by is not None and self._timed:
                row["by"] = record.by
        return row

    def _decision(self, decision: Decision) -> dict[str, Any]:
        choice = decision.choice
        row: dict[str, Any] = {
            "choice": choice if isinstance(choice, str) else list(choice),
            "rule": decision.rule,
        }
        if decision.tried:
            row["tried"] = [
                {
                    "rule": tried.rule,
                    "to": tried.to,
                    "compared": [self._compared(one) for one in tried.compared],
                }
                for tried in decision.tried
            ]
        return row

    def _compared(self, one: Compared) -> list[Any]:
        return [
            one.key,
            self._free(one.test),
            None if one.version is None else self._id(one.version),
            one.held,
        ]

    def _hidden(self, labels: frozenset[Label] | None) -> bool:
        return self._redact and secret(labels)


def _before_joining(step: StepRecord) -> int:
    """How many of a step's writes came before it opened others."""
    for count, version in enumerate(step.writes):
        if version.step != step.number or version.verb in ("merge", "reduce"):
            return count
    return len(step.writes)


def _copied(step: StepRecord, version: Version) -> Version | None:
    """The version read whose growing list was written again as it is."""
    if type(version.value) is not Seq or not isinstance(version.basis, int):
        return None
    for source in step.reads[: version.basis]:
        if source.value is version.value:
            return source
    return None


def _labels(labels: Iterable[Label]) -> list[list[str]]:
    return sorted([label.name, label.kind] for label in labels)


def _time(at: float | None) -> float | None:
    return None if at is None else round(at, 6)
