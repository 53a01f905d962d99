"""The journal read back from its rows. Rows are data from outside: whatever does not fit is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast, get_args

from ..errors import JournalInvalid
from .again import WITHHELD, Stored
from .codec import decode, digest, encode
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
    StepStatus,
    Tried,
    Verb,
    Version,
    new_version,
)
from .rows import opener_id
from .seq import Seq
from .step import Step

__all__ = ["load_rows"]

T = TypeVar("T")

KeyType = Callable[[str, str], Any]
"""The declared type of a key, given the path of its frame."""

_NUMBER = (int, float)
_NAME = re.compile(r"(?P<path>(?:.*/)?)(?P<node>[^/#]+)#(?P<visit>\d{1,9})(?P<item>\[\d{1,9}\])?")
_STATUS = frozenset(get_args(StepStatus))
_VERBS = frozenset(get_args(Verb))


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
    except JournalInvalid:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise JournalInvalid(f"these rows are no journal: {type(error).__name__}: {error}") from None
    return reader.journal


def _is(kind: type[T] | tuple[type, ...], value: Any) -> T:
    """The value, which must be of exactly this kind."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(value) not in kinds:
        raise TypeError(f"{kinds[0].__name__} expected, not {type(value).__name__}")
    return cast(T, value)


def _one_of(known: frozenset[str], value: Any) -> Any:
    if value not in known:
        raise ValueError(f"one of {', '.join(sorted(known))} expected")
    return value


