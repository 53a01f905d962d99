"""The records of a run: versions, steps, calls, decisions, asks. Everything else is read from them.

Hot-path data: slotted classes without properties on the way in, written once by the step that owns
them. A version names its step by number, not by reference, so that a finished run is a graph without
cycles and is freed the moment its last reader lets go.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from .codec import digest
from .seq import Seq

if TYPE_CHECKING:
    from .rules import Rule

__all__ = [
    "Arguments",
    "Ask",
    "AskRecord",
    "Call",
    "Compared",
    "Decision",
    "EventRecord",
    "Label",
    "SECRET",
    "Rare",
    "StepRecord",
    "StepStatus",
    "Tried",
    "LabelledVersion",
    "UNANSWERED",
    "Verb",
    "Version",
    "new_version",
]

Verb = Literal["set", "append", "merge", "reduce"]
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

    `basis` is what it rests on: how many of its step's reads came before the write or, at a join,
    exactly the versions that were joined: one that was taken over or several lists that grew from
    `previous` (`merge`), or what a reducer was given (`reduce`). `previous` is the version it
    replaced or, for an append, grew from.
    """

    __slots__ = ("basis", "key", "previous", "step", "value", "verb")

    labels: Labels = None

    def __init__(
        self,
        step: int,
        key: str,
        verb: Verb,
        value: Any,
        basis: int | tuple[Version, ...],
        previous: Version | None,
    ) -> None:
        self.step = step
        self.key = key
        self.verb = verb
        self.value = value
        self.basis = basis
        self.previous = previous

    @property
    def grew(self) -> bool:
        """Whether it is the list it replaced with more behind it: an append, or several joined."""
        basis = self.basis
        return self.verb == "append" or (self.verb == "merge" and type(basis) is tuple and len(basis) > 1)

    def grown_from(self) -> int:
        """For a list that grew: its length before."""
        previous = self.previous
        return 0 if previous is None else len(previous.value)


class LabelledVersion(Version):
    """A version with labels: few are, and a run holds many versions."""

    __slots__ = ("labels",)

    def __init__(self, labels: Labels, *version: Any) -> None:
        super().__init__(*version)
        self.labels = labels


def new_version(
    step: int,
    key: str,
    verb: Verb,
    value: Any,
    basis: int | tuple[Version, ...],
    previous: Version | None,
    labels: Labels,
) -> Version:
    """A version, with a place for labels only if it has any."""
    if labels:
        return LabelledVersion(labels, step, key, verb, value, basis, previous)
    return Version(step, key, verb, value, basis, previous)


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
        self.labels: Labels = None

    @property
    def arguments_digest(self) -> str:
        if type(self.arguments) is not str:
            self.arguments = _arguments_digest(self.arguments)
        return str(self.arguments)


class Arguments(NamedTuple):
    """A call's arguments when some were given by name; else the plain tuple of them is kept."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def _arguments_digest(arguments: Any) -> str:
    args, kwargs = arguments if type(arguments) is Arguments else (arguments, {})
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

    __slots__ = ("at", "data", "labels", "name", "within")

    def __init__(
        self, name: str, data: Any, at: float, labels: Labels = None, within: str | None = None
    ) -> None:
        self.name = name
        self.data = data
        self.at = at
        self.labels = labels
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

    __slots__ = ("answer", "ask", "by", "kind", "labels")

    def __init__(
        self,
        ask: Ask,
        kind: str,
        answer: Any = UNANSWERED,
        by: str | None = None,
        labels: Labels = None,
    ) -> None:
        self.ask = ask
        self.kind = kind
        self.answer = answer
        self.by = by
        self.labels = labels


class Rare:
    """What few steps have: questions, events, an error; whether the step waits for a person."""

    __slots__ = ("asks", "error", "events", "paused")

    def __init__(self) -> None:
        self.asks: Sequence[AskRecord] = ()
        self.events: Sequence[EventRecord] = ()
        self.error: tuple[str, str] | None = None
        self.paused = False


_NOTHING = Rare()


class StepRecord:
    """One step of a run.

    `path` names the frame it ran in (empty for the run itself), `node` the step of the chart,
    `visit` counts from 0 within the frame; together they are its id, the same on every run:
    `route#2`, `context#0/system#0`, `call_tools#3[1]`. `number` is its place in the order of
    arrival. `because` is the decision that led here. Times are seconds since the epoch.
    """

    __slots__ = (
        "because",
        "calls",
        "decision",
        "end",
        "node",
        "number",
        "path",
        "rare",
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
    decision: Decision | None
    status: StepStatus
    rare: Rare | None
    start: float
    end: float | None

    @property
    def id(self) -> str:
        path = self.path
        return path if path.endswith("]") else f"{path}{self.node}#{self.visit}"

    # Thousands of steps are in memory at once, so what most lack has one place, made when needed.

    def _rare(self) -> Rare:
        if self.rare is None:
            self.rare = Rare()
        return self.rare

    @property
    def asks(self) -> Sequence[AskRecord]:
        """The questions it asked people, in order."""
        return (self.rare or _NOTHING).asks

    @asks.setter
    def asks(self, asks: Sequence[AskRecord]) -> None:
        if asks or self.rare is not None:
            self._rare().asks = asks

    @property
    def events(self) -> Sequence[EventRecord]:
        """What it emitted, in order."""
        return (self.rare or _NOTHING).events

    @events.setter
    def events(self, events: Sequence[EventRecord]) -> None:
        if events or self.rare is not None:
            self._rare().events = events

    @property
    def error(self) -> tuple[str, str] | None:
        """Kind and text of what it raised."""
        return (self.rare or _NOTHING).error

    @error.setter
    def error(self, error: tuple[str, str] | None) -> None:
        if error is not None or self.rare is not None:
            self._rare().error = error

    @property
    def paused(self) -> bool:
        """Whether it asked and has no answer yet."""
        return (self.rare or _NOTHING).paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        if paused or self.rare is not None:
            self._rare().paused = paused

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
