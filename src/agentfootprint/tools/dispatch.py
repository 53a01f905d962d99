"""From a model's tool call to the one message that answers it, whatever happens on the way."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import AgentFootprintError, PermissionHalted, ToolError
from ..events import ToolOutcome
from ..flow.journal import UNANSWERED
from ..messages import Message, ToolCall
from .arguments import ArgumentsInvalid, fresh
from .context import EXPIRED, ToolContext, _current
from .result import MAX_RESULT_CHARS, render
from .tool import Tool

if TYPE_CHECKING:
    from ..flow.step import Step
    from ..identity import MemoryIdentity

__all__ = [
    "APPROVAL_SCHEMA",
    "PERMISSION",
    "Dispatched",
    "Dispatcher",
    "Permit",
    "Permitted",
    "permission_key",
]

APPROVAL_SCHEMA: Mapping[str, Any] = {
    "anyOf": [
        {"type": "boolean"},
        {
            "type": "object",
            "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
            "required": ["approved"],
            "additionalProperties": False,
        },
    ]
}
"""What answers an approval: true, false, or an object with `approved` and perhaps a `reason`."""


@dataclass(frozen=True, slots=True)
class Permitted:
    """What permissions say of a call: the words of a denial, or the question to a person, and for how many
    seconds it stands; neither when it may run."""

    denied: str | None = None
    question: str | None = None
    expires_in: float | None = None


Permit = Callable[[Any, Tool[..., Any], ToolCall, Mapping[str, Any], str], Awaitable[Permitted]]
"""Decides in a step about a call of a tool with bound arguments; at last, after what it is asked again: `""`
at first, `"approved"`, `"answered-1"` when the tool itself had asked a person, or `"resumed-1"` when the run
had broken off. What it decides it records as `PERMISSION`, under `permission_key`."""

PERMISSION = "permission"


def permission_key(call: ToolCall, again: str) -> str:
    return f"{call.id}:{again}" if again else call.id


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The answer to a call and how it came about."""

    message: Message
    outcome: ToolOutcome = "ok"