class _Reader:
    def __init__(self, type_of: KeyType) -> None:
        self.journal: list[StepRecord] = []
        self._type_of = type_of
        self._steps: dict[str, StepRecord] = {}
        self._versions: dict[str, Version] = {}
        self._blobs: dict[str, Any] = {}
        self._open: set[str] = set()

    def take(self, row: Mapping[str, Any]) -> None:
        if "blob" in row:
            name, data = row["blob"], row["value"]
            if digest(data) != name:
                raise ValueError(f"the value behind {name!r} is another one")
            self._blobs[name] = data
            return
        name = row["step"]
        if name in self._open:
            self._open.remove(name)
            self._close(self._steps[name], row)
            return
        if name in self._steps:
            raise ValueError(f"there are two rows for step {name!r}")
        step = self._named(_is(str, name))
        opener = opener_id(step.path)
        if opener is not None and opener not in self._open:
            raise ValueError(f"step {name!r} stands outside of what opened it")
        step.number = len(self.journal)
        step.because = self._steps[row["because"]] if "because" in row else None
        step.start = float(_is(_NUMBER, row.get("start", 0.0)))
        step.error = None
        step.reads, step.writes = [], []
        step._again = step._frame = step._labels = None
        step.paused = False
        self.journal.append(step)
        self._steps[name] = step
        self._write(step, row)
        # A step may have read what it wrote itself.
        step.reads += [self._versions[one] for one in row.get("reads", ())]
        for version in step.writes:
            if type(version.basis) is int and not 0 <= version.basis <= len(step.reads):
                raise ValueError(f"{version.key!r} rests on reads that are not there")
        step.calls = [self._call(call) for call in row.get("calls", ())]
        step.events = [self._event(event) for event in row.get("events", ())]
        step.asks = [self._ask(ask) for ask in row.get("asks", ())]
        step.decision = self._decision(row["decision"]) if "decision" in row else None
        if row.get("opens"):
            self._open.add(name)
            step.status, step.end = "running", None
        else:
            self._end(step, row)

    def _close(self, step: Step[Any] | StepRecord, row: Mapping[str, Any]) -> None:
        self._write(cast("Step[Any]", step), row)
        self._end(cast("Step[Any]", step), row)

    def _end(self, step: Step[Any], row: Mapping[str, Any]) -> None:
        step.status = _one_of(_STATUS, row.get("status", "done"))
        end = row.get("end")
        step.end = None if end is None else float(_is(_NUMBER, end))
        if "error" in row:
            step.error = _error(row["error"])
        if step.status == "done":
            step.reads = tuple(step.reads)  # type: ignore[assignment]
            step.writes = tuple(step.writes)  # type: ignore[assignment]

    def _write(self, step: Step[Any], row: Mapping[str, Any]) -> None:
        for write in row.get("writes", ()):
            step.writes.append(
                self._versions[write] if isinstance(write, str) else self._version(step, write)
            )

    @staticmethod
    def _named(name: str) -> Step[Any]:
        found = _NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is no name of a step")
        step: Step[Any] = Step.__new__(Step)
        step.rare = None
        step.node = found["node"]
        step.visit = 0 if found["item"] else int(found["visit"])
        step.path = name if found["item"] else found["path"]
        return step

    def _version(self, step: StepRecord, row: Mapping[str, Any]) -> Version:
        key, verb = _is(str, row["key"]), _one_of(_VERBS, row.get("verb", "set"))
        previous = self._versions[row["previous"]] if "previous" in row else None
        joins = verb in ("merge", "reduce")
        basis: Any = tuple(self._versions[name] for name in row["of"]) if joins else _is(int, row["seen"])
        kind = self._type_of(step.path, key)
        value: Any
        if row.get("redacted"):
            value = WITHHELD
        elif "copy" in row:
            value = self._versions[row["copy"]].value
        elif "items" in row:
            base = Seq() if verb != "append" or previous is None else previous.value
            items = [self._value(_item_type(kind), item) for item in row["items"]]
            value = WITHHELD if base is WITHHELD else _is(Seq, base).extend(items)
        elif verb == "merge":
            value = self._merged(kind, basis, previous)
        else:
            value = self._value(kind, row["value"])
        version = new_version(step.number, key, verb, value, basis, previous, _labels(row))
        base_id = name = f"{step.id}:{key}"
        nth = 0
        while name in self._versions:
            nth += 1
            name = f"{base_id}@{nth}"
        self._versions[name] = version
        return version

    def _merged(self, kind: Any, basis: tuple[Version, ...], previous: Version | None) -> Any:
        if any(source.value is WITHHELD for source in basis):
            return WITHHELD
        if len(basis) == 1:
            # Taken over from a sub-flow, which may have declared it as something else or not at all.
            source = basis[0]
            same = kind is Any or kind == self._type_of(self.journal[source.step].path, source.key)
            return source.value if same else decode(kind, encode(source.value))
        value = _is(Seq, basis[0].value)
        size = len(_is(Seq, previous.value)) if previous is not None else 0
        for source in basis[1:]:
            value = value.extend(_is(Seq, source.value)[size:])
        return value

    def _data(self, stored: Any) -> Any:
        if isinstance(stored, list):
            [data] = stored
            return data
        return self._blobs[stored["blob"]]

    def _value(self, kind: Any, stored: Any) -> Any:
        return decode(kind, self._data(stored))

    def _call(self, row: Mapping[str, Any]) -> Call:
        call = Call(
            _is(str, row["name"]),
            _is((str, type(None)), row.get("key")),
            _is(str, row["arguments"]),
            float(_is(_NUMBER, row.get("start", 0.0))),
            _is((str, type(None)), row.get("within")),
        )
        end = row.get("end")
        call.end = None if end is None else float(_is(_NUMBER, end))
        call.labels = _labels(row)
        if "error" in row:
            call.error = _error(row["error"])
        if row.get("redacted"):
            call.result = WITHHELD
        elif "result" in row:
            call.result = Stored(self._data(row["result"]))
        return call

    @staticmethod
    def _event(row: Mapping[str, Any]) -> EventRecord:
        data = WITHHELD if row.get("redacted") else row["data"]
        at = float(_is(_NUMBER, row.get("at", 0.0)))
        within = _is(str, row["within"]) if "within" in row else None
        return EventRecord(_is(str, row["name"]), data, at, _labels(row), within)

    def _decision(self, row: Mapping[str, Any]) -> Decision:
        choice = row["choice"]
        tried = tuple(
            Tried(
                _is(str, one["rule"]),
                _is(str, one["to"]),
                tuple(
                    Compared(
                        _is(str, key),
                        _is(str, test),
                        None if name is None else self._versions[name],
                        _is(bool, held),
                    )
                    for key, test, name, held in one["compared"]
                ),
            )
            for one in row.get("tried", ())
        )
        if not isinstance(choice, str):
            choice = tuple(_is(str, one) for one in choice)
        return Decision.told(choice, _is(str, row["rule"]), tried)

    @staticmethod
    def _ask(row: Mapping[str, Any]) -> AskRecord:
        return AskRecord(
            decode(Ask, row["ask"]),
            _is(str, row["kind"]),
            row.get("answer", UNANSWERED),
            _is((str, type(None)), row.get("by")),
            _labels(row),
        )


def _error(data: Any) -> tuple[str, str]:
    kind, text = data
    return _is(str, kind), _is(str, text)


def _labels(row: Mapping[str, Any]) -> frozenset[Label] | None:
    if "labels" not in row:
        return None
    kinds = frozenset(("secrecy", "integrity"))
    return frozenset(Label(_is(str, name), _one_of(kinds, kind)) for name, kind in row["labels"])


def _item_type(kind: Any) -> Any:
    args = getattr(kind, "__args__", ())
    return args[0] if args else Any
