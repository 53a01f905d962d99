"""The journal as JSON rows, one per step, and back. Files and checkpoints share this form.

A row names other steps and versions by their ids, so it reads without the code that ran. What can be
large is written once: an append holds only the new items, a join of appends nothing, and a value over
`BLOB` characters stands in a row of its own and is named by its digest.

Rows come in the order in which steps ended: what a row refers to stands before it, except its reason.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal, cast, get_origin, get_type_hints

from ..errors import JournalInvalid
from .codec import decode, digest, dumps, encode
from .journal import (
    UNANSWERED,
    Ask,
    AskRecord,
    Call,
    Compared,
    Decision,
    EventRecord,
    Label,
    StepRecord,
    Tried,
    Version,
    version_id,
)
from .seq import Seq
from .step import WITHHELD, Step, Stored

__all__ = ["BLOB", "canonical_rows", "known_secrets", "load_rows", "step_rows"]

BLOB = 16 * 1024
"""Values whose JSON is longer than this stand in a row of their own."""

REDACTED = "[redacted]"

KeyType = Callable[[str, str], Any]
"""The declared type of a key, given the path of its frame."""


# ── to rows ─────────────────────────────────────────────────────────────────────────────────────


def step_rows(journal: Sequence[StepRecord], *, redact: bool = True) -> list[dict[str, Any]]:
    """The whole journal as rows, blobs included."""
    writer = _Writer(journal, redact=redact)
    rows: list[dict[str, Any]] = []
    for step in _by_end(journal):
        rows += writer.rows(step)
    return rows


def canonical_rows(journal: Sequence[StepRecord]) -> str:
    """What must be the same whenever the same run is told: without times and order of arrival."""
    writer = _Writer(journal, redact=False, timed=False)
    lines = []
    for step in sorted(journal, key=lambda one: one.id):
        lines += [dumps(row) for row in writer.rows(step)]
    return "\n".join(sorted(lines))


def _by_end(journal: Sequence[StepRecord]) -> Iterable[StepRecord]:
    """Steps that contain others come after what they contain."""
    open_steps: list[StepRecord] = []
    for step in journal:
        while open_steps and not within(step.path, open_steps[-1].id):
            yield open_steps.pop()
        open_steps.append(step)
    yield from reversed(open_steps)


def within(path: str, step_id: str) -> bool:
    """Whether a frame's path lies inside what a step opened."""
    return path.startswith(step_id) and path[len(step_id) : len(step_id) + 1] in (".", "/", "[")


