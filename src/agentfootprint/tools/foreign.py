"""Tools that come with a JSON Schema of somebody else instead of a signature."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .arguments import Arguments, Unfit
from .docstring import Documentation
from .problems import cut, shown
from .tool import Tool

__all__ = ["SchemaInvalid", "checked_by", "foreign_tool", "validator_of"]

_UNDESCRIBED = Documentation("", {})


class SchemaInvalid(ValueError):
    """A schema that nothing can be checked against: no JSON Schema, or one that points elsewhere."""


class Foreign:
    """Stands where a function's signature stands: arguments are checked against a schema as it came."""

    unbound = False
    wants_context = True
    documentation = _UNDESCRIBED

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments

    def renamed(self, tool: str) -> Foreign:
        return Foreign(self.arguments.renamed(tool))


def foreign_tool(
    function: Callable[..., Awaitable[Any]],
    name: str,
    description: str,
    schema: Mapping[str, Any],
    *,
    timeout: float | None = None,
    idempotent: bool = False,
    capabilities: tuple[str, ...] = (),
    max_result_chars: int | None = None,
) -> Tool[..., Any]:
    """A tool with a schema as it came. `function` gets the `ToolContext`, and the arguments by name.

    Raises:
        SchemaInvalid: says why.
    """
    return Tool(
        function=function,
        name=name,
        approval=None,
        timeout=timeout,
        idempotent=idempotent,
        capabilities=capabilities,
        max_result_chars=max_result_chars,
        is_async=True,
        _signature=Foreign(Arguments(name, schema, checked_by(schema))),
        _description=description,
    )


def checked_by(schema: Mapping[str, Any]) -> Callable[[Any], dict[str, Any]]:
    """A check of an object against a schema, which fetches nothing.

    Raises:
        SchemaInvalid: there can be none; says why.
    """
    if schema.get("type", "object") != "object":
        raise SchemaInvalid("it describes no object")
    validator = validator_of(schema)

    def check(arguments: dict[str, Any]) -> dict[str, Any]:
        problems = [_told(error) for error in validator.iter_errors(arguments)]
        if problems:
            raise Unfit(problems)
        # New objects: what the function does to them is nobody else's.
        return dict(arguments)

    return check


def validator_of(schema: Mapping[str, Any]) -> Any:
    """A validator of jsonschema_rs, which fetches nothing.

    Raises:
        SchemaInvalid: there can be none; says why.
    """
    from jsonschema_rs import FancyRegexOptions, validator_for

    try:
        # A pattern that tries too long is cut by the library.
        return validator_for(dict(schema), retriever=_refuse, pattern_options=FancyRegexOptions())
    except Exception as error:
        raise SchemaInvalid(cut(" ".join(str(error).split()), 300)) from None


def _refuse(uri: str) -> Any:
    raise ValueError(f"it points to {cut(uri, 100)}, which is not fetched")


def _told(error: Any) -> str:
    where = ""
    for part in error.instance_path:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else part
    sent = getattr(error, "instance", None)
    text = cut(f"{cut(where, 200) or 'the arguments'}: {error.message}", 500)
    return text if not where or shown(sent) in text else f"{text} (you sent {shown(sent)})"
