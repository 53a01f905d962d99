from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from agentfootprint import Agent, Paused
from agentfootprint.errors import ConfigurationError
from agentfootprint.providers import MockProvider
from agentfootprint.tools import (
    ApprovalRequiredToolset,
    FilteredToolset,
    MockMCPClient,
    PrefixedToolset,
    RenamedToolset,
    RunContext,
    StaticToolset,
    Tool,
    Toolset,
    tool,
)

CONTEXT = RunContext(None, None, "r")


def read_file(path: str) -> str:
    """Reads."""
    return f"text of {path}"


def write_file(path: str) -> str:
    """Writes."""
    return f"wrote {path}"


@tool(approval="Really delete?")
def delete_file(path: str) -> str:
    """Deletes."""
    return f"deleted {path}"


FILES = StaticToolset([read_file, write_file, delete_file])


async def names(toolset: Toolset) -> list[str]:
    return [each.name for each in await toolset.tools(CONTEXT)]


async def test_some_of_the_tools_by_pattern_or_by_function() -> None:
    assert await names(FILES.filtered("read_*")) == ["read_file"]
    assert await names(FILES.filtered(("write_file", "delete_*"))) == ["write_file", "delete_file"]
    assert await names(FILES.filtered(lambda ctx, each: ctx.run_id in each.name)) == [
        "read_file",
        "write_file",
    ]


async def test_names_are_prefixed_and_replaced_and_the_model_reads_the_new_ones() -> None:
    both = FILES.prefixed("fs_").renamed({"fs_read_file": "cat"})
    assert await names(both) == ["cat", "fs_write_file", "fs_delete_file"]
    [cat, *_] = await both.tools(CONTEXT)
    assert cat.spec.name == "cat"
    with pytest.raises(Exception, match="cat was not run"):
        cat.bind({})
    assert await cat.invoke({"path": "a"}) == "text of a"
    # What it was made of is as it was.
    assert await names(FILES) == ["read_file", "write_file", "delete_file"]


async def test_a_name_that_is_not_there_cannot_be_replaced() -> None:
    with pytest.raises(ConfigurationError, match=r"has no tool reed; it has read_file, write_file"):
        await names(FILES.renamed({"reed": "cat"}))


async def test_a_prefix_that_vendors_refuse_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'a\.read_file' is refused by model vendors"):
        await names(FILES.prefixed("a."))


async def test_a_person_is_asked_before_the_tools_that_need_it() -> None:
    guarded = FILES.approval_required(("write_*", "delete_*"))
    assert [each.approval for each in await guarded.tools(CONTEXT)] == [None, True, "Really delete?"]
    agent = Agent(MockProvider(replies=[MockProvider.call("write_file", path="a"), "done"]), tools=[guarded])
    paused = await agent.run("Go.")
    assert isinstance(paused, Paused)
    assert paused.asks[0].question == "Approve write_file?"
    result = await agent.resume(paused.checkpoint, answer=True)
    assert result.messages[2].text == "wrote a"


async def test_they_work_on_a_toolset_that_is_no_more_than_the_protocol() -> None:
    class Own:
        async def tools(self, ctx: RunContext) -> Sequence[Tool[..., Any]]:
            return await FILES.tools(ctx)

    made = ApprovalRequiredToolset(
        RenamedToolset(PrefixedToolset(FilteredToolset(Own(), "read_*"), "x_"), {"x_read_file": "y"})
    )
    assert await names(made) == ["y"]


anything: Any = FILES


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PrefixedToolset(FILES, ""), "takes the text to put before"),
        (lambda: PrefixedToolset(cast(Any, read_file), "a"), "takes a toolset, not a function"),
        (lambda: anything.filtered([1]), "names of tools are texts"),
        (lambda: anything.renamed(["a"]), "takes a mapping"),
        (lambda: anything.approval_required(approval=False), "takes True, a question"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(make: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make()


async def test_two_servers_with_a_tool_of_one_name_are_told_apart_by_a_prefix() -> None:
    first, second = MockMCPClient([read_file], name="github"), MockMCPClient([read_file], name="jira")
    agent = Agent(MockProvider(reply="hi"), tools=[first, second])
    with pytest.raises(
        ConfigurationError,
        match=r"two tools are named 'read_file'.*<MockMCPClient github>.*<MockMCPClient jira>.*\.prefixed\(",
    ):
        await agent.run("hi")
    agent = agent.replace(tools=[first, second.prefixed("jira_")])
    assert (await agent.run("hi")).output == "hi"
    await agent.aclose()

    own = agent.replace(tools=[read_file, first])
    with pytest.raises(ConfigurationError, match="the agent's own"):
        await own.run("hi")
    await own.aclose()
