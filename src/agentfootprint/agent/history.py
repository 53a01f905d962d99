"""Histories that every vendor accepts: each tool call with exactly one result, each result with its call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..flow import Run, Seq
from ..flow.codec import has_utf8, mended
from ..messages import LLMResponse, Message, Part, Reasoning, Text, ToolCall
from ..tools.arguments import has_odd_numbers, is_odd, too_deep

__all__ = ["Healed", "close_calls", "heal", "settled", "usable"]

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


def usable(response: LLMResponse) -> LLMResponse:
    """The response as it can be recorded, and sent back to any vendor.

    Models do repeat the ids of calls, whose results could then not be told apart: the first keeps
    its id. They do cut characters in half, which have no UTF-8 form, may nest arguments so deep that
    whatever reads them runs out of stack, and write numbers that JSON has not (`NaN`).
    """
    seen: set[str] = set()
    for part in response.parts:
        if type(part) is ToolCall:
            if not part.id or part.id in seen:
                break
            seen.add(part.id)
        if not _sound(part):
            break
    else:
        return response
    ids = [call.id for call in response.tool_calls]
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
        parts.append(part if _sound(part) else _mended(part))
    return LLMResponse(
        parts=parts,
        usage=response.usage,
        stop_reason=response.stop_reason,
        model=response.model,
        request_id=response.request_id,
        provider=response.provider,
    )


def _sound(part: Part) -> bool:
    if type(part) is Text or type(part) is Reasoning:
        return has_utf8(part.text)
    if type(part) is ToolCall:
        if part.raw is None and part.name.isascii() and _plain(part.arguments):
            return True
        return not _unfit(part.arguments) and has_utf8(f"{part.name}{part.raw}{_as_text(part.arguments)}")
    return True


def _unfit(arguments: Mapping[str, Any]) -> bool:
    return too_deep(arguments) or has_odd_numbers(arguments)


def _plain(arguments: Mapping[str, Any]) -> bool:
    """Whether there is nothing to look at twice: most calls have a few short ASCII texts and numbers."""
    for key, value in arguments.items():
        kind = type(value)
        if kind is str:
            if not value.isascii():
                return False
        elif kind is int or kind is float:
            if is_odd(value):
                return False
        elif kind is not bool and value is not None:
            return False
        if not key.isascii():
            return False
    return True


def _mended(part: Part) -> Part:
    if isinstance(part, (Text, Reasoning)):
        return replace(part, text=mended(part.text))
    if isinstance(part, ToolCall):
        text, raw = mended(_as_text(part.arguments)), part.raw
        unfit = _unfit(part.arguments)
        return replace(
            part,
            name=mended(part.name),
            arguments={} if unfit else json.loads(text),
            raw=text if unfit else None if raw is None else mended(raw),
        )
    return part


def _as_text(arguments: Mapping[str, Any]) -> str:
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except (RecursionError, TypeError):
        return "{…}"
    except ValueError:
        return '{"…": Infinity}'  # A whole number that is too long to be written.
