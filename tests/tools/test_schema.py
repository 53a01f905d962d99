"""The schema a model is shown, made from signature and docstring, with postponed annotations."""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import jsonschema_rs
import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agentfootprint import tools
from agentfootprint.errors import ConfigurationError
from agentfootprint.tools import ToolContext, tool
from agentfootprint.tools import ToolContext as Ctx

if TYPE_CHECKING:
    from somewhere import Database  # type: ignore[import-not-found]


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Line:
    sku: str
    quantity: int = 1


class Address(BaseModel):
    """Where it goes."""

    city: str
    parts: list[Address] = []


class Note(TypedDict):
    text: str


def schema_of(function: Callable[..., Any]) -> Any:
    schema = dict(tool(function).spec.schema)
    jsonschema_rs.Draft202012Validator(schema)
    return schema


def test_types_defaults_and_required_come_from_the_signature() -> None:
    def find(city: str, limit: int = 10, *, exact: bool | None = None) -> str:
        return ""

    assert schema_of(find) == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "city": {"type": "string"},
            "limit": {"type": "integer", "default": 10},
            "exact": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None},
        },
        "required": ["city"],
    }


def test_a_function_without_parameters_has_an_empty_object() -> None:
    def now() -> str:
        return ""

    assert schema_of(now) == {"type": "object", "properties": {}, "additionalProperties": False}


def test_rich_types_have_their_schemas() -> None:
    def place(
        lines: list[Line],
        size: Size,
        to: Address,
        note: Note,
        when: Literal["now", "later"],
        on: date,
        amount: Decimal,
        either: int | list[int],
        extra: dict[str, Any],
    ) -> None: ...

    schema = schema_of(place)
    given = schema["properties"]
    assert given["lines"] == {"type": "array", "items": {"$ref": "#/$defs/Line"}}
    assert schema["$defs"]["Size"]["enum"] == ["s", "l"]
    assert schema["$defs"]["Address"]["description"] == "Where it goes."
    assert schema["$defs"]["Note"]["required"] == ["text"]
    assert given["when"]["enum"] == ["now", "later"]
    assert given["on"]["format"] == "date"
    assert "title" not in str(schema)


def test_parameters_are_described_by_the_docstring_unless_their_field_does() -> None:
    def find(
        city: str, limit: Annotated[int, Field(ge=1, description="from the field")] = 3, other: str = ""
    ) -> None:
        """Finds.

        Args:
            city: from the docstring
            limit: never shown
        """

    given = schema_of(find)["properties"]
    assert given["city"]["description"] == "from the docstring"
    assert given["limit"] == {"type": "integer", "minimum": 1, "description": "from the field", "default": 3}
    assert "description" not in given["other"]
    assert tool(find).description == "Finds."


def test_a_field_may_be_the_default_and_give_another_name() -> None:
    @tool
    def send(
        to: str = Field(description="who"),
        copies: int = Field(default=2, ge=1),
        from_: Annotated[str, Field(alias="from")] = "me",
    ) -> None:
        """Sends.

        Args:
            from_: the sender
        """

    schema = send.spec.schema
    assert schema["required"] == ["to"]
    assert schema["properties"]["to"]["description"] == "who"
    assert schema["properties"]["copies"]["default"] == 2
    assert schema["properties"]["from"] == {"type": "string", "description": "the sender", "default": "me"}
    assert send.bind({"to": "a", "from": "b"}) == {"to": "a", "copies": 2, "from_": "b"}


def test_a_default_without_json_form_is_not_shown() -> None:
    marker: Any = object()

    def find(city: str = marker) -> None: ...

    assert schema_of(find)["properties"]["city"] == {"type": "string"}


def test_types_of_the_enclosing_function_are_found() -> None:
    class Local(BaseModel):
        x: int

    @tool(timeout=1)
    def with_options(value: Local) -> None: ...

    @tool
    def bare(value: list[Local]) -> None: ...

    assert with_options.spec.schema["$defs"]["Local"]["required"] == ["x"]
    assert bare.bind({"value": [{"x": 1}]}) == {"value": [Local(x=1)]}


