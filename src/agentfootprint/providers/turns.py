"""Conversations as turns of two speakers, for APIs where the results of tools are the user's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..messages import Message, Part

__all__ = ["CallIds", "turns"]

_FITS = re.compile(r"[a-zA-Z0-9_-]+")


def turns(
    messages: Sequence[Message],
    block: Callable[[Part], dict[str, Any] | None],
    result: Callable[[Message], dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """The turns, each a role and its content: what one speaker says in several messages is one turn of many
    blocks. `block` makes one of a part, or None where only another vendor could read it; `result` makes one
    of a tool's message."""
    role, blocks = "", list[dict[str, Any]]()
    for message in messages:
        if message.role == "tool":
            found = [result(message)]
        else:
            found = [made for part in message.parts if (made := block(part)) is not None]
        if not found:
            continue
        speaker = "assistant" if message.role == "assistant" else "user"
        if speaker != role:
            if blocks:
                yield {"role": role, "content": blocks}
            role, blocks = speaker, []
        blocks += found
    if blocks:
        yield {"role": role, "content": blocks}


class CallIds:
    """The ids of calls in one conversation.

    These APIs want ids that are unique in the whole conversation and made of few characters, which those of
    other models need not be. An id that does not fit becomes one that does, by the order of the messages
    alone, so that it stays the same from turn to turn.
    """

    __slots__ = ("_given", "_seen")

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._given: dict[str | None, str] = {}

    def of_call(self, given: str) -> str:
        base = name = _fit(given)
        nth = 1
        while name in self._seen:
            nth += 1
            name = f"{base}-{nth}"
        self._seen.add(name)
        self._given[given] = name
        return name

    def of_result(self, given: str | None) -> str:
        return self._given.get(given) or _fit(given or "")


def _fit(given: str) -> str:
    return given if _FITS.fullmatch(given) else re.sub(r"[^a-zA-Z0-9_-]", "_", given) or "call"