class Dispatcher:
    """Runs the tool calls of a run. Every call gets exactly one message, also when it is refused.

    Args:
        tools: by name, as the model was shown them.
        timeout: seconds a call may take unless its tool says otherwise; None: no limit.
        identity, deps: what tools get as their context.
        permit: decides about each call; None permits all.
        menu: the tools that the model was shown; all, unless given. It is not told of others.
    """

    __slots__ = ("_deps", "_identity", "_menu", "_permit", "_timeout", "_tools")

    def __init__(
        self,
        tools: Mapping[str, Tool[..., Any]],
        *,
        timeout: float | None = None,
        identity: MemoryIdentity | None = None,
        deps: Any = None,
        permit: Permit | None = None,
        menu: Sequence[Tool[..., Any]] | None = None,
    ) -> None:
        self._menu = menu
        self._permit = permit
        self._tools = tools
        self._timeout = timeout
        self._identity = identity
        self._deps = deps

    @property
    def tools(self) -> Iterable[Tool[..., Any]]:
        """All that may be called, also those that are not on the menu."""
        return self._tools.values()

    def get(self, name: str) -> Tool[..., Any] | None:
        return self._tools.get(name)

    def idempotent(self, name: str) -> bool:
        """Whether a call whose outcome is unknown may be made again."""
        tool = self._tools.get(name)
        return tool is not None and tool.idempotent

    async def dispatch(self, step: Step[Any], call: ToolCall) -> Dispatched:
        """The one way from a call to its result: checked, approved, run, and told as text."""
        tool = self._tools.get(call.name)
        if tool is None:
            return _refused(call, "unknown_tool", self._unknown(call.name))
        hidden = self._menu is not None and tool not in self._menu
        unfit: Dispatched | None = None
        try:
            arguments = tool.bind(call.arguments, call.raw)
        except ArgumentsInvalid as error:
            unfit = _refused(call, "invalid_arguments", str(error))
            if not hidden:
                return unfit
            # Of a tool that it was not shown the model does not learn what it takes.
            unfit = _refused(call, "unknown_tool", self._unknown(call.name))
            arguments = dict(call.arguments)
        permitted, stale = _PERMITTED, False
        if self._permit is not None:
            stale = step.was_called(PERMISSION, permission_key(call, ""))
            permitted = await self._permit(step, tool, call, arguments, "")
            if permitted.denied is not None:
                return _refused(call, "denied", permitted.denied)
        if unfit is not None:
            return unfit
        try:
            wanted = _wanted(step, tool, call, permitted)
        except Exception as error:
            # Whether a person must agree is not known, so it does not run.
            text = f"{call.name} was not run: its approval rule failed with {type(error).__name__}."
            return _refused(call, "error", text)
        if wanted is not None and (declined := _approval(step, call, *wanted)) is not None:
            return _refused(call, "denied", declined)
        refusal = await self._still(step, tool, call, arguments, wanted is not None, stale)
        if refusal is not None:
            step.take_over(f"{call.name}:{call.id}")  # What it did before it asked stays in the record.
            return _refused(call, "denied", refusal)
        given = _handed(step)
        if given is not UNANSWERED:
            # `pause_here` ended the call: what the person said is its result, nothing runs again.
            step.take_over(f"{call.name}:{call.id}")
            if given == EXPIRED:
                text = f"{call.name} waited for a person, and nobody answered in time."
                return _refused(call, "error", text)
            return Dispatched(_message(call, _told(tool, given)))

        def invoke(given: Mapping[str, Any]) -> Dispatched | Awaitable[Dispatched]:
            if step.was_cut(call.name, call.id) and not tool.idempotent:
                return _refused(call, "error", _CUT.format(tool=call.name))
            return self._invoke(step, tool, call, arguments)

        # Recorded with the arguments as the model sent them: those are what was approved.
        done: Dispatched = await step.call(call.name, invoke, call.arguments, key=call.id, returns=Dispatched)
        return done

    async def _still(
        self,
        step: Step[Any],
        tool: Tool[..., Any],
        call: ToolCall,
        arguments: dict[str, Any],
        approved: bool,
        stale: bool,
    ) -> str | None:
        """The words of a denial when a call is not permitted any more: days may lie between a question, to
        approve it or of the tool itself, and its answer, or since the run broke off. `stale` when the first
        verdict is from before."""
        if self._permit is None:
            return None
        answered = sum(r.kind in ("ask", "nested") and r.answer is not UNANSWERED for r in step.asks)
        whens = [*(["approved"] if approved else []), *(f"answered-{n}" for n in range(1, answered + 1))]
        resumed = 0
        while True:
            if whens:
                when = whens.pop(0)
            else:
                resumed += 1
                when = f"resumed-{resumed}"
                again = stale and not step.run.replaying and self._will_run(step, tool, call)
                if not again and not step.was_called(PERMISSION, permission_key(call, when)):
                    return None
            stale = step.was_called(PERMISSION, permission_key(call, when))
            still = await self._permit(step, tool, call, arguments, when)
            refusal = still.denied
            if refusal is None and still.question is not None and not approved:
                refusal = f"{call.name} was not run to its end: meanwhile it needs approval. Call it again."
            if refusal is not None:
                return f"{_CUT.format(tool=call.name)} {refusal}" if _told_of_cut(step, call) else refusal

    def _will_run(self, step: Step[Any], tool: Tool[..., Any], call: ToolCall) -> bool:
        """Whether the tool is about to run: nothing answers for it yet, and no harm is done by it."""
        return (
            _handed(step) is UNANSWERED
            and not step.was_called(call.name, call.id)
            and (tool.idempotent or not step.was_cut(call.name, call.id))
        )

    async def _invoke(
        self, step: Step[Any], tool: Tool[..., Any], call: ToolCall, arguments: dict[str, Any]
    ) -> Dispatched:
        context = ToolContext(step, tool.name, call.id, call.arguments, self._identity, self._deps)
        token = _current.set(context)
        timeout = tool.timeout if tool.timeout is not None else self._timeout
        limit = None
        try:
            if timeout is None:
                value = await tool.invoke(arguments, context)
            else:
                async with asyncio.timeout(timeout) as limit:
                    value = await tool.invoke(arguments, context)
            done = Dispatched(_message(call, _told(tool, value)))
        except TimeoutError as error:
            if limit is not None and limit.expired():
                done = _refused(
                    call, "timeout", f"{call.name} was stopped: it took longer than {timeout:g} s."
                )
            else:
                done = _refused(call, "error", _failure(tool, error))
        except asyncio.CancelledError as error:
            # The run's own cancellation, or one that the tool caught elsewhere and let out.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            done = _refused(call, "error", _failure(tool, error))
        except PermissionHalted:
            raise  # In a run within: what must not go on does not go on here either.
        except (Exception, SystemExit) as error:
            done = _refused(call, "error", _failure(tool, error))
        finally:
            _current.reset(token)
        if (swallowed := step.swallowed) is not None:
            # Not the tool's to answer for, and no result to be kept.
            raise swallowed
        return done

    def _unknown(self, name: str) -> str:
        known = list(self._tools) if self._menu is None else [tool.name for tool in self._menu]
        if not known:
            return f"There is no tool named {name!r}: no tools are available. Answer without them."
        close = difflib.get_close_matches(name, known, 3, 0.5)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        return f"There is no tool named {name!r}.{hint} Available: {', '.join(known)}."


