"""What a type checker must know of tools. Nothing here runs: `mypy` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_type

from agentfootprint import Agent, MemoryIdentity, ToolContext, ask_human, tool
from agentfootprint.providers import MockProvider
from agentfootprint.tools import RunContext, Tool, Toolset


@dataclass
class MyDeps:
    limit: int


@tool
async def look(order_id: str, deep: bool = False) -> str:
    """Looks."""
    return order_id


@tool(timeout=5.0, approval=lambda arguments: arguments["amount"] > 100)
def pay(ctx: ToolContext[MyDeps], amount: int) -> bool:
    """Pays."""
    assert_type(ctx, ToolContext[MyDeps])
    assert_type(ctx.deps, MyDeps)
    assert_type(ctx.deps.limit, int)
    assert_type(ctx.identity, MemoryIdentity | None)
    assert_type(ctx.deadline, float | None)
    assert_type(ctx.call_id, str)
    assert_type(ctx.run_id, str)
    ctx.progress("paying", 0.5)
    ctx.progress("paying", "half")  # type: ignore[arg-type]
    return amount < ctx.deps.limit


async def a_tool_is_called_like_its_function(ctx: ToolContext[MyDeps]) -> None:
    assert_type(await look("A-1"), str)
    assert_type(pay(ctx, 5), bool)
    await look(5)  # type: ignore[arg-type]
    pay(ctx)  # type: ignore[call-arg]
    assert_type(look.name, str)
    assert_type(pay.timeout, float | None)


async def a_person_answers_in_the_type_that_was_asked_for() -> None:
    sure: bool = await ask_human("Sure?", answer=bool)
    print(sure)


class ByRole:
    async def tools(self, ctx: RunContext) -> list[Tool[..., Any]]:
        assert_type(ctx.identity, MemoryIdentity | None)
        return [look]


def what_an_agent_takes_as_tools() -> None:
    def plain(n: int) -> int:
        """Doubles."""
        return 2 * n

    toolset: Toolset = ByRole()
    Agent(MockProvider(reply="hi"), tools=[look, pay, plain, toolset, ByRole()])
    Agent(MockProvider(reply="hi"), tools=["look"])  # type: ignore[list-item]


def system(run: RunContext) -> str:
    return f"You help {run.identity}."


def what_an_agent_takes_as_system() -> None:
    async def later(run: RunContext) -> str | None:
        return None

    Agent(MockProvider(reply="hi"), system="Be brief.")
    Agent(MockProvider(reply="hi"), system=system)
    Agent(MockProvider(reply="hi"), system=later)
    Agent(MockProvider(reply="hi"), system=5)  # type: ignore[arg-type]


def a_rule_of_approval(arguments: Mapping[str, Any]) -> str | None:
    return "Really?" if arguments["amount"] > 5 else None


@tool(approval=a_rule_of_approval)
async def refund(amount: int) -> None:
    """Refunds."""
