"""What a model sent as a tool's arguments, checked; and what it is told when they do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import AgentFootprintError

__all__ = ["Arguments", "ArgumentsInvalid", "fresh", "too_deep"]

MAX_DEPTH = 100
"""How deep arguments may be nested. Real ones are a few levels deep; hostile ones exhaust the stack."""

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_SHOWN_ERRORS = 10
_SHOWN_VALUE = 80
_SHOWN_SIGNATURE = 800
_SCALARS = frozenset({str, int, float, bool, type(None)})


class ArgumentsInvalid(AgentFootprintError):
    """A tool call's arguments do not fit the tool. The message is written for the model to read."""

    code = "arguments_invalid"


class Arguments:
    """The arguments of one tool: their JSON `schema`, and the check of a call against it."""

    __slots__ = ("_validate", "schema", "tool")

    def __init__(
        self, tool: str, schema: Mapping[str, Any], validate: Callable[[Any], dict[str, Any]]
    ) -> None:
        self.tool = tool
        self.schema = schema
        self._validate = validate

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
            if type(arguments) is not dict or not _SCALARS.issuperset(map(type, arguments.values())):
                arguments = fresh(arguments)
            return self._validate(arguments)
        except _TooDeep:
            raise ArgumentsInvalid(self._told([_DEEP])) from None
        except Exception as error:
            found = _validation_errors(error)
            if found is not None:
                raise ArgumentsInvalid(self._told(self._problems(found, arguments))) from None
            # A validator of the tool's own that fails in its own way must not end the run.
            problem = f"they could not be checked ({type(error).__name__}); send simpler values"
            raise ArgumentsInvalid(self._told([problem])) from error

    def _told(self, problems: Sequence[str]) -> str:
        shown = list(problems[:_SHOWN_ERRORS])
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more")
        expected = _cut(f"{self.tool}({outline(self.schema)})", _SHOWN_SIGNATURE)
        text = "\n".join(
            [
                f"{self.tool} was not run, its arguments do not fit:",
                *(f"- {problem}" for problem in shown),
                f"Expected: {expected}",
                "Correct the arguments and call it again.",
            ]
        )
        return text.encode("utf-8", "backslashreplace").decode()

    def _problems(self, errors: Sequence[Mapping[str, Any]], arguments: Mapping[str, Any]) -> list[str]:
        # The members of a union fail one by one at the same place: to the model that is one problem.
        told: dict[str, list[str]] = {}
        missing = [_path(error, arguments) for error in errors if error["type"] == "missing"]
        properties: Mapping[str, Any] = self.schema["properties"]
        for error in errors:
            path = _path(error, arguments)
            where = _spelled(path)
            if error["type"] == "missing":
                problem = "missing, it is required"
                if where in properties:
                    problem += f" ({_cut(outline(properties[where], self._definitions), 200)})"
                told.setdefault(where, []).append(problem)
            elif error["type"] in _UNKNOWN:
                siblings = [str(other[-1]) for other in missing if other[:-1] == path[:-1]]
                known = siblings if len(path) > 1 else [*properties]
                told.setdefault(where, []).append(
                    "there is no such argument" + _did_you_mean(path[-1], known)
                )
            else:
                message = str(error["msg"]).removeprefix("Input ").removeprefix("Value error, ")
                problem = f"{message} (you sent {_shown(error['input'])})"
                told.setdefault(where, []).append(problem)
        return [_cut(f"{where}: {' or '.join(dict.fromkeys(said))}", 600) for where, said in told.items()]

    @property
    def _definitions(self) -> Mapping[str, Any]:
        definitions: Mapping[str, Any] = self.schema.get("$defs", {})
        return definitions


_DEEP = f"they are nested deeper than {MAX_DEPTH} levels; send something flatter"


class _TooDeep(Exception):
    pass


