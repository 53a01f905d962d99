"""Decisions with evidence: rules over state, tried in order, recorded with what they compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import FlowInvalid
from .journal import Decision, Version

if TYPE_CHECKING:
    from .step import Step

__all__ = [
    "Check",
    "Rule",
    "check",
    "decide",
    "empty",
    "eq",
    "ge",
    "gt",
    "is_false",
    "is_true",
    "le",
    "lt",
    "ne",
    "nonempty",
    "one_of",
    "rule",
]


class Check:
    """A named test of one value. `text` completes the sentence *"the value …"*."""

    __slots__ = ("holds", "text")

    def __init__(self, text: str, holds: Callable[[Any], bool]) -> None:
        self.text = text
        self.holds = holds


def check(text: str, holds: Callable[[Any], bool]) -> Check:
    """A test of one's own: `check("is a leap year", calendar.isleap)`."""
    return Check(text, holds)


def ge(bound: Any) -> Check:
    return Check(f">= {bound!r}", lambda value: bool(value >= bound))


def gt(bound: Any) -> Check:
    return Check(f"> {bound!r}", lambda value: bool(value > bound))


def le(bound: Any) -> Check:
    return Check(f"<= {bound!r}", lambda value: bool(value <= bound))


def lt(bound: Any) -> Check:
    return Check(f"< {bound!r}", lambda value: bool(value < bound))


def eq(expected: Any) -> Check:
    return Check(f"== {expected!r}", lambda value: bool(value == expected))


def ne(expected: Any) -> Check:
    return Check(f"!= {expected!r}", lambda value: bool(value != expected))


def one_of(*expected: Any) -> Check:
    return Check(f"is one of {expected!r}", lambda value: value in expected)


_NONEMPTY = Check("is not empty", lambda value: value is not None and len(value) > 0)
_EMPTY = Check("is empty", lambda value: value is None or len(value) == 0)
_TRUE = Check("is true", bool)
_FALSE = Check("is false", lambda value: not value)


def nonempty() -> Check:
    return _NONEMPTY


def empty() -> Check:
    return _EMPTY


def is_true() -> Check:
    return _TRUE


def is_false() -> Check:
    return _FALSE


class Rule:
    """A name, a target, and the checks that must all hold."""

    __slots__ = ("checks", "name", "to")

    def __init__(self, name: str, to: str, checks: tuple[tuple[str, Check], ...]) -> None:
        self.name = name
        self.to = to
        self.checks = checks


def rule(name: str, to: str, /, **checks: Check) -> Rule:
    """A rule: `rule("too young", "refuse", age=lt(18))`. Keys name the state that is compared."""
    if not checks:
        raise FlowInvalid(f"rule {name!r} compares nothing: give it a check, or make it the default")
    return Rule(name, to, tuple(checks.items()))


def decide(step: Step[Any], rules: Sequence[Rule], default: str, why: str = "no rule matched") -> Decision:
    """The target of the first rule whose checks all hold, with the evidence.

    A rule stops at its first check that does not hold: what was not compared is not evidence.
    A key that was never written fails every check. `why` names the default in the record.
    """
    seen: list[Version | None] = []
    counts = bytearray()
    for candidate in rules:
        for count, (key, test) in enumerate(candidate.checks, 1):
            version = step.read_version(key)
            seen.append(version)
            if version is None or not test.holds(version.value):
                counts.append(count)
                break
        else:
            counts.append(len(candidate.checks))
            return Decision(candidate.to, candidate.name, rules, tuple(seen), bytes(counts))
    return Decision(default, why, rules, tuple(seen), bytes(counts))