class _Writer:
    def __init__(self, journal: Sequence[StepRecord], *, redact: bool, timed: bool = True) -> None:
        self._journal = journal
        self._redact = redact
        self._timed = timed
        self._secrets = known_secrets(journal) if redact else ()
        self._blobs: set[str] = set()
        self._out: list[dict[str, Any]] = []

    def rows(self, step: StepRecord) -> list[dict[str, Any]]:
        self._out = []
        self._out.append(self._step(step))
        rows = self._out
        return [scrub(row, self._secrets) for row in rows] if self._secrets else rows

    def _id(self, version: Version) -> str:
        return version_id(self._journal[version.step], version)

    def _step(self, step: StepRecord) -> dict[str, Any]:
        row: dict[str, Any] = {"step": step.id}
        if step.status != "done":
            row["status"] = step.status
        if step.because is not None:
            row["because"] = step.because.id
        if step.error is not None:
            row["error"] = list(step.error)
        if self._timed:
            row["start"], row["end"] = _time(step.start), _time(step.end)
        if step.reads:
            row["reads"] = [self._id(version) for version in step.reads]
        if step.writes:
            row["writes"] = [self._write(step, version) for version in step.writes]
        if step.calls:
            row["calls"] = [self._call(call) for call in step.calls]
        if step.decision is not None:
            row["decision"] = self._decision(step.decision)
        if step.events:
            row["events"] = [self._event(event) for event in step.events]
        if step.asks:
            row["asks"] = [self._ask(record) for record in step.asks]
        return row

    def _event(self, event: EventRecord) -> dict[str, Any]:
        row = {"name": event.name, "data": encode(event.data)}
        if self._timed:
            row["at"] = _time(event.at)
        if event.within is not None:
            row["within"] = event.within
        return row

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
            row["labels"] = sorted([label.name, label.kind] for label in version.labels)
        if self._hidden(version.labels):
            row["redacted"] = True
        elif version.verb == "append":
            row["items"] = [self._value(item) for item in version.value[version.grown_from() :]]
        elif (source := _copied(step, version)) is not None:
            row["copy"] = self._id(source)
        elif not _follows(version):
            row["value"] = self._value(version.value)
        return row

    def _value(self, value: Any) -> Any:
        """A JSON value in a list of one, or the digest of its blob in an object."""
        data = encode(value)
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
        row: dict[str, Any] = {"name": call.name, "arguments": call.arguments_digest}
        if call.key is not None:
            row["key"] = call.key
        if self._timed:
            row["start"], row["end"] = _time(call.start), _time(call.end)
        if call.within is not None:
            row["within"] = call.within
        if call.attempts != 1:
            row["attempts"] = call.attempts
        if call.labels:
            row["labels"] = sorted([label.name, label.kind] for label in call.labels)
        if call.error is not None:
            row["error"] = list(call.error)
        elif self._hidden(call.labels) or call.result is WITHHELD:
            row["redacted"] = True
        elif call.end is not None:
            result = call.result
            row["result"] = self._value(result.data if type(result) is Stored else result)
        return row

    def _hidden(self, labels: frozenset[Label] | None) -> bool:
        return self._redact and _secret(labels)

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
                    "compared": [
                        [c.key, c.test, None if c.version is None else self._id(c.version), c.held]
                        for c in tried.compared
                    ],
                }
                for tried in decision.tried
            ]
        return row

    def _ask(self, record: AskRecord) -> dict[str, Any]:
        row: dict[str, Any] = {"ask": encode(record.ask), "kind": record.kind}
        if record.answer is not UNANSWERED:
            row["answer"] = encode(record.answer)
            if record.by is not None and self._timed:
                row["by"] = record.by
        return row


def _copied(step: StepRecord, version: Version) -> Version | None:
    """The version read whose growing list was written again as it is."""
    if type(version.value) is not Seq or not isinstance(version.basis, int):
        return None
    for source in step.reads[: version.basis]:
        if source.value is version.value:
            return source
    return None


def _follows(version: Version) -> bool:
    """Whether a merged value can be told from what was merged."""
    if not isinstance(version.basis, tuple):
        return False
    if len(version.basis) == 1 and version.basis[0].value is version.value:
        return True
    size = version.grown_from() if _is_seq(version.previous) else 0
    return (
        type(version.value) is Seq
        and (version.previous is None or _is_seq(version.previous))
        and all(_is_seq(source) and len(source.value) >= size for source in version.basis)
        and len(version.value) == size + sum(len(source.value) - size for source in version.basis)
    )


def _is_seq(version: Version | None) -> bool:
    return version is not None and type(version.value) is Seq


def _time(at: float | None) -> float | None:
    return None if at is None else round(at, 6)


# ── redaction ───────────────────────────────────────────────────────────────────────────────────


def _secret(labels: frozenset[Label] | None) -> bool:
    return labels is not None and any(label.kind == "secrecy" for label in labels)


def known_secrets(journal: Iterable[StepRecord]) -> tuple[str, ...]:
    """The strings inside values labelled secret, longest first; very short ones would hit by chance."""
    found: set[str] = set()
    for step in journal:
        for version in step.writes:
            if _secret(version.labels):
                _strings(version.value, found)
    return tuple(sorted((text for text in found if len(text) >= 4), key=len, reverse=True))


