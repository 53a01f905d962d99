"""What a model sent as a tool's arguments, checked; and what it is told when they do not fit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import AgentFootprintError
from .problems import cut, listed, outline, problems_of, shown, validation_errors

__all__ = [
    "Arguments",
    "ArgumentsInvalid",
    "Unfit",
    "are_scalars",
    "fresh",
    "has_odd_numbers",
    "is_odd",
    "too_deep",
]

MAX_DEPTH = 100
"""How deep arguments may be nested. Real ones are a few levels deep; hostile ones exhaust the stack."""

MAX_BITS = 10_000
"""How long a whole number may be: about 3,000 digits. Longer ones cannot be written as text."""

_SHOWN_SIGNATURE = 800
_SCALARS = frozenset({str, int, float, bool, type(None)})


class ArgumentsInvalid(AgentFootprintError):
    """A tool call's arguments do not fit the tool. The message is written for the model to read."""

    code = "arguments_invalid"


class Unfit(Exception):
    """What a check found, a line for each problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = problems
        super().__init__(*problems)


class Arguments:
    """The arguments of one tool: their JSON `schema`, and the check of a call against it."""

    __slots__ = ("_validate", "schema", "tool")

    def __init__(
        self, tool: str, schema: Mapping[str, Any], validate: Callable[[Any], dict[str, Any]]
    ) -> None:
        self.tool = tool
        self.schema = schema
        self._validate = validate

    def renamed(self, tool: str) -> Arguments:
        return Arguments(tool, self.schema, self._validate)

    def bind(self, arguments: Mapping[str, Any], raw: str | None = None) -> dict[str, Any]:
        """The keyword arguments to call the function with: new objects, shared with nobody.

        Values are converted where nothing is lost ("3" fits an int, "2026-01-31" a date), because
        models often write numbers as strings; unknown arguments are refused. `raw` is what the model
        sent when it was no JSON object.

        Raises:
            ArgumentsInvalid: they do not fit; the message tells the model what to change.
        """
        if raw is not None:
            raise ArgumentsInvalid(self._told([_unreadable(raw)]))
        try:
            if type(arguments) is not dict or not are_scalars(arguments):
                arguments = fresh(arguments)
            return self._validate(arguments)
        except _TooDeep:
            raise ArgumentsInvalid(self._told([_DEEP])) from None
        except Unfit as unfit:
            raise ArgumentsInvalid(self._told(unfit.problems)) from None
        except Exception as error:
            found = validation_errors(error)
            if found is not None:
                raise ArgumentsInvalid(self._told(problems_of(found, arguments, self.schema))) from None
            # A validator of the tool's own that fails in its own way must not end the run.
            problem = f"they could not be checked ({type(error).__name__}); send simpler values"
            raise ArgumentsInvalid(self._told([problem])) from error

    def _told(self, problems: Sequence[str]) -> str:
        expected = cut(f"{self.tool}({outline(self.schema)})", _SHOWN_SIGNATURE)
        text = "\n".join(
            [
                f"{self.tool} was not run, its arguments do not fit:",
                *listed(problems),
                f"Expected: {expected}",
                "Correct the arguments and call it again.",
            ]
        )
        return text.encode("utf-8", "backslashreplace").decode()


_DEEP = f"they are nested deeper than {MAX_DEPTH} levels; send something flatter"


class _TooDeep(Exception):
    pass


def are_scalars(arguments: Mapping[str, Any]) -> bool:
    """Whether nothing is nested in them, as in most calls."""
    return _SCALARS.issuperset(map(type, arguments.values()))


def too_deep(arguments: Mapping[str, Any]) -> bool:
    """Whether arguments are nested deeper than any real ones, so that reading them exhausts the stack."""
    if are_scalars(arguments):
        return False
    try:
        fresh(arguments)
    except _TooDeep:
        return True
    return False


def is_odd(number: float) -> bool:
    """Whether a number has no JSON form: what is none, what is infinite, what is too long to be written."""
    return number.bit_length() > MAX_BITS if isinstance(number, int) else not math.isfinite(number)


def has_odd_numbers(value: Any) -> bool:
    """Whether there are such numbers anywhere in arguments that are not too deep."""
    if isinstance(value, int | float):
        return is_odd(value)
    if isinstance(value, Mapping):
        return any(map(has_odd_numbers, value.values()))
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return any(map(has_odd_numbers, value))
    return False


def fresh(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A copy of JSON data that shares nothing with it."""
    if type(value) in _SCALARS:
        return value
    if not depth:
        raise _TooDeep
    if isinstance(value, Mapping):
        return {key: fresh(item, depth - 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [fresh(item, depth - 1) for item in value]
    return value


class _NoNumber(Exception):
    pass


def _refuse(constant: str) -> Any:
    raise _NoNumber(constant)


def _unreadable(raw: str) -> str:
    if not raw.strip():
        return 'there were none; send a JSON object, such as {} or {"name": "value"}'
    try:
        data = json.loads(raw, parse_constant=_refuse)
    except _NoNumber as error:
        return f"they hold {error}, which is no number in JSON; send a finite one, or leave it out"
    except json.JSONDecodeError as error:
        around = raw[max(0, error.pos - 30) : error.pos + 10]
        return (
            f"they are not valid JSON: {error.msg} at line {error.lineno}, column {error.colno} "
            f"(near {shown(around)}); send one complete JSON object"
        )
    except (RecursionError, ValueError):
        return "they are JSON that cannot be read: nested too deep, or a number too long"
    if isinstance(data, dict) and too_deep(data):
        return _DEEP
    kinds = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    kind = kinds.get(type(data), "an object sent as text" if isinstance(data, dict) else "a number")
    return f"they are {kind}, not a JSON object: {shown(data)}"
