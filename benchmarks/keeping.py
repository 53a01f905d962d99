"""What stores are measured by: a conversation and a corpus in them, on servers of this process's own."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DIMENSIONS = 384
LATENT = 24
LONG, SHORT = "long", "short"
"""The conversations."""


@dataclass(frozen=True)
class Keeper:
    """A store of a framework. What it cannot do is None.

    Attributes:
        fill: a conversation with so many turns.
        put: one more turn of a conversation.
        get: a turn of a conversation.
        last: the newest turns of a conversation, as many as there are wanted; how many came.
        recall: the same as messages, as an agent is shown them.
        bare: what the bare client of the same server does for a put, by name; given a number of its own.
        trips: how often the server was asked since the last time.
        index: the corpus, ready for searches.
        search: the positions in the corpus of the ten nearest.
    """

    fill: Callable[[str, int], Awaitable[Any]]
    put: Callable[[str, int], Awaitable[Any]]
    get: Callable[[str, int], Awaitable[Any]]
    last: Callable[[str, int], Awaitable[int]]
    recall: Callable[[str, int], Awaitable[int]] | None = None
    bare: dict[str, Callable[[int], Awaitable[Any]]] | None = None
    trips: Callable[[], int] | None = None
    index: Callable[[Any], Awaitable[Any]] | None = None
    search: Callable[[Any], Awaitable[Sequence[int]]] | None = None


def turn(n: int) -> dict[str, Any]:
    """A turn as this project keeps it."""
    said = (("user", f"Where is order {n}?"), ("assistant", f"Order {n} has shipped."))
    return {"messages": [{"role": who, "parts": [{"text": text, "kind": "text"}]} for who, text in said]}


def corpus(count: int, seed: int) -> Any:
    """Vectors that are as hard to search as those of sentences.

    Numbers drawn at random would be unlike any embeddings: everything is then equally far from everything.
    Those of all-MiniLM-L6-v2 of 4,000 paragraphs have an intrinsic dimension of 16 (maximum likelihood, 20
    neighbours) and their ten nearest a cosine of 0.54; 4,000 of these have 21 and 0.54.
    """
    import numpy

    mixing = numpy.random.default_rng(3).standard_normal((LATENT, DIMENSIONS)) / LATENT**0.5
    chance = numpy.random.default_rng(seed)
    topics = chance.standard_normal((count, LATENT)) @ mixing
    return (topics + 0.3 * chance.standard_normal((count, DIMENSIONS))).astype("<f4")


def nearest(vectors: Any, query: Any) -> set[int]:
    """The positions of the ten nearest, exactly."""
    import numpy

    lengths = numpy.linalg.norm(vectors, axis=1)
    return set(numpy.argsort(-(vectors @ query) / lengths)[:10].tolist())


async def medians(rounds: int, **calls: Callable[[], Awaitable[Any]]) -> dict[str, dict[str, float]]:
    """The median time of each of the calls, which take turns: a slow spell of the machine meets them all."""
    walls: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begun = time.perf_counter()
            await call()
            walls[name].append(time.perf_counter() - begun)
    return {name: {"wall": median(found)} for name, found in walls.items()}


@functools.cache
def redis_url() -> str:
    """A Redis that nobody else uses."""
    databases = _databases()
    port = databases.free_port()
    databases.start_redis(port)
    return f"redis://127.0.0.1:{port}"


@functools.cache
def postgres_dsn() -> str:
    """A PostgreSQL with pgvector that nobody else uses, with the memory to index the corpus in."""
    import psycopg

    dsn: str = _databases().pgvector_dsn()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET maintenance_work_mem = '512MB'")
        connection.execute("SELECT pg_reload_conf()")
    return dsn


def _databases() -> Any:
    sys.path.append(str(ROOT))
    from tests.servers import databases

    return databases