def too_deep(arguments: Mapping[str, Any]) -> bool:
    """Whether arguments are nested deeper than any real ones, so that reading them exhausts the stack."""
    if _SCALARS.issuperset(map(type, arguments.values())):
        return False
    try:
        fresh(arguments)
    except _TooDeep:
        return True
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


def _unreadable(raw: str) -> str:
    if not raw.strip():
        return 'there were none; send a JSON object, such as {} or {"name": "value"}'
    try:
        data = json.loads(raw)
    except json.JSONDecodeError as error:
        around = raw[max(0, error.pos - 30) : error.pos + 10]
        return (
            f"they are not valid JSON: {error.msg} at line {error.lineno}, column {error.colno} "
            f"(near {_shown(around)}); send one complete JSON object"
        )
    except (RecursionError, ValueError):
        return "they are JSON that cannot be read: nested too deep, or a number too long"
    if isinstance(data, dict) and too_deep(data):
        return _DEEP
    kinds = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    kind = kinds.get(type(data), "an object sent as text" if isinstance(data, dict) else "a number")
    return f"they are {kind}, not a JSON object: {_shown(data)}"


def _validation_errors(error: Exception) -> Sequence[Mapping[str, Any]] | None:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return None
    return error.errors(include_url=False, include_context=False)


def _path(error: Mapping[str, Any], arguments: Any) -> tuple[str | int, ...]:
    """Where the error is in what was sent. Pydantic also names union members there: left out."""
    path: list[str | int] = []
    value = arguments
    last = len(error["loc"]) - 1
    for at, part in enumerate(error["loc"]):
        inside = (isinstance(value, Mapping) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        )
        if inside:
            value = value[part]
            path.append(part)
        elif at == last and error["type"] == "missing":
            path.append(part)
    return tuple(path)


def _spelled(path: Sequence[str | int]) -> str:
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return _cut(out, 200) or "the arguments"


def _did_you_mean(name: str | int, known: Sequence[str]) -> str:
    import difflib

    folded = {other.lower().replace("_", ""): other for other in known}
    close = difflib.get_close_matches(str(name).lower().replace("_", "")[:100], folded, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(folded[other] for other in close)}?" if close else "; leave it out"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        value = value[: _SHOWN_VALUE + 1]
    out = ""
    try:
        for piece in json.JSONEncoder(ensure_ascii=False, default=lambda odd: type(odd).__name__).iterencode(
            value
        ):
            out += piece
            if len(out) > _SHOWN_VALUE:
                break
    except (TypeError, ValueError):
        return f"a {type(value).__name__}"
    return _cut(out, _SHOWN_VALUE)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def outline(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None, depth: int = 3) -> str:
    """A JSON Schema in one line of TypeScript's notation, which models read well."""
    if definitions is None:
        definitions = schema.get("$defs", {})
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        if not depth or name not in definitions:
            return name
        # A type inside itself is written out once.
        others = {other: each for other, each in definitions.items() if other != name}
        return outline(definitions[name], others, depth - 1)
    if "enum" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " | ".join(dict.fromkeys(outline(member, definitions, depth) for member in schema[union]))
    kind = schema.get("type", "any")
    if kind == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(outline(item, definitions, depth) for item in schema['prefixItems'])}]"
        item = outline(schema.get("items", {}), definitions, depth)
        return f"({item})[]" if " " in item and not item.startswith("{") else f"{item}[]"
    if kind == "object":
        return _outline_object(schema, definitions, depth)
    if isinstance(kind, list):
        return " | ".join(map(str, kind))
    form = schema.get("format")
    return f"{kind} ({form})" if form else str(kind)


def _outline_object(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> str:
    if "properties" not in schema:
        values = schema.get("additionalProperties")
        return (
            f"{{[key]: {outline(values, definitions, depth)}}}" if isinstance(values, Mapping) else "object"
        )
    required = schema.get("required", ())
    fields = (
        f"{name}{'' if name in required else '?'}: {outline(field, definitions, depth)}"
        for name, field in schema["properties"].items()
    )
    return f"{{{', '.join(fields)}}}"
