from __future__ import annotations

from typing import Any

import pytest

from agentfootprint import tools
from agentfootprint.errors import ConfigurationError
from agentfootprint.tools import RunContext, StaticToolset, Toolset, as_tools, tool


def find(city: str) -> str:
    """Finds."""
    return city


@tool
def seek(city: str) -> str:
    return city


async def test_a_static_toolset_gives_its_tools_in_order() -> None:
    toolset = StaticToolset([find, seek])
    assert isinstance(toolset, Toolset)
    given = await toolset.tools(RunContext(None, None, "run"))
    assert [each.name for each in given] == ["find", "seek"]
    assert given[1] is seek
    assert given[0].description == "Finds."


def test_names_used_inside_the_library_do_not_hide_the_functions_own() -> None:
    def nested(ctx: tools.ToolContext[Any], city: str) -> str:
        return city

    assert as_tools([nested])[0].wants_context


def test_two_tools_of_one_name_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"two tools are named 'find'.*rename"):
        as_tools([find, seek, tool(find)])


def test_names_that_differ_only_in_case_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"differ only in case, 'find' and 'Find'"):
        as_tools([find, tool(name="Find")(find)])


def test_what_is_no_tool_is_named_by_its_place() -> None:
    items: list[Any] = [find, "seek"]
    with pytest.raises(ConfigurationError, match=r"tools\[1\] is a str"):
        as_tools(items)


def test_a_method_without_its_object_is_refused() -> None:
    class Orders:
        @tool
        def lookup(self, order_id: str) -> str:
            return order_id

    with pytest.raises(
        ConfigurationError, match=r"'lookup' is a method without its object.*my_object\.lookup"
    ):
        as_tools([Orders.lookup])
    assert as_tools([Orders().lookup])[0].name == "lookup"
