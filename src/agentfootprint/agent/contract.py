"""The type an agent answers with: how the model is told of it, and how its answer is read."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from ..errors import ConfigurationError
from ..flow.codec import digest
from ..messages import Message, ToolSpec
from ..providers.base import LLMProvider, capabilities_of
from ..tools.problems import cut, listed, outline, problems_of, validation_errors

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from ..identity import MemoryIdentity

__all__ = ["FINAL", "Contract", "OutputFallback", "OutputMode", "OutputProblem", "Unfit"]

Output = TypeVar("Output")

OutputMode = Literal["native", "tool", "prompt"]
"""How a model is held to a type: by its vendor, by a tool that it answers with, or by words."""

FINAL = "final_answer"
"""The tool that a model answers with where its vendor cannot hold it to a type."""

_VALUE = "value"
_NO_JSON = "it is not valid JSON"
_LONGEST = 1_000_000
_SHOWN = 1_500
_MOST = 50
_UNSET: Any = object()


class Unfit(Exception):
    """An answer does not fit its type; `problems` says why, for the model to read."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class OutputProblem:
    """What `OutputFallback(recover=...)` gets: what the model said at last, what is wrong with it, and whose
    run it is."""

    text: str
    problems: tuple[str, ...]
    identity: MemoryIdentity | None
    deps: Any
    run_id: str


@dataclass(frozen=True, slots=True)
class OutputFallback(Generic[Output]):
    """What a run answers with when the model's answers do not fit `output=`, tried in this order. A run whose
    time is over while `recover` works is `Stopped`, as at every limit.

    Args:
        recover: a function of the `OutputProblem`, plain or async, that returns a value. It is checked as the
            model's answer is; when it does not fit, or the function fails, `canned` follows.
        canned: a value of the type, checked when the agent is built.

    Raises:
        ConfigurationError: neither is given.
    """

    recover: Callable[[OutputProblem], Output | Awaitable[Output]] | None = None
    canned: Output = _UNSET

    def __post_init__(self) -> None:
        if self.recover is None and not self.has_canned:
            raise ConfigurationError("OutputFallback() answers nothing: give recover=, canned= or both")
        if self.recover is not None and not callable(self.recover):
            raise ConfigurationError(f"recover= must be a function, not {type(self.recover).__name__}")

    @property
    def has_canned(self) -> bool:
        return self.canned is not _UNSET


class Contract:
    """A type that answers have, in the form of JSON.

    Args:
        shape: what pydantic has a JSON Schema for: a model, a dataclass, a TypedDict, a union, a list, a
            scalar; or a `TypeAdapter`.
        provider: whose abilities say how the model is held to it.

    Raises:
        ConfigurationError: there is no JSON Schema of it.
    """

    __slots__ = ("_adapter", "_leaves_out", "_wrapped", "mode", "name", "schema")

    def __init__(self, shape: Any, provider: LLMProvider) -> None:
        self.name = getattr(shape, "__name__", None) or str(shape)
        self._adapter, schema = _compiled(shape, self.name)
        self._leaves_out = _leaves_out(self._adapter.core_schema)
        # Vendors want an object; anything else stands in one.
        self._wrapped = schema.get("type") != "object"
        self.schema: Mapping[str, Any] = _in_object(schema) if self._wrapped else schema
        able = capabilities_of(provider)
        self.mode: OutputMode = (
            "native" if "structured_output" in able else "tool" if "tools" in able else "prompt"
        )

    @property
    def fingerprint(self) -> str:
        """Changes when the schema does, or how the model is held to it; checkpoints compare it."""
        return digest({"schema": self.schema, "mode": self.mode})

    @property
    def tool(self) -> ToolSpec | None:
        """The tool to answer with, in the mode of that name."""
        told = "Gives the final answer. Call it once, when the answer is known; it ends the work."
        return ToolSpec(FINAL, told, self.schema) if self.mode == "tool" else None

    @property
    def instructions(self) -> str | None:
        """What the model is told beside its system prompt."""
        if self.mode == "tool":
            return f"Give the final answer by calling {FINAL}, and in no other way."
        if self.mode == "prompt":
            schema = json.dumps(self.schema, ensure_ascii=False)
            return (
                f"Give the final answer as JSON that fits this JSON Schema, and nothing beside it:\n{schema}"
            )
        return None

    def read(self, text: str) -> str:
        """An answer as the JSON of its value.

        Raises:
            Unfit: it does not fit; the problems are for the model to read.
        """
        if not text.strip():
            raise Unfit(["the answer is empty"])
        if len(text) > _LONGEST:
            raise Unfit([f"the answer has {len(text)} characters: at most {_LONGEST} are read"])
        told: Unfit | None = None
        for candidate in _candidates(text):
            try:
                return self._json_of(*self._validated(candidate))
            except Unfit as problem:
                # What can be read at least says more than that something else cannot.
                if told is None or (_data(candidate) is not None and told.problems[0].startswith(_NO_JSON)):
                    told = problem
        assert told is not None
        raise told

    def json_of(self, value: Any) -> str:
        """A value given by code as its JSON.

        Raises:
            Unfit: it is no value of the type, or its JSON does not read back as one.
        """
        try:
            return self._json_of(self._adapter.validate_python(value))
        except Unfit:
            raise
        except Exception as error:
            raise self._unfit(error, value) from None

    def load(self, text: str) -> Any:
        """The value of what `read` and `json_of` returned."""
        return self._adapter.validate_json(text)

    def told(self, problems: Sequence[str]) -> str:
        """What the model reads about an answer that does not fit."""
        how = (
            f"Call {FINAL} again."
            if self.mode == "tool"
            else "Answer again, with JSON and nothing beside it."
        )
        expected = cut(outline(self.schema), _SHOWN)
        text = "\n".join(["The answer does not fit:", *listed(problems), f"Expected: {expected}", how])
        return text.encode("utf-8", "backslashreplace").decode()

    def _validated(self, text: str) -> tuple[Any, str]:
        """The value, and the JSON that it is of."""
        inner = _unwrapped(text) if self._wrapped else text
        try:
            return self._adapter.validate_json(inner), inner
        except Exception as error:
            unfit = self._unfit(error, text)
        try:
            # A type of its own may have one field of that name.
            return self._adapter.validate_json(text), text
        except Exception:
            raise unfit from None

    def _json_of(self, value: Any, sent: str | None = None) -> str:
        """The JSON of a value; where its type leaves something out there, what was `sent`."""
        try:
            # By alias: these are the names that the schema, and so the model, knows.
            text = self._adapter.dump_json(value, by_alias=True).decode()
            again = self._adapter.validate_json(text)
            alike = _same(*map(self._adapter.dump_python, (value, again)))
        except Exception as error:
            reason = " ".join(str(error).split())
            unfit = Unfit([f"its JSON does not read back as {self.name}: {cut(reason, 300)}"])
        else:
            if not alike:
                raise Unfit([f"its JSON reads back as another {self.name}, as that of a SecretStr does"])
            if not self._leaves_out or _same(value, again):
                return text
            unfit = Unfit([f"the JSON of {self.name} leaves out a field that has a value (exclude=True)"])
        if sent is not None and self._leaves_out and _same(value, self.load(sent)):
            return sent
        raise unfit

    def _unfit(self, error: Exception, sent: Any) -> Unfit:
        found = validation_errors(error)
        if found is None:
            # A validator of the type's own that fails in its own way must not end the run.
            return Unfit([f"the answer could not be checked ({type(error).__name__})"])
        invalid = next((each for each in found if each["type"] == "json_invalid"), None)
        if invalid is not None:
            return Unfit([f"{_NO_JSON}: {str(invalid['msg']).removeprefix('Invalid JSON: ')}"])
        data = _data(_unwrapped(sent) if self._wrapped else sent) if isinstance(sent, str) else sent
        schema = self.schema["properties"][_VALUE] if self._wrapped else self.schema
        whole = {**schema, "$defs": self.schema.get("$defs", {})}
        told = problems_of(found[:_MOST], data, whole, whole="the answer", part="field")
        more = len(found) - _MOST
        return Unfit([*told, f"and {more} more problems"] if more > 0 else told)


