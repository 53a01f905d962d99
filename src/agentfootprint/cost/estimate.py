"""How many tokens a request's input will measure, before anybody counted them."""

from __future__ import annotations

import json

from ..flow.codec import encode
from ..messages import File, Image, LLMRequest, Message, Part, Text, ToolCall, Usage

__all__ = ["InputEstimate", "tokens_of_text"]

MESSAGE = 8
"""Tokens around each message and tool."""

MEDIA = 3000
"""Tokens of an image or of one page, generously: vendors resize images to about half of that."""

PAGE_SIZE = 20_000
"""Characters of a document's base64 that are taken for a page."""


def tokens_of_text(text: str) -> int:
    """A high estimate: one token for three bytes of UTF-8. English measures one for four or five, and
    scripts with three bytes a character about one for each."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return (size + 2) // 3


class InputEstimate:
    """The estimates of one run: each counts only the messages that are new, on top of what the vendor
    measured for those before."""

    __slots__ = ("_known", "_last", "_tokens")

    def __init__(self) -> None:
        self._known = 0
        self._last: Message | None = None
        self._tokens = 0

    def of(self, request: LLMRequest) -> int:
        messages = request.messages
        # A turn that its vendor broke off comes back as one message with its end: that is a new one.
        if not self._known or len(messages) < self._known or messages[self._known - 1] is not self._last:
            self._known, self._tokens = 0, _standing(request)
        for at in range(self._known, len(messages)):
            self._last = messages[at]
            self._tokens += _of_message(self._last)
        self._known = len(messages)
        return self._tokens

    def correct(self, usage: Usage) -> None:
        """What the request that was just estimated really measured, if the vendor said so."""
        if usage.input_tokens and not usage.unreported:
            self._tokens = usage.input_tokens


def _standing(request: LLMRequest) -> int:
    total = tokens_of_text(request.system or "")
    if request.output_schema is not None:
        total += tokens_of_text(json.dumps(request.output_schema, default=str))
    for tool in request.tools:
        total += MESSAGE + tokens_of_text(tool.name) + tokens_of_text(tool.description)
        total += tokens_of_text(json.dumps(tool.schema, default=str))
    return total


def _of_message(message: Message) -> int:
    return MESSAGE + sum(_of_part(part) for part in message.parts)


def _of_part(part: Part) -> int:
    if isinstance(part, Text):
        return tokens_of_text(part.text)
    if isinstance(part, ToolCall):
        arguments = part.raw if part.raw is not None else json.dumps(part.arguments, default=str)
        return MESSAGE + tokens_of_text(part.name) + tokens_of_text(arguments)
    if isinstance(part, Image):
        return MEDIA
    if isinstance(part, File):
        return MEDIA * (1 + len(part.data or "") // PAGE_SIZE)
    return tokens_of_text(json.dumps(encode(part)))