def _strings(value: Any, found: set[str]) -> None:
    if isinstance(value, str):
        found.add(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            _strings(item, found)
    elif isinstance(value, (list, tuple, Seq)):
        for item in value:
            _strings(item, found)
    elif dataclasses.is_dataclass(value):
        kind: Any = type(value)
        for name in _free_fields(kind):
            _strings(getattr(value, name), found)
    elif value is not None and not isinstance(value, (bool, int, float, Enum)) and value is not WITHHELD:
        _strings(encode(value), found)


@functools.cache
def _free_fields(kind: type) -> tuple[str, ...]:
    """The fields of a dataclass but those of a few fixed words: those are no secret, and stand
    everywhere."""
    try:
        hints = get_type_hints(kind)
    except (NameError, TypeError):
        hints = {}  # Names that only a type checker can find.
    return tuple(f.name for f in dataclasses.fields(kind) if get_origin(hints.get(f.name)) is not Literal)


def scrub(data: Any, secrets: Sequence[str]) -> Any:
    """The data with every known secret replaced wherever it stands inside a string."""
    if isinstance(data, str):
        for secret in secrets:
            if secret in data:
                data = data.replace(secret, REDACTED)
        return data
    if isinstance(data, dict):
        return {key: scrub(item, secrets) for key, item in data.items()}
    if isinstance(data, list):
        return [scrub(item, secrets) for item in data]
    return data


# ── from rows ───────────────────────────────────────────────────────────────────────────────────


def load_rows(
    rows: Iterable[Mapping[str, Any]], type_of: KeyType = lambda path, key: Any
) -> list[StepRecord]:
    """The journal told by rows.

    Raises:
        JournalInvalid: the rows are not a journal, or a value does not fit its declared type.
    """
    reader = _Reader(type_of)
    try:
        for row in rows:
            reader.take(row)
        reader.finish()
    except JournalInvalid:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, AssertionError) as error:
        raise JournalInvalid(f"these rows are no journal: {type(error).__name__}: {error}") from None
    return reader.journal


