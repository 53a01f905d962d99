"""Questions that a server asks a person during a call: the run pauses, and the answer goes to the server.

A server of the revision of 2026 answers a call with its questions, and is called again with the answers: at
any time, from any process. An older one keeps the call open while it waits, so that the answer has to come
soon, and to the process that made the call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeAlias

from ...errors import ToolError
from ..context import ToolContext
from ..foreign import SchemaInvalid, checked_by
from .session import Answer, InputNeeded

__all__ = ["Asking", "answered"]

MAX_ROUNDS = 10
RECORDED = "mcp_input"

_log = logging.getLogger("agentfootprint.tools.mcp")

Calls: TypeAlias = Callable[[Mapping[str, Any] | None, str | None], Coroutine[Any, Any, Answer | InputNeeded]]
"""Calls the tool, the first time with None, then with answers and what the server wants to see again."""


async def answered(ctx: ToolContext[Any], asking: Asking, server: str, calls: Calls) -> Answer:
    """What a tool answers in the end, after a person answered what its server wanted to know.

    Raises:
        ToolError: there is no end, or the server waits no more.
    """
    answers: Mapping[str, Any] | None = None
    state: str | None = None
    waits = False
    for at in range(1, MAX_ROUNDS + 1):
        key = str(at)
        if ctx.was_called(RECORDED, key):
            # The run paused here. What was asked stands in the record; the call is not made again.
            needed = await ctx.call(RECORDED, _recorded, key=key)
        else:
            result = await asking.watched(ctx, partial(calls, answers, state), waits)
            if isinstance(result, Answer):
                return result
            needed = await ctx.call(RECORDED, partial(_as_json, result), key=key)
        answers = {each: _ask(ctx, server, question) for each, question in needed["questions"].items()}
        state = needed["state"]
        waits = _LIVE in answers
        if waits:
            asking.answer(ctx, answers[_LIVE])
            answers = None
        elif not answers:
            answers = None
            await asyncio.sleep(min(0.05 * at, 0.25))
    raise ToolError(f"{ctx.tool} has no result: its server goes on asking.")


def _as_json(needed: InputNeeded) -> Any:
    return {"questions": needed.questions, "state": needed.state}


def _recorded() -> Any:
    raise AssertionError("the record answers")


def _ask(ctx: ToolContext[Any], server: str, question: Mapping[str, Any]) -> Mapping[str, Any]:
    """Pauses the run, or gives the answer as the server reads it."""
    data: dict[str, Any] = {"server": server}
    defaults: Mapping[str, Any] = {}
    if "url" in question:
        data["url"] = question["url"]
        schema: Mapping[str, Any] = {"type": "boolean"}
    else:
        data["form"] = form = question["requestedSchema"]
        try:
            checked_by(form)
        except SchemaInvalid as error:
            # No answer would fit it; and what it points to is fetched by nobody.
            _log.warning("MCP server %s asks with a form of no use: %s", server, error)
            return {"action": "cancel"}
        fields = form.get("properties", {})
        defaults = {
            name: field["default"]
            for name, field in fields.items()
            if isinstance(field, Mapping) and "default" in field
        }
        required = [name for name in form.get("required", ()) if name not in defaults]
        schema = {"anyOf": [{**form, "required": required}, {"const": False}]}
    given = ctx.ask(f"{server} asks: {question['message']}", data=data, schema=schema)
    if given is False:
        return {"action": "decline"}
    return {"action": "accept"} if given is True else {"action": "accept", "content": {**defaults, **given}}


_LIVE = "live"
"""Stands for a question of a call that is kept open."""


class _Open:
    """A call that may be asked something while it is open."""

    def __init__(self, call: Coroutine[Any, Any, Answer | InputNeeded]) -> None:
        self.call = asyncio.ensure_future(call)
        self.question: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self.answer: asyncio.Future[Mapping[str, Any]] | None = None
        self.asked = False


class Asking:
    """The open calls of one session with an older server.

    Args:
        timeout: seconds that an answer may take.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._open: dict[tuple[str, str], _Open] = {}

    async def watched(
        self,
        ctx: ToolContext[Any],
        call: Callable[[], Coroutine[Any, Any, Answer | InputNeeded]],
        waits: bool,
    ) -> Answer | InputNeeded:
        """The call's result, or the question that it is open for. `waits`: it was open when the run paused.

        Raises:
            ToolError: it is open no more.
        """
        key = (ctx.run_id, ctx.call_id)
        opened = self._open.get(key)
        if opened is None:
            if waits:
                raise ToolError(
                    f"{ctx.tool} was cut off: its server no longer waited for the answer, and whether it "
                    "took effect is not known. Find out before it is called again."
                )
            opened = self._open[key] = _Open(call())
            opened.call.add_done_callback(partial(self._ended, key, opened))
        try:
            either: set[asyncio.Future[Any]] = {opened.call, opened.question}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            opened.call.cancel()
            await asyncio.wait({opened.call}, timeout=1.0)
            raise
        if opened.call.done():
            self._open.pop(key, None)
            return opened.call.result()
        question, opened.question = opened.question.result(), asyncio.get_running_loop().create_future()
        return InputNeeded({_LIVE: question}, None)

    def answer(self, ctx: ToolContext[Any], given: Mapping[str, Any]) -> None:
        """Hands an answer to the call that is open for it, if it still is."""
        opened = self._open.get((ctx.run_id, ctx.call_id))
        if opened is not None and opened.answer is not None and not opened.answer.done():
            opened.answer.set_result(given)

    async def asked(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a server is told that asks during a call: the answer of a person, or that there is none."""
        running = [each for each in self._open.values() if not each.call.done()]
        if len(running) != 1 or running[0].question.done() or running[0].answer is not None:
            # It does not say during which call it asks.
            _log.warning("an MCP server asked a question while %d calls were open: refused", len(running))
            return {"action": "cancel"}
        [opened] = running
        opened.asked = True
        opened.answer = asyncio.get_running_loop().create_future()
        opened.question.set_result(question)
        try:
            async with asyncio.timeout(self._timeout):
                return await opened.answer
        except TimeoutError:
            return {"action": "cancel"}
        finally:
            opened.answer = None

    def _ended(self, key: tuple[str, str], opened: _Open, task: asyncio.Future[Any]) -> None:
        if not task.cancelled():
            task.exception()  # The run may have been left alone.
        # What came of a call is kept for a while for a run that paused during it.
        asyncio.get_running_loop().call_later(self._timeout if opened.asked else 0, self._forget, key, opened)

    def _forget(self, key: tuple[str, str], opened: _Open) -> None:
        if self._open.get(key) is opened:
            del self._open[key]
