"""Flows that fork."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from agentfootprint.flow import Flow, Reduce, Seq, Step


class Joined(TypedDict):
    x: int
    base: int
    total: Annotated[int, Reduce(operator.add)]
    order: Annotated[str, Reduce(operator.add)]
    log: Seq[str]
    sorted: Annotated[Seq[int], Reduce(lambda left, right: Seq(sorted([*left, *right], reverse=True)))]


def forking(
    branches: dict[str, Any],
    *,
    before: Any = None,
    choose: Any = None,
    optional: Sequence[str] = (),
    state: type | None = Joined,
) -> Flow[Any]:
    """before → fork of these functions → after."""
    flow: Flow[Any] = Flow("forking", state=state)
    flow.step(to="split", name="before")(before or (lambda step: None))
    flow.fork(branches=list(branches), to="after", optional=optional, name="split")(
        choose or (lambda step: None)
    )
    for name, function in branches.items():
        flow.step(to="after", name=name)(function)

    @flow.step
    def after(step: Step[Any]) -> None:
        for key in ("x", "total", "order", "log", "sorted"):
            step.get(key)

    return flow


def writes(key: str, value: Any, *, slow: int = 0) -> Any:
    async def branch(step: Step[Any]) -> None:
        for _ in range(slow):
            await asyncio.sleep(0)
        step[key] = value

    return branch


def appends(*items: str, slow: int = 0) -> Any:
    async def branch(step: Step[Any]) -> None:
        for item in items:
            for _ in range(slow):
                await asyncio.sleep(0)
            step.append("log", item)

    return branch
