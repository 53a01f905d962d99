"""What a run may be started with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, get_args

from ..errors import InputInvalid
from ..flow.codec import has_utf8
from ..messages import File, Image, Message, Opaque, Part, Role, Text

__all__ = ["Prompt", "asked_message"]

Prompt: TypeAlias = "str | Message | Part | Sequence[str | Part]"
"""What the user says: text, or parts (text, images, files)."""


def asked_message(given: Prompt | None, messages: Sequence[Message] | None) -> Message:
    """What the user says now, as one message."""
    if messages:
        _check_history(messages)
    if given is None:
        if messages and messages[-1].role == "user":
            return messages[-1]
        raise InputInvalid("there is no question: pass input, or messages that end with a user message")
    if isinstance(given, Message):
        if given.role != "user":
            raise InputInvalid(f"the input must be a user message, not one of role {given.role!r}")
        message = given
    else:
        message = Message.user(given)
    for part in message.parts:
        if type(part) not in _SAID:
            raise InputInvalid(
                f"the input holds a {type(part).__name__}: give text, or a list of text, Image and File"
            )
        if type(part) is Text:
            _check_text(part.text)
    if all(type(part) is Text and not part.text.strip() for part in message.parts):
        raise InputInvalid("the input is empty: a run needs something to answer")
    return message


_SAID = frozenset({Text, Image, File, Opaque})
_PARTS = frozenset(get_args(get_args(Part)[0]))  # Part is Annotated[the union, how it decodes]
_ROLES = frozenset(get_args(Role))


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise InputInvalid(f"the input holds a Text of {type(text).__name__}: its text must be a string")
    if not has_utf8(text):
        raise InputInvalid(
            "the input holds half of a character (a lone surrogate), which no model accepts: "
            "text.encode('utf-8', 'replace').decode() replaces it"
        )


def _check_history(messages: Sequence[Message]) -> None:
    if not isinstance(messages, Sequence):
        raise InputInvalid(f"messages must be a list of Message, not {type(messages).__name__}")
    for at, message in enumerate(messages):
        if not isinstance(message, Message):
            raise InputInvalid(f"messages[{at}] is {type(message).__name__}, not a Message")
        if message.role not in _ROLES:
            raise InputInvalid(
                f"messages[{at}] has the role {message.role!r}: there are {', '.join(sorted(_ROLES))}; "
                "instructions belong into Agent(system=...)"
            )
        for part in message.parts:
            if type(part) not in _PARTS:
                raise InputInvalid(
                    f"messages[{at}] holds a {type(part).__name__}: use Message.user('...') and the like"
                )
            if type(part) is Text:
                _check_text(part.text)
