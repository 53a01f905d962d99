"""Histories that every vendor accepts: each tool call with exactly one result, each result with its call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..flow import Run, Seq
from ..messages import LLMResponse, Message, ToolCall
from ..tools.arguments import too_deep

__all__ = ["Healed", "close_calls", "heal", "settled", "unique_calls"]

NOT_RUN = "This call was not run: the turn ended before it."


class Healed:
    """A whole history, and what it took: results that were `added`, messages that were `dropped`."""

    __slots__ = ("added", "dropped", "messages")

    def __init__(self, messages: list[Message], added: int, dropped: int) -> None:
        self.messages = messages
        self.added = added
        self.dropped = dropped


def heal(messages: Sequence[Message]) -> Healed:
    """Makes a history whole.

    A call without a result gets one that says it was not run; a result without a call, a second
    result of one call, and messages without content are dropped; results stand right behind the
    message that asked, in the order asked.
    """
    out: list[Message] = []
    added = dropped = index = 0
    while index < len(messages):
        message = messages[index]
        index += 1
        if message.role == "tool" or not message.parts:
            dropped += 1
            continue
        out.append(message)
        calls = message.tool_calls if message.role == "assistant" else ()
        if not calls:
            continue
        results: list[Message | None] = [None] * len(calls)
        while index < len(messages) and messages[index].role == "tool":
            result = messages[index]
            index += 1
            # Of calls that share an id, which models do send, the first without a result is meant.
            places = (n for n, call in enumerate(calls) if call.id == result.call_id and results[n] is None)
            place = next(places, None)
            if place is not None and result.parts:
                results[place] = result
            else:
                dropped += 1
        for call, found in zip(calls, results, strict=True):
            if found is None:
                added += 1
                found = Message.tool(call.id, call.name, NOT_RUN, is_error=True)
            out.append(found)
    return Healed(out, added, dropped)


def close_calls(calls: Sequence[ToolCall], text: str) -> list[Message]:
    """One result for each call that will not run."""
    return [Message.tool(call.id, call.name, text, is_error=True) for call in calls]


def settled(run: Run, earlier: Sequence[Message]) -> list[Message]:
    """The messages of a turn that was cut off, each call with one result.

    Results of calls that ended before the cut are kept, also when their siblings were still running.
    """
    history: Seq[Message] = run["history"]
    new = list(history[len(heal(earlier).messages) :])
    if new and (calls := new[-1].tool_calls):
        children = run.root.children or ()
        for call, child in zip(calls, children, strict=False):
            if child.done:
                new += child.state["history"].value[len(history) :]
            elif child.open is not None:
                new += close_calls([call], _CUT)
    return heal(new).messages


_CUT = "This call was cut off while it ran: whether it took effect is not known."


def _as_text(arguments: Mapping[str, Any]) -> str:
    try:
        return json.dumps(arguments)
    except (RecursionError, TypeError, ValueError):
        return "{…}"


def unique_calls(response: LLMResponse) -> LLMResponse:
    """The response with call ids that are present and different from each other, and with arguments
    that can be recorded.

    Models do repeat ids; results could then not be told apart. The first keeps its id.
    """
    calls = response.tool_calls
    ids = [call.id for call in calls]
    if "" not in ids and len(set(ids)) == len(ids) and not any(too_deep(call.arguments) for call in calls):
        return response
    taken: set[str] = set()
    parts = []
    for part in response.parts:
        if isinstance(part, ToolCall):
            base = name = part.id or "call"
            nth = 1
            while name in taken or (nth > 1 and name in ids):
                nth += 1
                name = f"{base}-{nth}"
            taken.add(name)
            part = replace(part, id=name)
            if too_deep(part.arguments):
                part = replace(part, arguments={}, raw=_as_text(part.arguments))
        parts.append(part)
    return LLMResponse(
        parts=parts,
        usage=response.usage,
        stop_reason=response.stop_reason,
        model=response.model,
        request_id=response.request_id,
    )
