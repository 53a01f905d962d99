"""What runs during an effect finds the step that calls it, wherever it runs."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

import pytest

from agentfootprint.flow import Flow, Run, Step
from agentfootprint.flow.current import calling


class State(TypedDict, total=False):
    input: str
    out: str


def where() -> str | None:
    now = calling.get()
    return None if now is None else f"{now[0].id} {now[1].name}:{now[1].key}"


async def run_one(fn: Any) -> Run:
    flow: Flow[State] = Flow("one", state=State)

    @flow.step
    async def only(c: Step[State]) -> None:
        c["out"] = str([where(), *(await c.call("outer", fn, c, key="k")), where()])

    run = Run(flow)
    run.begin("go")
    await run.go()
    return run


async def test_an_effect_knows_its_step_and_its_call() -> None:
    async def effect(c: Step[State]) -> list[str | None]:
        return [where()]

    assert (await run_one(effect))["out"] == "[None, 'only#0 outer:k', None]"


async def test_a_task_that_an_effect_starts_knows_it_too() -> None:
    async def look() -> str | None:
        return where()

    async def effect(c: Step[State]) -> list[str | None]:
        return [await asyncio.create_task(look())]

    assert (await run_one(effect))["out"] == "[None, 'only#0 outer:k', None]"


async def test_an_effect_within_an_effect_is_the_inner_one_until_it_ends() -> None:
    async def inner() -> str | None:
        return where()

    async def effect(c: Step[State]) -> list[str | None]:
        return [await c.call("inner", inner), where()]

    assert (await run_one(effect))["out"] == "[None, 'only#0 inner:None', 'only#0 outer:k', None]"


async def test_an_effect_that_fails_leaves_nothing_behind() -> None:
    async def effect(c: Step[State]) -> list[str | None]:
        raise ValueError("no")

    with pytest.raises(Exception, match="no"):
        await run_one(effect)
    assert where() is None


async def test_what_an_effect_left_running_sees_that_its_step_has_ended() -> None:
    seen: list[bool] = []
    ended = asyncio.Event()

    async def later() -> None:
        await ended.wait()
        now = calling.get()
        assert now is not None
        seen.append(now[0].running)

    left: list[asyncio.Task[None]] = []

    async def effect(c: Step[State]) -> list[str | None]:
        left.append(asyncio.create_task(later()))
        seen.append(c.running)
        return []

    await run_one(effect)
    ended.set()
    await left[0]
    assert seen == [True, False]
