"""What is wrong with data that a model sent, said so that a model can mend it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["cut", "listed", "outline", "problems_of", "shown", "validation_errors"]

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_SHOWN_ERRORS = 10
_SHOWN_VALUE = 80


def problems_of(
    errors: Sequence[Mapping[str, Any]],
    sent: Any,
    schema: Mapping[str, Any],
    *,
    whole: str = "the arguments",
    part: str = "argument",
) -> list[str]:
    """What pydantic found, a line for each place. `whole` and `part` are what the data and its fields are
    called."""
    # The members of a union fail one by one at the same place: to the model that is one problem.
    told: dict[str, list[str]] = {}
    missing = [_path(error, sent) for error in errors if error["type"] == "missing"]
    properties: Mapping[str, Any] = schema.get("properties", {})
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    for error in errors:
        path = _path(error, sent)
        where = _spelled(path, whole)
        if error["type"] == "missing":
            problem = "missing, it is required"
            if where in properties:
                problem += f" ({cut(outline(properties[where], definitions), 200)})"
            told.setdefault(where, []).append(problem)
        elif error["type"] in _UNKNOWN:
            siblings = [str(other[-1]) for other in missing if other[:-1] == path[:-1]]
            known = siblings if len(path) > 1 else [*properties]
            # Likenesses take long to find: not for those that are not shown.
            hint = _did_you_mean(path[-1], known) if len(told) < _SHOWN_ERRORS else ""
            told.setdefault(where, []).append(f"there is no such {part}{hint}")
        else:
            message = str(error["msg"]).removeprefix("Input ").removeprefix("Value error, ")
            told.setdefault(where, []).append(f"{message} (you sent {shown(error['input'])})")
    return [cut(f"{where}: {' or '.join(dict.fromkeys(said))}", 600) for where, said in told.items()]


def listed(problems: Sequence[str]) -> list[str]:
    """The first of the problems as lines of a list."""
    lines = [f"- {problem}" for problem in problems[:_SHOWN_ERRORS]]
    if len(problems) > _SHOWN_ERRORS:
        lines.append(f"- and {len(problems) - _SHOWN_ERRORS} more")
    return lines


def validation_errors(error: Exception) -> Sequence[Mapping[str, Any]] | None:
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


def _spelled(path: Sequence[str | int], whole: str) -> str:
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return cut(out, 200) or whole


def _did_you_mean(name: str | int, known: Sequence[str]) -> str:
    import difflib

    folded = {other.lower().replace("_", ""): other for other in known}
    close = difflib.get_close_matches(str(name).lower().replace("_", "")[:100], folded, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(folded[other] for other in close)}?" if close else "; leave it out"


def shown(value: Any) -> str:
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
    return cut(out, _SHOWN_VALUE)


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def outline(
    schema: Mapping[str, Any] | bool, definitions: Mapping[str, Any] | None = None, depth: int = 3
) -> str:
    """A JSON Schema in one line of TypeScript's notation, which models read well."""
    if not isinstance(schema, Mapping):
        return "any" if schema else "never"  # `true` and `false` are schemas too.
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