_PERMITTED = Permitted()
_CUT = "{tool} was cut off before it ended: whether it took effect is not known."


def _told_of_cut(step: Step[Any], call: ToolCall) -> bool:
    """Whether a call was cut off, written down: a replay could not see it."""
    if not (step.was_cut(call.name, call.id) or step.was_called("cut off")):
        return False
    return step.call_now("cut off", lambda: True)


def _handed(step: Step[Any]) -> Any:
    """What a person answered in place of a tool (`pause_here`)."""
    return next((record.answer for record in step.asks if record.kind == "result"), UNANSWERED)


def _wanted(
    step: Step[Any], tool: Tool[..., Any], call: ToolCall, permitted: Permitted
) -> tuple[str, float | None] | None:
    """The question to ask before the call runs, and when its time is over; None when nobody needs to be
    asked."""
    asked = next((record for record in step.asks if record.kind == "approval"), None)
    if asked is not None:
        # What was asked stands, whatever the tool would ask now.
        if asked.ask.expires_at is not None:
            step.call_now(_ASKED, time.time)
        return asked.ask.question, asked.ask.expires_at
    wanted = tool.approval
    if callable(wanted):
        wanted = wanted(fresh(call.arguments))
    # Only what says no is no: a question whose words came out empty is one all the same.
    if wanted is None or wanted is False:
        question, seconds = permitted.question, [permitted.expires_in]
    else:
        question = wanted if isinstance(wanted, str) and wanted else f"Approve {call.name}?"
        seconds = [permitted.expires_in, tool.approval_expires_in]
    if question is None:
        return None
    shortest = min((each for each in seconds if each is not None), default=None)
    return question, None if shortest is None else step.call_now(_ASKED, time.time) + shortest


_ASKED = "asked"
"""The recorded clock that an approval's time counts from."""


def _approval(step: Step[Any], call: ToolCall, question: str, expires_at: float | None) -> str | None:
    """Asks for approval; the text of a denial, or None when the call may run."""
    answer = step.ask_now(
        question,
        kind="approval",
        tool=call.name,
        arguments=call.arguments,
        schema=APPROVAL_SCHEMA,
        expires_at=expires_at,
    )
    if answer == EXPIRED:
        return f"{call.name} was not run: a person had to approve it, and nobody answered in time."
    approved = answer.get("approved") if isinstance(answer, Mapping) else answer
    if approved is True:
        return None
    reason = answer.get("reason") if isinstance(answer, Mapping) else None
    return f"A person declined this call to {call.name}" + (f": {reason}" if reason else ".")


def _refused(call: ToolCall, outcome: ToolOutcome, text: str) -> Dispatched:
    return Dispatched(Message.tool(call.id, call.name, text, is_error=True), outcome)


def _message(call: ToolCall, content: Any) -> Message:
    return Message.tool(call.id, call.name, content)


def _told(tool: Tool[..., Any], value: Any) -> Any:
    limit = tool.max_result_chars
    return render(value, MAX_RESULT_CHARS if limit is None else limit, tool=tool.name)


def _failure(tool: Tool[..., Any], error: BaseException) -> str:
    if isinstance(error, ToolError):
        return str(error)
    text = " ".join(str(error).split())
    kind = error.code if isinstance(error, AgentFootprintError) else type(error).__name__
    return f"{tool.name} failed with {kind}" + (f": {text[:500]}" if text else ".")
