"""A run with something of everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from agentfootprint.flow import Decision, Flow, Run, Seq, Step, decide, ge, rule


@dataclass(frozen=True)
class Item:
    name: str
    price: float = 0


class State(TypedDict):
    input: Any
    items: Seq[Item]
    total: float
    log: Seq[str]
    verdict: str
    approved: Any


def shop() -> Flow[Any]:
    """A fork, a map, a loop, decisions, calls, events and a question: something of everything."""
    flow: Flow[Any] = Flow("shop", state=State)

    @flow.step(to="each")
    async def fill(step: Step[Any]) -> None:
        step.append("items", Item("pen", 2.5))
        step.append("items", Item("book", 10.0))
        step.emit("filled", {"items": 2})

    @flow.map(over="items", to="split")
    async def each(step: Step[Any], item: Item) -> None:
        step.append("log", await step.call("name", lambda name: name.upper(), item.name))

    @flow.fork(branches=["sum", "note"], to="judge")
    def split(step: Step[Any]) -> list[str]:
        return ["sum", "note"]

    @flow.step(to="judge")
    def sum(step: Step[Any]) -> None:  # noqa: A001
        step["total"] = 12.5

    @flow.step(to="judge")
    async def note(step: Step[Any]) -> None:
        step.append("log", "noted")

    @flow.decide(to={"dear": "ask", "cheap": "end"})
    def judge(step: Step[Any]) -> Decision:
        return decide(step, [rule("over ten", "dear", total=ge(10))], "cheap")

    @flow.step(to="end")
    async def ask(step: Step[Any]) -> None:
        step["approved"] = await step.ask("pay?", arguments={"total": step["total"]})

    @flow.step
    def end(step: Step[Any]) -> None:
        step["verdict"] = f"{step['log'][-1]}: {step.get('approved')}"

    return flow


async def bought(**options: Any) -> Run:
    return await shop().start({"who": "Ada"}, answers={"ask#0?0": True}, **options)


RESERVED = ["blob", "redacted", "step", "end", "footprint", "items", "value", "writes", "copy", "of", "opens"]
