"""Similarity, for stores that compare every vector themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...embedders.base import Embedding
from ...errors import EmbedderMismatch, InputInvalid
from ..base import Filter, Not

__all__ = ["Vectors", "check_fingerprint", "check_search", "fits", "has_numpy"]


FIRST = 128
"""So many are sorted before the others are."""


class Vectors:
    """Vectors of one embedder, compared all at once: by numpy if it is installed, else far slower."""

    def __init__(self, data: Sequence[bytes]) -> None:
        self._numpy = _numpy()
        self._data = data
        self._unit: Any = None
        if self._numpy is not None and data:
            matrix = self._numpy.frombuffer(b"".join(data), dtype="<f4").reshape(len(data), -1)
            self._unit = matrix / self._numpy.linalg.norm(matrix, axis=1, keepdims=True)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self._data)) * (1 if self._unit is None else 2)

    def nearest(self, query: Embedding, min_score: float | None = None) -> Iterator[tuple[int, float]]:
        """Positions and similarities, the most similar first, among equals the later position."""
        vector, last = query.vector, len(self._data) - 1
        if self._numpy is None:
            scores: Any = [_cosine(vector, Embedding(query.fingerprint, each).vector) for each in self._data]
            order: Iterable[Any] = sorted(range(last, -1, -1), key=lambda at: -scores[at])
        elif self._data:
            scores = self._unit @ (self._numpy.asarray(vector) / self._numpy.float32(math.hypot(*vector)))
            order = self._order(scores)
        else:
            return
        for at in order:
            score = float(scores[at])
            if min_score is not None and score < min_score:
                return
            yield int(at), score

    def _order(self, scores: Any) -> Iterator[Any]:
        """Positions by score: the first few are wanted far more often than all of them."""
        numpy = self._numpy
        rest = numpy.arange(len(scores))
        if len(scores) > FIRST:
            # Of those that are equal at the border none is among the first: which would be is not known.
            border = numpy.partition(scores, -FIRST)[-FIRST]
            yield from _sorted(numpy, scores, numpy.flatnonzero(scores > border))
            rest = numpy.flatnonzero(scores <= border)
        yield from _sorted(numpy, scores, rest)


def _sorted(numpy: Any, scores: Any, positions: Any) -> Any:
    latest_first = positions[::-1]
    return latest_first[numpy.argsort(-scores[latest_first], kind="stable")]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def has_numpy() -> bool:
    return _numpy() is not None


def check_fingerprint(known: str | None, given: str) -> None:
    """Refuses what was made by another embedder than what is there."""
    if known is not None and known != given:
        raise EmbedderMismatch(
            f"this identity's entries were embedded by {known!r} and cannot be compared with vectors of "
            f"{given!r}: use the embedder they were written with, or forget them and write them again"
        )


def check_search(k: int, where: Filter | None) -> Filter:
    """The filter of a search.

    Raises:
        InputInvalid: it is none, or `k` is less than 1.
    """
    if k < 1:
        raise InputInvalid(f"k must be at least 1, not {k}")
    given: Mapping[Any, Any] = where or {}
    for key, wanted in given.items():
        value = wanted.value if isinstance(wanted, Not) else wanted
        scalar = value is None or isinstance(value, (str, int, float))
        if not (isinstance(key, str) and scalar) or (isinstance(value, float) and not math.isfinite(value)):
            raise InputInvalid(
                f"a filter says for a key of the metadata which string, number, bool or None it has, or "
                f"Not(...) of one; under {key!r} it has a {type(value).__name__}"
            )
    return where or {}


def fits(metadata: Mapping[str, Any], where: Filter) -> bool:
    """Whether metadata is as a filter says."""
    for key, wanted in where.items():
        negated = isinstance(wanted, Not)
        value = wanted.value if isinstance(wanted, Not) else wanted
        there = key in metadata and _same(metadata[key], value)
        if there == negated:
            return False
    return True


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)
