"""Distances that SQLite itself computes, where it may load sqlite-vec and numpy is not there."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator

from ...embedders.base import Embedding
from .vectors import has_numpy

__all__ = ["can_compare", "nearest"]

_NEAREST = (
    "SELECT v.number, 1 - vec_distance_cosine(v.data, ?) AS score FROM agentfootprint_vector AS v"
    " JOIN agentfootprint_memory AS m ON m.number = v.number WHERE v.namespace = ?"
    " ORDER BY score DESC, m.created DESC, m.number DESC"
)


def can_compare(db: sqlite3.Connection) -> bool:
    """Whether this connection is to compare vectors. numpy, which keeps them in memory, is faster.

    The extension is loaded if the package `sqlite_vec` is installed and this Python's SQLite loads any; what
    it loads are the numbers of this machine, and the stored ones are little endian.
    """
    if has_numpy() or sys.byteorder != "little":
        return False
    try:
        import sqlite_vec

        db.enable_load_extension(True)
    except (ImportError, AttributeError, sqlite3.Error):
        return False
    try:
        sqlite_vec.load(db)
    except sqlite3.Error:
        return False
    finally:
        db.enable_load_extension(False)
    return True


def nearest(
    db: sqlite3.Connection, space: str, query: Embedding, min_score: float | None
) -> Iterator[tuple[int, float]]:
    """Numbers and similarities, the most similar first, among equals the newest."""
    for number, score in db.execute(_NEAREST, (query.data, space)):
        if min_score is not None and score < min_score:
            return
        yield number, score
