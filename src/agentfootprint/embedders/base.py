"""The port to what turns text into vectors."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from ..errors import InputInvalid

__all__ = ["Embedder", "Embedding", "MeasuringEmbedder", "Purpose"]

Purpose: TypeAlias = Literal["document", "query"]
"""What a vector is for: some models make different ones of what is searched and of what is searched for."""


@runtime_checkable
class Embedder(Protocol):
    """Anything that turns texts into vectors.

    `fingerprint` is `name@dimensions`: vectors of two fingerprints have nothing to do with each other.
    """

    @property
    def fingerprint(self) -> str: ...
    @property
    def dimensions(self) -> int: ...
    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]: ...


@runtime_checkable
class MeasuringEmbedder(Embedder, Protocol):
    """An embedder that says beforehand which texts are short enough for it."""

    def fits(self, text: str) -> bool:
        """Whether the model reads the whole text."""
        ...


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text as a vector of one embedder, made by `Embedding.of`.

    `data` is the vector as 32-bit floats, little endian: what was written comes back the same.

    Raises:
        InputInvalid: the data is no such vector, has not as many numbers as the fingerprint says, holds one
            that is not finite, or is zero: it then has no direction that could be compared.
    """

    fingerprint: str
    data: bytes

    def __post_init__(self) -> None:
        name, at, dimensions = self.fingerprint.rpartition("@")
        if not (name and at and dimensions.isdecimal() and dimensions.isascii()):
            raise InputInvalid(f"a fingerprint is name@dimensions, not {self.fingerprint!r}")
        if len(self.data) != 4 * int(dimensions):
            raise InputInvalid(
                f"an embedding of {self.fingerprint!r} has {dimensions} numbers, not {len(self.data) / 4:g}"
            )
        if not 0 < math.hypot(*self.vector) < math.inf:
            raise InputInvalid("an embedding is of finite numbers that are not all zero")

    @classmethod
    def of(cls, vector: Sequence[float], fingerprint: str) -> Embedding:
        try:
            numbers = array("f", vector)
        except (TypeError, OverflowError):
            raise InputInvalid("an embedding is of numbers that 32-bit floats can hold") from None
        return cls(fingerprint, _swapped(numbers).tobytes())

    @property
    def vector(self) -> array[float]:
        numbers = array("f")
        numbers.frombytes(self.data)
        return _swapped(numbers)

    @property
    def dimensions(self) -> int:
        return len(self.data) // 4

    def __repr__(self) -> str:
        return f"<Embedding of {self.fingerprint}>"


def _swapped(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