class _Reader:
    def __init__(self, type_of: KeyType) -> None:
        self.journal: list[StepRecord] = []
        self._type_of = type_of
        self._steps: dict[str, StepRecord] = {}
        self._versions: dict[str, Version] = {}
        self._blobs: dict[str, Any] = {}
        self._reasons: list[tuple[StepRecord, str]] = []

    def take(self, row: Mapping[str, Any]) -> None:
        if "blob" in row:
            self._blobs[row["blob"]] = row["value"]
            return
        step = Step.__new__(Step)
        self._name(step, row["step"])
        step.number = len(self.journal)
        step.because = None
        step.status = row.get("status", "done")
        step.error = cast(Any, tuple(row["error"])) if "error" in row else None
        step.start, step.end = row.get("start") or 0.0, row.get("end")
        step.reads = [self._versions[name] for name in row.get("reads", ())]
        step.writes = []
        step._again = step._frame = step._run = step._labels = None
        step.paused = False
        self.journal.append(step)
        self._steps[step.id] = step
        for write in row.get("writes", ()):
            step.writes.append(
                self._versions[write] if isinstance(write, str) else self._version(step, write)
            )
        step.calls = [self._call(call) for call in row.get("calls", ())]
        step.events = [
            EventRecord(e["name"], e["data"], e.get("at", 0.0), e.get("within"))
            for e in row.get("events", ())
        ]
        step.asks = [self._ask(ask) for ask in row.get("asks", ())]
        step.decision = self._decision(row["decision"]) if "decision" in row else None
        if "because" in row:
            self._reasons.append((step, row["because"]))
        if step.status == "done":
            step.reads = tuple(step.reads)  # type: ignore[assignment]
            step.writes = tuple(step.writes)  # type: ignore[assignment]

    def finish(self) -> None:
        for step, reason in self._reasons:
            step.because = self._steps[reason]
        self._in_order_of_start()

    def _in_order_of_start(self) -> None:
        """Rows stand in the order of the ends, a journal in that of the starts: what contains others
        goes in front of them."""
        order: list[StepRecord] = []
        for step in self.journal:
            at = len(order)
            while at and within(order[at - 1].path, step.id):
                at -= 1
            order.insert(at, step)
        place = {step.number: at for at, step in enumerate(order)}
        for version in self._versions.values():
            version.step = place[version.step]
        for at, step in enumerate(order):
            step.number = at
        self.journal = order

    @staticmethod
    def _name(step: StepRecord, name: str) -> None:
        if name.endswith("]"):
            step.path = name
            local = name[: name.rindex("[")].rpartition("/")[2]
            visit = "0"
            step.node = local.partition("#")[0]
        else:
            path, slash, local = name.rpartition("/")
            step.path = path + slash
            step.node, _, visit = local.partition("#")
        step.visit = int(visit)

    def _version(self, step: StepRecord, row: Mapping[str, Any]) -> Version:
        key, verb = row["key"], row.get("verb", "set")
        previous = self._versions[row["previous"]] if "previous" in row else None
        basis: Any = tuple(self._versions[name] for name in row["of"]) if "of" in row else row["seen"]
        labels = frozenset(Label(*label) for label in row["labels"]) if "labels" in row else None
        kind = self._type_of(step.path, key)
        value: Any
        if row.get("redacted"):
            value = WITHHELD
        elif verb == "append":
            items = [self._value(_item_type(kind), item) for item in row["items"]]
            base = _growing(previous)
            value = WITHHELD if base is WITHHELD else base.extend(items)
        elif "copy" in row:
            value = self._versions[row["copy"]].value
        elif "value" in row:
            value = self._value(kind, row["value"])
        elif len(basis) == 1:
            value = basis[0].value
        elif any(source.value is WITHHELD for source in basis):
            value = WITHHELD
        else:
            value = _growing(previous)
            size = len(value)
            for source in basis:
                value = value.extend(source.value[size:])
        version = Version(step.number, key, verb, value, basis, previous, labels)
        base_id = name = f"{step.id}:{key}"
        nth = 0
        while name in self._versions:
            nth += 1
            name = f"{base_id}@{nth}"
        self._versions[name] = version
        return version

    def _data(self, stored: Any) -> Any:
        if isinstance(stored, list):
            return stored[0]
        return self._blobs[stored["blob"]]

    def _value(self, kind: Any, stored: Any) -> Any:
        return decode(kind, self._data(stored))

    def _call(self, row: Mapping[str, Any]) -> Call:
        call = Call(row["name"], row.get("key"), row["arguments"], row.get("start") or 0.0, row.get("within"))
        call.end = row.get("end")
        call.attempts = row.get("attempts", 1)
        call.labels = frozenset(Label(*label) for label in row["labels"]) if "labels" in row else None
        if "error" in row:
            call.error = (row["error"][0], row["error"][1])
        elif row.get("redacted"):
            call.result = WITHHELD
        elif "result" in row:
            call.result = Stored(self._data(row["result"]))
        return call

    def _decision(self, row: Mapping[str, Any]) -> Decision:
        choice = row["choice"]
        tried = tuple(
            Tried(
                one["rule"],
                one["to"],
                tuple(
                    Compared(key, test, None if name is None else self._versions[name], held)
                    for key, test, name, held in one["compared"]
                ),
            )
            for one in row.get("tried", ())
        )
        return Decision.told(choice if isinstance(choice, str) else tuple(choice), row["rule"], tried)

    def _ask(self, row: Mapping[str, Any]) -> AskRecord:
        ask = decode(Ask, row["ask"])
        return AskRecord(ask, row["kind"], row.get("answer", UNANSWERED), row.get("by"))


def _growing(version: Version | None) -> Any:
    """The value of a version as the list that it is, also where no declared type says so."""
    value = version.value if version is not None else ()
    return value if value is WITHHELD or type(value) is Seq else Seq(value)


def _item_type(kind: Any) -> Any:
    args = getattr(kind, "__args__", ())
    return args[0] if args else Any
