"""Similarity is the same with numpy and without, also where SQLite computes it."""

from __future__ import annotations

import random
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentfootprint.embedders import Embedding
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import MemoryEntry, SQLiteStore
from agentfootprint.memory.stores import sqlite_distance
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


# ── in SQLite ───────────────────────────────────────────────────────────────────────────────────

ME = MemoryIdentity("acme", "alice")


async def test_sqlite_finds_the_same_whatever_compares(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    query, *rest = embeddings(200)
    # Some are equally near: the newest of them comes first.
    entries = [
        MemoryEntry(str(n), n, {"even": n % 2 == 0}, embedding=each)
        for n, each in enumerate([*rest, *rest[:9]])
    ]

    async def found() -> list[list[tuple[str, float]]]:
        async with SQLiteStore(tmp_path / "memory.db") as store:
            asked: list[dict[str, Any]] = [{"k": 300}, {"k": 7, "where": {"even": True}}, {"min_score": 0.4}]
            answers = [await store.search(ME, query, **each) for each in asked]
        return [[(match.entry.id, match.score) for match in each] for each in answers]

    async with SQLiteStore(tmp_path / "memory.db") as store:
        await store.put_many(ME, entries)
    by_numpy = await found()
    assert [len(each) for each in by_numpy[:2]] == [len(entries), 7]
    monkeypatch.setitem(sys.modules, "numpy", None)
    otherwise = await found()
    monkeypatch.setitem(sys.modules, "sqlite_vec", None)
    for answers in (otherwise, await found()):
        for one, other in zip(by_numpy, answers, strict=True):
            assert [name for name, _ in one] == [name for name, _ in other]
            assert [score for _, score in one] == pytest.approx([score for _, score in other], abs=1e-5)


class Connection:
    """One that loads extensions, or whose SQLite was built without."""

    def __init__(self, *, refuses: bool) -> None:
        self.loading = False
        self.loaded = False
        self._refuses = refuses

    def enable_load_extension(self, on: bool) -> None:
        self.loading = on

    def load_extension(self) -> None:
        if self._refuses or not self.loading:
            raise sqlite3.OperationalError("not authorized")
        self.loaded = True


@pytest.mark.parametrize(
    ("numpy", "installed", "loads", "compares"),
    [
        (True, True, True, False),
        (False, True, True, True),
        (False, False, True, False),
        (False, True, False, False),
        (False, True, None, False),
    ],
)
def test_sqlite_compares_where_numpy_is_missing_and_the_extension_loads(
    monkeypatch: pytest.MonkeyPatch, numpy: bool, installed: bool, loads: bool | None, compares: bool
) -> None:
    if not numpy:
        monkeypatch.setitem(sys.modules, "numpy", None)
    package = SimpleNamespace(load=lambda db: db.load_extension())
    monkeypatch.setitem(sys.modules, "sqlite_vec", package if installed else None)
    # Python can be built without the method, too.
    db: Any = object() if loads is None else Connection(refuses=not loads)
    assert sqlite_distance.can_compare(db) is compares
    if loads is not None:
        assert (db.loaded, db.loading) == (compares, False), "nothing else may be loaded afterwards"