class TestContext:
    def test_a_first_parameter_of_type_context_is_not_the_models(self) -> None:
        def plain(ctx: ToolContext, city: str) -> None: ...  # type: ignore[type-arg]
        def with_deps(ctx: ToolContext[dict[str, str]], city: str) -> None: ...
        def deps_for_the_type_checker(ctx: ToolContext[Database], city: str) -> None: ...
        def dotted(ctx: tools.ToolContext[Any], city: str) -> None: ...
        def renamed(ctx: Ctx[Any], city: str) -> None: ...

        for function in (plain, with_deps, deps_for_the_type_checker, dotted, renamed):
            made = tool(function)
            assert made.wants_context, function
            assert list(made.spec.schema["properties"]) == ["city"]

    def test_annotations_that_are_not_postponed_work_alike(self) -> None:
        def find(ctx: Any, city: Any) -> None: ...

        find.__annotations__ = {"ctx": ToolContext[int], "city": str}
        assert tool(find).wants_context
        assert schema_of(find)["properties"] == {"city": {"type": "string"}}

    def test_somebody_elses_class_of_that_name_is_an_argument(self) -> None:
        class ToolContext(BaseModel):
            x: int

        @tool
        def find(ctx: ToolContext) -> None: ...

        assert not find.wants_context
        assert list(find.spec.schema["properties"]) == ["ctx"]

    def test_a_context_in_another_place_is_refused(self) -> None:
        def find(city: str, ctx: ToolContext[Any]) -> None: ...

        with pytest.raises(ConfigurationError, match=r"'find'.*'ctx'.*first parameter"):
            tool(find)


class TestRefusals:
    def test_any_number_of_arguments(self) -> None:
        def stars(*names: str) -> None: ...
        def double(**names: str) -> None: ...

        with pytest.raises(ConfigurationError, match=r"'stars'.*'\*names'.*list or dict"):
            tool(stars)
        with pytest.raises(ConfigurationError, match=r"'double'.*'\*\*names'"):
            tool(double)

    def test_a_missing_annotation(self) -> None:
        def find(city) -> None: ...  # type: ignore[no-untyped-def]

        with pytest.raises(ConfigurationError, match=r"'find'.*'city' has no type.*'city: str'"):
            tool(find)

    def test_positional_only(self) -> None:
        def find(city: str, /) -> None: ...

        with pytest.raises(ConfigurationError, match=r"'city' is positional-only.*remove the '/'"):
            tool(find)

    def test_a_type_without_schema_names_the_parameter_and_points_to_deps(self) -> None:
        class Connection: ...

        @tool
        def find(city: str, connection: Connection) -> None: ...

        with pytest.raises(ConfigurationError, match=r"'find'.*'connection' has no JSON Schema.*deps"):
            _ = find.spec

        @tool
        def call(city: str, back: Callable[[], None]) -> None: ...

        with pytest.raises(ConfigurationError, match=r"'call'.*'back' has no JSON Schema"):
            _ = call.spec

    def test_a_type_that_cannot_be_found(self) -> None:
        @tool
        def find(database: Database) -> None: ...

        with pytest.raises(ConfigurationError, match=r"'find'.*'Database'.*TYPE_CHECKING"):
            _ = find.spec

    def test_a_callable_whose_signature_is_unknown(self) -> None:
        with pytest.raises(ConfigurationError, match=r"'dict'.*wrap it"):
            tool(dict)


class TestOtherCallables:
    def test_a_bound_method_has_no_self(self) -> None:
        class Orders:
            def find(self, city: str) -> str:
                """Finds orders."""
                return city

        made = tool(Orders().find)
        assert list(made.spec.schema["properties"]) == ["city"]
        assert made.description == "Finds orders."
        assert made(city="Bern") == "Bern"

    def test_what_a_partial_has_filled_in_is_not_the_models(self) -> None:
        def find(db: object, city: str, limit: int) -> str:
            """Finds orders."""
            return f"{city} {limit}"

        made = tool(name="find")(functools.partial(find, object(), limit=3))
        assert list(made.spec.schema["properties"]) == ["city"]
        assert made.description == "Finds orders."
        assert made(city="Bern") == "Bern 3"

    def test_a_decorated_function_shows_its_own_signature(self) -> None:
        def logged(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

            return wrapper

        def find(city: str) -> str:
            return city

        assert list(schema_of(logged(find))["properties"]) == ["city"]

    def test_an_object_with_call(self) -> None:
        class Finder:
            async def __call__(self, city: Size) -> str:
                """Finds orders."""
                return ""

        made = tool(name="find")(Finder())
        assert made.is_async
        assert made.description == "Finds orders."
        assert made.spec.schema["properties"]["city"] == {"$ref": "#/$defs/Size"}


def test_making_a_tool_reads_no_schema_and_needs_no_pydantic() -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from agentfootprint.tools import tool\n"
        "@tool\n"
        "def find(city: str) -> str: return city\n"
        "assert 'pydantic' not in sys.modules and 'pydantic_core' not in sys.modules\n"
        "find.spec\n"
        "assert 'pydantic' in sys.modules\n"
    )
    source = inspect.getsourcefile(tool)
    assert source is not None
    root = source.rsplit("agentfootprint", 1)[0]
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": root})
