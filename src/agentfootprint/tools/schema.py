"""A function's signature and docstring, read as the JSON Schema of a tool's arguments."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ForwardRef, Protocol, get_args, get_origin, get_type_hints

from ..errors import ConfigurationError
from .arguments import Arguments
from .context import ToolContext
from .docstring import Documentation, read_docstring

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Described", "Signature", "schema_of"]

_EMPTY: Any = inspect.Parameter.empty
_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Described(Protocol):
    """What a tool must know of its function: a `Signature`, or what a server says of a tool."""

    @property
    def unbound(self) -> bool: ...
    @property
    def wants_context(self) -> bool: ...
    @property
    def documentation(self) -> Documentation: ...
    @property
    def arguments(self) -> Arguments: ...
    def renamed(self, tool: str) -> Described: ...


class Signature:
    """How a function is called as a tool.

    Reading the parameters is cheap and happens at once, so that a function that cannot be a tool is
    refused where it is written; the schema, which needs pydantic, is made when it is first asked for.

    `wants_context` says that the first parameter is a `ToolContext`, which the run fills. `unbound`
    says that it is a method still without its object.

    Raises:
        ConfigurationError: a parameter that a model cannot fill; names it and what to do.
    """

    def __init__(
        self, function: Callable[..., Any], tool: str, local_names: Mapping[str, Any] | None = None
    ) -> None:
        self.tool = tool
        self._function = _underlying(function)
        self._local_names = local_names
        parameters = list(_parameters(function, tool))
        first = parameters[0] if parameters else None
        self.unbound = first is not None and first.annotation is _EMPTY and self._is_method(first)
        if self.unbound:
            parameters = parameters[1:]
        self.wants_context = bool(parameters) and self._is_context(parameters[0].annotation)
        if self.wants_context:
            parameters = parameters[1:]
        self._parameters = {parameter.name: parameter for parameter in parameters}
        for parameter in parameters:
            self._check(parameter)

    def renamed(self, tool: str) -> Signature:
        """The same under another name, which messages for the model say."""
        renamed = copy.copy(self)
        renamed.tool = tool
        if "arguments" in self.__dict__:
            renamed.__dict__["arguments"] = self.arguments.renamed(tool)
        return renamed

    def _is_method(self, first: inspect.Parameter) -> bool:
        # Inside a class body a function is not a method yet; its qualified name tells.
        owner = getattr(self._function, "__qualname__", "").rpartition(".")[0]
        return first.name in ("self", "cls") and bool(owner) and not owner.endswith("<locals>")

    def _is_context(self, annotation: Any) -> bool:
        if isinstance(annotation, ForwardRef):
            annotation = annotation.__forward_arg__
        if not isinstance(annotation, str):
            return annotation is ToolContext or get_origin(annotation) is ToolContext
        # A postponed annotation: looked up by name, because what is in the brackets may not exist
        # at run time.
        first, *rest = annotation.partition("[")[0].strip().split(".")
        found = (self._local_names or {}).get(first, _EMPTY)
        if found is _EMPTY:
            found = getattr(self._function, "__globals__", {}).get(first, _EMPTY)
        if found is _EMPTY:
            return (rest[-1] if rest else first) == ToolContext.__name__
        for name in rest:
            found = getattr(found, name, None)
        return found is ToolContext or get_origin(found) is ToolContext

    def _check(self, parameter: inspect.Parameter) -> None:
        name, where = parameter.name, f"tool {self.tool!r}: parameter {parameter.name!r}"
        if parameter.kind not in _BY_KEYWORD:
            stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
            if parameter.kind in stars:
                raise ConfigurationError(
                    f"tool {self.tool!r}: parameter '{stars[parameter.kind]}{name}' takes any number of "
                    "arguments, which a model cannot be told: name each argument, or take one list or dict"
                )
            raise ConfigurationError(
                f"{where} is positional-only, but a model names its arguments: remove the '/'"
            )
        if parameter.annotation is _EMPTY:
            raise ConfigurationError(
                f"{where} has no type, so the model cannot be told what to send: annotate it, "
                f"for example '{name}: str'"
            )
        if self._is_context(parameter.annotation):
            raise ConfigurationError(f"{where} is a ToolContext: make it the first parameter")

    @functools.cached_property
    def documentation(self) -> Documentation:
        return read_docstring(getattr(self._function, "__doc__", None))

    @functools.cached_property
    def arguments(self) -> Arguments:
        """The schema and the check.

        Raises:
            ConfigurationError: a type that has no JSON Schema or cannot be found.
        """
        # Any, because a TypedDict made at run time is nothing that a type checker can follow. A
        # TypedDict, because it gives back a dict, holds any parameter name, and leaves out what was
        # not sent, so that the function's own defaults stay its own.
        import typing_extensions
        from pydantic import ConfigDict
        from pydantic.fields import FieldInfo

        special: Any = typing_extensions
        fields: dict[str, Any] = {}
        keys: dict[str, str] = {}
        for name, hint in self._hints().items():
            default = self._parameters[name].default
            if isinstance(default, FieldInfo):
                hint = special.Annotated[hint, default]
                optional = not default.is_required()
            else:
                optional = default is not _EMPTY
            fields[name] = special.NotRequired[hint] if optional else hint
            keys[name] = _key(name, hint)
        shape = special.TypedDict(self.tool, fields)
        shape.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
        try:
            validate, schema = _compile(shape)
        except Exception as error:
            raise self._unfit(fields, error) from error
        for name, parameter in self._parameters.items():
            self._describe(schema["properties"].get(keys[name]), parameter)
        return Arguments(self.tool, schema, validate)

    def _hints(self) -> dict[str, Any]:
        def holder() -> None: ...

        holder.__annotations__ = {name: each.annotation for name, each in self._parameters.items()}
        names = getattr(self._function, "__globals__", {})
        try:
            hints = get_type_hints(holder, names, dict(self._local_names or {}), include_extras=True)
        except (NameError, AttributeError, TypeError, SyntaxError) as error:
            raise ConfigurationError(
                f"tool {self.tool!r}: an annotation cannot be resolved ({error}): import the type outside "
                "`if TYPE_CHECKING`, and define it at module level or where @tool is applied"
            ) from error
        self._local_names = None  # They may hold anything, and are not needed again.
        return hints

    def _unfit(self, fields: Mapping[str, Any], error: Exception) -> ConfigurationError:
        for name, hint in fields.items():
            bare = get_args(hint)[0] if "NotRequired" in str(get_origin(hint)) else hint
            try:
                _compile(bare)
            except Exception as cause:
                reason = str(cause).partition("\n")[0]
                return ConfigurationError(
                    f"tool {self.tool!r}: the type of parameter {name!r} has no JSON Schema ({reason}): use "
                    "JSON types, enums, dataclasses or pydantic models; what the model shall not fill "
                    "belongs into deps and is read from ToolContext"
                )
        return ConfigurationError(
            f"tool {self.tool!r}: no JSON Schema can be made of its parameters: {error}"
        )

    def _describe(self, schema: dict[str, Any] | None, parameter: inspect.Parameter) -> None:
        if schema is None:
            return
        said = self.documentation.parameters.get(parameter.name)
        if said is not None:
            schema.setdefault("description", said)
        if parameter.default is not _EMPTY and "default" not in schema:
            default = _json_of(parameter.default)
            if default is not _EMPTY:
                schema["default"] = default


def _parameters(function: Callable[..., Any], tool: str) -> list[inspect.Parameter]:
    options: Any = {}
    if sys.version_info >= (3, 14):
        import annotationlib

        options = {"annotation_format": annotationlib.Format.FORWARDREF}
    try:
        signature = inspect.signature(function, **options)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"tool {tool!r}: its signature cannot be read ({error}): wrap it in a function with annotations"
        ) from error
    # What functools.partial has filled in is not the model's to choose.
    filled = function.keywords if isinstance(function, functools.partial) else {}
    return [each for each in signature.parameters.values() if each.name not in filled]


def _underlying(function: Callable[..., Any]) -> Any:
    """The function whose names and docstring count: inside partials, decorators, callable objects."""
    found: Any = function
    while isinstance(found, functools.partial):
        found = found.func
    found = inspect.unwrap(found)
    if not hasattr(found, "__globals__") and not inspect.isclass(found):
        found = getattr(type(found), "__call__", found)  # noqa: B004 - the method, not whether there is one
    return found


def _key(name: str, hint: Any) -> str:
    """The name a model uses for a parameter: another one when its `Field` has an alias."""
    from pydantic.fields import FieldInfo

    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, FieldInfo):
            alias = extra.validation_alias or extra.alias
            if isinstance(alias, str):
                name = alias
    return name


def _compile(shape: Any) -> tuple[Callable[[Any], dict[str, Any]], dict[str, Any]]:
    from pydantic import TypeAdapter

    adapter = TypeAdapter(shape)
    return adapter.validator.validate_python, schema_of(adapter)


def schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """The JSON Schema of a type, without titles that repeat its names."""
    schema = adapter.json_schema(schema_generator=_generator())
    schema.pop("title", None)
    for name, definition in schema.get("$defs", {}).items():
        if definition.get("title") == name:
            del definition["title"]
    return schema


@functools.cache
def _generator() -> Any:
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        """Without the titles pydantic derives from names: the model has the names already."""

        ignored_warning_kinds = GenerateJsonSchema.ignored_warning_kinds | {"non-serializable-default"}

        def field_title_should_be_set(self, schema: Any) -> bool:
            return False

    return Generator


def _json_of(value: Any) -> Any:
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError):
        return _EMPTY