def _same(one: Any, other: Any) -> bool:
    # What is no number does not equal itself.
    return bool(one == other) or ("nan" in repr(one) and repr(one) == repr(other))


def _leaves_out(schema: Any) -> bool:
    """Whether a field, at any depth, is left out when a value is written."""
    if isinstance(schema, Mapping):
        if schema.get("serialization_exclude") or schema.get("serialization_exclude_if"):
            return True
        return any(map(_leaves_out, schema.values()))
    return isinstance(schema, list | tuple) and any(map(_leaves_out, schema))


def _compiled(shape: Any, name: str) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    from pydantic import TypeAdapter

    from ..tools.schema import schema_of

    try:
        adapter = shape if isinstance(shape, TypeAdapter) else TypeAdapter(shape)
        return adapter, schema_of(adapter)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(
            f"output={name} has no JSON Schema ({reason}): use a pydantic model, a dataclass, a TypedDict, "
            "or lists, unions and scalars of such"
        ) from error


def _in_object(schema: dict[str, Any]) -> dict[str, Any]:
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    outer: dict[str, Any] = {
        "type": "object",
        "properties": {_VALUE: inner},
        "required": [_VALUE],
        "additionalProperties": False,
    }
    return outer | ({"$defs": schema["$defs"]} if "$defs" in schema else {})


def _unwrapped(text: str) -> str:
    """The value within its object, as JSON; anything else as it is."""
    data = _data(text)
    if isinstance(data, dict) and set(data) == {_VALUE}:
        return json.dumps(data[_VALUE])
    return text


def _data(text: str) -> Any:
    from pydantic_core import from_json

    try:
        return from_json(text)
    except ValueError:
        return None


def _candidates(text: str) -> Sequence[str]:
    """What in an answer is meant: all of it, the one thing that is fenced, or the one object among words.
    Where there are several, which of them is meant would be a guess."""
    whole = text.strip()
    if _data(whole) is not None:
        return [whole]
    found = [whole]
    fences = whole.split("```")
    if len(fences) == 3:
        head, _, rest = fences[1].partition("\n")
        found.append((rest if rest and not head.strip().startswith(("{", "[")) else fences[1]).strip())
    start, end = whole.find("{"), whole.rfind("}")
    if 0 <= start < end:
        found.append(whole[start : end + 1])
    return list(dict.fromkeys(each for each in found if each))


def as_answer(call_arguments: Mapping[str, Any], raw: str | None) -> str:
    """A call of the final tool as the text of an answer."""
    return raw if raw is not None else json.dumps(dict(call_arguments), default=_plain)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)


def asked_again(problems: Sequence[str], contract: Contract) -> Message:
    """The message that asks for another answer, where no tool call waits for its result."""
    return Message.user(contract.told(problems))
