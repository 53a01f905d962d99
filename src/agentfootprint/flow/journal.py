"""The records of a run: versions, steps, calls, decisions, asks. Everything else is read from them.

Hot-path data: slotted classes without properties on the way in, written once by the step that owns
them. A version names its step by number, not by reference, so that a finished run is a graph without
cycles and is freed the moment its last reader lets go.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .codec import digest
from .seq import Seq

if TYPE_CHECKING:
    from .rules import Rule

__all__ = [
    "Ask",
    "AskRecord",
    "Call",
    "Compared",
    "Decision",
    "EventRecord",
    "Label",
    "SECRET",
    "StepRecord",
    "StepStatus",
    "Tried",
    "UNANSWERED",
    "Verb",
    "Version",
]

Verb = Literal["set", "append", "merge"]
StepStatus = Literal["running", "done", "paused", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Label:
    """A mark on a version that follows whatever is derived from it.

    A *secrecy* label keeps the value out of everything that leaves the process and stops at a
    language model's answer; an *integrity* label says where a value came from and crosses it.
    """

    name: str
    kind: Literal["secrecy", "integrity"] = "secrecy"


SECRET = Label("secret")
Labels: TypeAlias = frozenset[Label] | None


class Version:
    """One write of one key.

    `basis` is what it rests on: how many of its step's reads came before the write, or, for a
    merge, exactly the versions that were joined. `previous` is the version it replaced or, for an
    append, grew from.
    """

    __slots__ = ("basis", "key", "labels", "previous", "step", "value", "verb")

    def __init__(
        self,
        step: int,
        key: str,
        verb: Verb,
        value: Any,
        basis: int | tuple[Version, ...],
        previous: Version | None,
        labels: Labels = None,
    ) -> None:
        self.step = step
        self.key = key
        self.verb = verb
        self.value = value
        self.basis = basis
        self.previous = previous
        self.labels = labels

    def grown_from(self) -> int:
        """For an append or a merge of appends: the length before it."""
        previous = self.previous
        return 0 if previous is None else len(previous.value)


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison of a decision: the state key, the test, the version it saw, whether it held."""

    key: str
    test: str
    version: Version | None
    held: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """One rule of a decision with what it compared, up to the first test that did not hold."""

    rule: str
    to: str
    compared: tuple[Compared, ...]


class Decision:
    """A choice with its evidence: the rules tried in order, up to the one that matched.

    On the way in only the versions seen are kept, beside the rules, which are the chart's own;
    `tried` spells them out when somebody asks.
    """

    __slots__ = ("_counts", "_rules", "_seen", "choice", "rule")

    def __init__(
        self,
        choice: str | tuple[str, ...],
        rule: str,
        rules: Sequence[Rule] = (),
        seen: tuple[Version | None, ...] = (),
        counts: bytes = b"",
    ) -> None:
        self.choice = choice
        self.rule = rule
        self._rules: Sequence[Rule] | tuple[Tried, ...] = rules
        self._seen = seen
        self._counts: bytes | None = counts

    @classmethod
    def told(cls, choice: str | tuple[str, ...], rule: str, tried: tuple[Tried, ...]) -> Decision:
        """A decision read back from its record."""
        self = cls(choice, rule)
        self._rules, self._counts = tried, None
        return self

    @property
    def tried(self) -> tuple[Tried, ...]:
        if self._counts is None:
            return self._rules  # type: ignore[return-value]
        rules: Sequence[Rule | Tried] = self._rules
        out, at, last = [], 0, len(self._counts) - 1
        for place, (rule, count) in enumerate(zip(rules, self._counts, strict=False)):
            if isinstance(rule, Tried):
                continue
            # Within a rule everything held but perhaps the last comparison; that one held only if
            # this is the rule that matched, and then it was the last one tried.
            matched = place == last and rule.name == self.rule and rule.to == self.choice
            compared = tuple(
                Compared(key, test.text, self._seen[at + n], matched or n + 1 < count)
                for n, (key, test) in enumerate(rule.checks[:count])
            )
            out.append(Tried(rule.name, rule.to, compared))
            at += count
        return tuple(out)


