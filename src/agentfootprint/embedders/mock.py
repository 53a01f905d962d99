"""Vectors without a model: alike texts get alike vectors, the same on every machine."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

from ..errors import ConfigurationError
from .base import Embedding, Purpose

__all__ = ["MockEmbedder"]

_WORD = re.compile(r"\w+")


class MockEmbedder:
    """Counts the words of a text, and the letters of each word three by three, in `dimensions` buckets.

    Texts that share words, or forms of them, are near each other; what they mean is not known to it.
    `asked` keeps the texts it was asked for, in order.

    Raises:
        ConfigurationError: fewer than 8 dimensions.
    """

    def __init__(self, dimensions: int = 256) -> None:
        if dimensions < 8:
            raise ConfigurationError(f"MockEmbedder(dimensions={dimensions}): 8 are the fewest")
        self.dimensions = dimensions
        self.fingerprint = f"mock@{dimensions}"
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        self.asked += texts
        return [Embedding.of(self._vector(text), self.fingerprint) for text in texts]

    def _vector(self, text: str) -> list[float]:
        counts = [0.0] * self.dimensions
        for word in _WORD.findall(text.casefold()):
            counts[self._bucket(word)] += 1.0
            framed = f"<{word}>"
            for at in range(len(framed) - 2):
                counts[self._bucket(framed[at : at + 3])] += 0.25
        if not any(counts):
            counts[self._bucket(text)] = 1.0  # Nothing but signs, or nothing.
        norm = math.sqrt(sum(count * count for count in counts))
        return [count / norm for count in counts]

    def _bucket(self, piece: str) -> int:
        digest = hashlib.blake2b(piece.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) % self.dimensions

    def __repr__(self) -> str:
        return f"<MockEmbedder {self.fingerprint}>"
