"""Similarity is the same with numpy and without."""

from __future__ import annotations

import random
import sys

import pytest

from agentfootprint.embedders import Embedding
from agentfootprint.memory.stores.vectors import Vectors


def embeddings(count: int) -> list[Embedding]:
    chance = random.Random(7)
    return [Embedding.of([chance.gauss(0, 1) for _ in range(16)], "x@16") for _ in range(count)]


def test_the_order_is_the_same_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    query, *rest = embeddings(200)
    data = [each.data for each in rest]
    fast = list(Vectors(data).nearest(query))
    monkeypatch.setitem(sys.modules, "numpy", None)
    slow = list(Vectors(data).nearest(query))
    assert [at for at, _ in fast] == [at for at, _ in slow]
    assert [score for _, score in fast] == pytest.approx([score for _, score in slow], abs=1e-5)
    assert list(Vectors([]).nearest(query)) == []


@pytest.mark.parametrize("numpy", [True, False])
def test_weak_ones_are_left_out(monkeypatch: pytest.MonkeyPatch, numpy: bool) -> None:
    if not numpy:
        monkeypatch.setitem(sys.modules, "numpy", None)
    query, *rest = embeddings(200)
    found = list(Vectors([each.data for each in rest]).nearest(query, 0.3))
    assert found
    assert min(score for _, score in found) >= 0.3
    assert len(found) < 100