class Call:
    """One effect of a step: what was asked of the world outside and what came back.

    `arguments` is the call's arguments, or their digest once it was stored. `error` is the kind and
    the text of what it raised. `within` names the call during which it was made, as `name:key`.
    """

    __slots__ = (
        "arguments",
        "attempts",
        "end",
        "error",
        "key",
        "labels",
        "name",
        "result",
        "start",
        "within",
    )

    def __init__(
        self, name: str, key: str | None, arguments: Any, start: float, within: str | None = None
    ) -> None:
        self.name = name
        self.key = key
        self.arguments = arguments
        self.start = start
        self.within = within
        self.end: float | None = None
        self.result: Any = None
        self.error: tuple[str, str] | None = None
        self.attempts = 1
        self.labels: Labels = None

    @property
    def arguments_digest(self) -> str:
        if type(self.arguments) is not str:
            self.arguments = _arguments_digest(self.arguments)
        return str(self.arguments)


def _arguments_digest(arguments: Any) -> str:
    args, kwargs = arguments
    return digest([[_digestible(arg) for arg in args], {k: _digestible(v) for k, v in kwargs.items()}])


def _digestible(value: Any) -> Any:
    """The value with every growing list in it, at its top, replaced by that list's rolling digest."""
    if type(value) is Seq:
        return digest(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _digestible(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


class EventRecord:
    """What a step said with `emit`. `within` names the call during which it was said."""

    __slots__ = ("at", "data", "name", "within")

    def __init__(self, name: str, data: Any, at: float, within: str | None = None) -> None:
        self.name = name
        self.data = data
        self.at = at
        self.within = within


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to a person that a run waits for.

    Attributes:
        id: names the question within its run; answers are given by it.
        question: what the person reads.
        tool, arguments: the call that waits for the answer, with the arguments that would run.
        data: whatever else the person needs to decide.
        schema: JSON Schema of an acceptable answer; None accepts any JSON.
        expires_at: seconds since the epoch after which an answer is refused.
    """

    id: str
    question: str
    tool: str | None = None
    arguments: Mapping[str, Any] | None = None
    data: Any = None
    schema: Mapping[str, Any] | None = None
    expires_at: float | None = None


UNANSWERED: Any = type("Unanswered", (), {"__repr__": lambda _: "UNANSWERED", "__slots__": ()})()


class AskRecord:
    """A question of a step and, once there is one, its answer. `kind` says what the answer is for."""

    __slots__ = ("answer", "ask", "by", "kind")

    def __init__(self, ask: Ask, kind: str, answer: Any = UNANSWERED, by: str | None = None) -> None:
        self.ask = ask
        self.kind = kind
        self.answer = answer
        self.by = by


class StepRecord:
    """One step of a run.

    `path` names the frame it ran in (empty for the run itself), `node` the step of the chart,
    `visit` counts from 0 within the frame; together they are its id, the same on every run:
    `route#2`, `context#0/system#0`, `call_tools#3[1]`. `number` is its place in the order of
    arrival. `because` is the decision that led here. Times are seconds since the epoch.
    """

    __slots__ = (
        "asks",
        "because",
        "calls",
        "decision",
        "end",
        "error",
        "events",
        "node",
        "number",
        "path",
        "reads",
        "start",
        "status",
        "visit",
        "writes",
    )

    number: int
    path: str
    node: str
    visit: int
    because: StepRecord | None
    reads: Sequence[Version]
    writes: Sequence[Version]
    calls: Sequence[Call]
    events: Sequence[EventRecord]
    asks: Sequence[AskRecord]
    decision: Decision | None
    status: StepStatus
    error: tuple[str, str] | None
    start: float
    end: float | None

    @property
    def id(self) -> str:
        path = self.path
        return path if path.endswith("]") else f"{path}{self.node}#{self.visit}"

    def __repr__(self) -> str:
        return f"<step {self.id} {self.status}>"


def version_id(step: StepRecord, version: Version) -> str:
    """`step:key`, with `@n` for the n-th further write of one key by one step."""
    nth = 0
    for other in step.writes:
        if other is version:
            break
        if other.key == version.key and other.step == version.step:
            nth += 1
    return f"{step.id}:{version.key}" + (f"@{nth}" if nth else "")
