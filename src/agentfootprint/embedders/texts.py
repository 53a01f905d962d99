"""Texts on their way to a model: what can be embedded, what is too long, and how pieces become one vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ..errors import ConfigurationError, ContextWindowExceeded, InputInvalid
from .base import Embedding, Purpose

__all__ = ["Limits", "TooLong", "average", "check_too_long", "checked", "refusal", "split"]

TooLong: TypeAlias = Literal["refuse", "split"]
"""What is done with a text over the model's limit: `ContextWindowExceeded`, or its pieces are embedded and
their average, weighted by length and of length 1, stands for it."""

# Where a text is cut, the best first; the mark stays with what is before it.
_MARKS = ("\n\n", "\n", ". ", "? ", "! ", "。", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a vendor takes: texts and tokens of one request, tokens and characters of one text."""

    texts: int
    tokens: int | None = None
    tokens_each: int
    characters_each: int | None = None

    def fits(self, text: str) -> bool:
        """Whether a text is within the limits, by the estimate of its tokens."""
        return self.short(text) and estimated_tokens(text) <= self.tokens_each

    def short(self, text: str) -> bool:
        """Whether a text is within the limit of characters, which is exact."""
        return self.characters_each is None or len(text) <= self.characters_each

    def batches(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        """The texts in requests that the vendor takes, in order. No token is shorter than a byte, so that no
        request has too many, whatever is in it."""
        batch: list[str] = []
        held = 0
        for text in texts:
            tokens = min(len(text.encode("utf-8", "surrogatepass")), self.tokens_each)
            if batch and (
                len(batch) == self.texts or (self.tokens is not None and held + tokens > self.tokens)
            ):
                yield batch
                batch, held = [], 0
            batch.append(text)
            held += tokens
        if batch:
            yield batch


def estimated_tokens(text: str) -> int:
    """More tokens than a text is likely to have: no tokenizer is asked. Two ASCII characters are one, though
    words are about four; beyond ASCII each byte of UTF-8 is one, as where a vocabulary has nothing longer."""
    plain = len(text.encode("ascii", "ignore"))
    return (plain + 1) // 2 + len(text.encode("utf-8", "surrogatepass")) - plain


def check_too_long(value: str) -> None:
    if value not in get_args(TooLong):
        raise ConfigurationError(f"too_long must be 'refuse' or 'split', not {value!r}")


def checked(texts: Sequence[str], purpose: Purpose) -> list[str]:
    """The texts, if each can be embedded.

    Raises:
        InputInvalid: one is blank, which vendors refuse and which means nothing, or no text; the purpose is
            none. The message names the position and quotes nothing.
    """
    if purpose not in get_args(Purpose):
        raise InputInvalid(f"purpose must be 'document' or 'query', not {purpose!r}")
    if isinstance(texts, str):
        raise InputInvalid("embed() takes a list of texts, not a single one: embed([text])")
    for at, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputInvalid(f"texts[{at}] is no text but {type(text).__name__}")
        if not text.strip():
            raise InputInvalid(f"texts[{at}] is empty: there is nothing in it that could be embedded")
    return list(texts)


def refusal(embedder: str, at: int, length: str, limit: str) -> ContextWindowExceeded:
    """The error for a text that is known to be too long; nothing was asked."""
    return ContextWindowExceeded(
        f"{embedder}: texts[{at}] has {length}, and the model reads {limit}: shorten it, or embed long texts "
        "in pieces with too_long='split'",
        provider=embedder,
        asked=False,
    )


def split(text: str, fits: Callable[[str], bool]) -> list[str]:
    """A text in pieces that fit, cut where it is best: after a paragraph, a line, a sentence, a word."""
    pieces: list[str] = []
    at = 0
    while at < len(text):
        end = at + _cut(text, at, fits)
        if text[at:end].strip():
            pieces.append(text[at:end])
        at = end
    return pieces


def _cut(text: str, at: int, fits: Callable[[str], bool]) -> int:
    """How many characters from `at` on make a piece."""
    left = len(text) - at
    # Up in doubling steps: whether a long rest fits is not asked again for each of its pieces.
    least, most = 0, 64
    while most < left and fits(text[at : at + most]):
        least, most = most, most * 2
    if most >= left:
        if fits(text[at:]):
            return left
        most = left
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(text[at : at + middle]) else (least, middle)
    longest = max(1, least)
    for mark in _MARKS:
        if (found := text.rfind(mark, at + longest // 2, at + longest)) >= 0:
            return found + len(mark) - at
    return longest


def average(pieces: Sequence[tuple[str, Embedding]]) -> Embedding:
    """One embedding for a text that was embedded in pieces."""
    if len(pieces) == 1:
        return pieces[0][1]
    total = [0.0] * pieces[0][1].dimensions
    for text, embedding in pieces:
        vector = embedding.vector
        weight = len(text) / math.hypot(*vector)
        total = [held + weight * number for held, number in zip(total, vector, strict=True)]
    norm = math.hypot(*total)
    if norm < 1e-6:
        # They point in opposite directions: their average has none. The longest piece speaks for all.
        return max(pieces, key=lambda piece: len(piece[0]))[1]
    return Embedding.of([number / norm for number in total], pieces[0][1].fingerprint)
