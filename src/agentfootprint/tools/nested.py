"""Runs within a tool's call: of an agent, of a flow. Their pauses are the call's, their record is in its."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from ..errors import (
    AgentFootprintError,
    ConfigurationError,
    PermissionHalted,
    QuestionExpired,
    ToolError,
)
from ..flow import Ask, Flow, Run
from ..flow.codec import decode, dumps, encode
from ..flow.nested import CUT, NESTED, Nested
from ..flow.snapshot import restore
from .context import EXPIRED, ToolContext, no_tool
from .tool import Tool, make_tool

__all__ = ["Keep", "Within", "ended", "flow_tool", "run_within", "value_of"]

ASKED = "nested"
"""The kind of the questions that a run within a call asks."""

Keep = Callable[[Nested], None]
"""Takes how far a run has come, before what breaks it off is raised."""


class Within(Protocol):
    """Something that can be run within a call, and go on."""

    async def start(self, given: Any, keep: Keep) -> Nested:
        """Runs it to its end, or to where it waits."""
        ...

    async def go_on(self, found: Nested, answers: Sequence[Any], by: str | None, keep: Keep) -> Nested:
        """Goes on from where it waits. The answers are to `found.told["asks"]`, in their order."""
        ...


async def run_within(ctx: ToolContext[Any], work: Within, given: Any) -> Nested:
    """Runs something within the call of a tool. Where it asks a person, the call's run pauses; when that goes
    on, in this process or another, what ran within goes on from where it waited."""
    while ctx.step.was_called(CUT):
        # What an earlier try did before it was cut off stays in the record.
        ctx.step.call_now(CUT, dict, within=ctx.own_call)
    found = await _recorded(ctx, "start", work.start, given)
    turns = 0
    while found.waits is not None:
        asks = decode(list[Ask], found.told["asks"])
        answers, by = ctx.step.ask_all(asks, kind=ASKED, labels=found.labels_of_asks)
        turns += 1
        waited, before = ctx.step.calls[-1], found
        go_on = partial(_gone_on, work, found, by)
        found = await _recorded(ctx, f"resume-{turns}", go_on, answers)
        waited.result = before.gone_on()
    return found


async def _gone_on(work: Within, found: Nested, by: str | None, answers: Any, keep: Keep) -> Nested:
    return await work.go_on(found, answers, by, keep)


async def _recorded(
    ctx: ToolContext[Any], key: str, work: Callable[[Any, Keep], Awaitable[Nested]], given: Any
) -> Nested:
    kept: list[Nested] = []

    async def run(given: Any) -> Nested:
        with no_tool():  # A question of its steps is theirs to ask.
            return await work(given, kept.append)

    try:
        return Nested.of(await ctx.call(NESTED, run, given, key=key))
    except BaseException:
        if kept and ctx.step.running:
            # What it did, and what it cost, is part of the record all the same.
            ctx.step.call_now(CUT, lambda: kept[-1], within=ctx.own_call)
        raise


async def ended(
    going: Awaitable[Any], nested: Callable[[BaseException | None], Nested], keep: Keep
) -> Nested:
    """What has become of a run. What it fails with is told in its record, unless it ends what is around it
    too: a cancellation, a halt."""
    try:
        await going
    except (asyncio.CancelledError, PermissionHalted) as error:
        keep(nested(error))
        raise
    except (Exception, SystemExit) as error:
        return nested(error)
    return nested(None)


def failure(error: BaseException | None) -> list[str] | None:
    """An error as a nested run's record has it: its code and its text."""
    if error is None:
        return None
    code = error.code if isinstance(error, AgentFootprintError) else type(error).__name__
    return [code, str(error)]


def value_of(ctx: ToolContext[Any], found: Nested) -> Any:
    """What a run within the call came to, with the labels that it has there.

    Raises:
        ToolError: it failed, or came to nothing.
    """
    told = found.told
    if (failed := told.get("error")) is not None:
        raise ToolError(f"{told['name']} failed with {failed[0]}: {failed[1]}")
    key = told["output"]
    version = found.footprint.version(key) if key is not None and key in found.footprint.state else None
    if version is None or version.value is None:
        reason = told.get("reason")
        raise ToolError(
            f"{told['name']} gave no answer" + (f": it was stopped by {reason}." if reason else ".")
        )
    ctx.step.takes_labels(version.labels)
    return version.value


# ── flows ───────────────────────────────────────────────────────────────────────────────────────


class _FlowWithin:
    """A flow within a call."""

    def __init__(self, flow: Flow[Any], ctx: ToolContext[Any], output: str, deps: Any) -> None:
        self._flow = flow
        self._ctx = ctx
        self._output = output
        self._deps = deps

    async def start(self, given: Any, keep: Keep) -> Nested:
        run = Run(self._flow, deps=self._deps)
        run.begin(given)
        return await self._walked(run, keep)

    async def go_on(self, found: Nested, answers: Sequence[Any], by: str | None, keep: Keep) -> Nested:
        assert found.waits is not None
        asks = decode(list[Ask], found.told["asks"])
        for ask, answer in zip(asks, answers, strict=True):
            if answer == EXPIRED:  # Its steps know no question without an answer.
                raise QuestionExpired(
                    f"{self._flow.name} asked {ask.question!r}, and nobody answered in time."
                )
        given = {ask.id: answer for ask, answer in zip(asks, answers, strict=True)}
        run = restore(self._flow, json.loads(found.waits), answers=given, deps=self._deps)
        run.answered_by(given, by)
        return await self._walked(run, keep)

    async def _walked(self, run: Run, keep: Keep) -> Nested:
        run.deadline = self._ctx.deadline

        def nested(error: BaseException | None) -> Nested:
            told: dict[str, Any] = {"kind": "flow", "name": self._flow.name, "output": self._output}
            if error is not None:
                told["error"] = failure(error)
            waits = None
            if run.status == "paused":
                told["asks"] = encode([record.ask for record in run.asks])
                waits = dumps(run.snapshot())
            return Nested(run.footprint, told, waits)

        return await ended(run.go(), nested, keep)


def flow_tool(
    flow: Flow[Any],
    *,
    name: str | None,
    description: str | None,
    input: Any,  # noqa: A002 - the word of the flow
    output: str,
    deps: Callable[[ToolContext[Any]], Any] | None,
    **options: Any,
) -> Tool[..., Any]:
    """What `Flow.as_tool` does."""
    types = flow.chart.types
    described = flow.doc if description is None else description
    if not described:
        raise ConfigurationError(
            f"flow {flow.name!r} as a tool needs description=: what it does, for the model that may call it"
        )
    if types and output not in types:
        raise ConfigurationError(
            f"flow {flow.name!r} does not declare {output!r}: name the key that holds its result, "
            f"output=...; there is: {', '.join(types)}"
        )

    async def run_flow(ctx: ToolContext[Any], input: Any) -> Any:  # noqa: A002
        given = ctx.deps if deps is None else deps(ctx)
        return value_of(ctx, await run_within(ctx, _FlowWithin(flow, ctx, output, given), input))

    run_flow.__annotations__["input"] = types.get("input", str) if input is None else input
    return make_tool(run_flow, name=name or flow.name, description=described, **options)
