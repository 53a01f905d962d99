"""What stores cost: writing a turn, recalling the last of many, finding the nearest of many.

A framework's file takes part with `keeper(kind, folder)`, an asynchronous context manager that gives a
`keeping.Keeper`; kinds are memory, sqlite, redis and postgres.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from statistics import fmean
from types import ModuleType
from typing import Any

from keeping import LONG, SHORT, Keeper, corpus, medians, nearest
from measuring import Measures, timed


def opened(framework: ModuleType, kind: str, folder: str) -> AbstractAsyncContextManager[Keeper] | None:
    found: AbstractAsyncContextManager[Keeper] | None = framework.keeper(kind, folder)
    return found


async def stores(framework: ModuleType, quick: bool) -> Measures:
    """In this process: in memory, and in a file."""
    count, calls = (100, 2) if quick else (10_000, 100)
    out: Measures = {}
    for kind in ("memory", "sqlite"):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            if (opening := opened(framework, kind, folder)) is None:
                continue
            async with opening as kept:
                await kept.fill(LONG, count)
                await kept.fill(SHORT, 10)
                numbers = itertools.count(count)

                async def put(kept: Keeper = kept, numbers: Any = numbers) -> None:
                    await kept.put(LONG, next(numbers))

                async def put_and_get(kept: Keeper = kept, numbers: Any = numbers) -> None:
                    await kept.put(LONG, n := next(numbers))
                    await kept.get(LONG, n)

                out[f"{kind}_list"] = await timed(partial(kept.last, LONG, 20), calls, quick=quick)
                if kept.recall is not None:
                    recall = partial(kept.recall, LONG, 20)
                    assert await recall() == 40
                    out[f"{kind}_recall"] = await timed(recall, calls, quick=quick)
                    out |= await growth(kind, kept, calls)
                once = put_and_get if kind == "memory" else put
                out[f"{kind}_put"] = await timed(once, calls, quick=quick)
    return out


async def growth(kind: str, kept: Keeper, rounds: int) -> Measures:
    """The recall of ten turns from a long conversation ÷ from one of ten."""
    assert kept.recall is not None
    recalls = {name: partial(kept.recall, name, 10) for name in (LONG, SHORT)}
    await medians(rounds // 10 + 1, **recalls)
    found = await medians(rounds, **recalls)
    return {f"{kind}_growth": {"value": found[LONG]["wall"] / found[SHORT]["wall"]}}


async def servers(framework: ModuleType, quick: bool) -> Measures:
    """On servers of this machine, beside what their bare clients do, the calls taking turns."""
    count, rounds = (100, 3) if quick else (10_000, 1500)
    out: Measures = {}
    for kind in ("redis", "postgres"):
        if (opening := opened(framework, kind, "")) is None:
            continue
        async with opening as kept:
            await kept.fill(LONG, count)
            await kept.fill(SHORT, 10)
            out |= await writes(kind, kept, count, rounds)
            found = await medians(rounds // 5 + 1, list=partial(kept.last, LONG, 20))
            out[f"{kind}_list"] = found["list"]
            if kept.recall is not None:
                recall = partial(kept.recall, LONG, 20)
                assert await recall() == 40
                out[f"{kind}_recall"] = (await medians(rounds // 5 + 1, recall=recall))["recall"]
                out |= await growth(kind, kept, rounds // 5 + 1)
                if kept.trips is not None:
                    kept.trips()
                    await recall()
                    out[f"{kind}_trips"] = {"value": kept.trips()}
    return out


async def writes(kind: str, kept: Keeper, first: int, rounds: int) -> Measures:
    numbers = itertools.count(first)

    async def put() -> None:
        await kept.put(LONG, next(numbers))

    def numbered(call: Callable[[int], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def once() -> None:
            await call(next(numbers))

        return once

    calls = {"put": put, **{name: numbered(call) for name, call in (kept.bare or {}).items()}}
    await medians(rounds // 10 + 1, **calls)
    found = await medians(rounds, **calls)
    out: Measures = {f"{kind}_{name}": each for name, each in found.items()}
    if "bare" in found:
        out[f"{kind}_put_ratio"] = {"value": found["put"]["wall"] / found["bare"]["wall"]}
    return out


async def searches(framework: ModuleType, quick: bool) -> Measures:
    """The ten nearest of 50,000 vectors, all of one identity, in this process."""
    out: Measures = {}
    for kind in ("memory", "sqlite"):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            opening = opened(framework, kind, folder)
            if opening is not None:
                out |= await searched(opening, kind, quick)
    return out


async def vectors(framework: ModuleType, quick: bool) -> Measures:
    """The same in PostgreSQL, by an index: how fast, and how many of the nearest it misses."""
    opening = opened(framework, "postgres", "")
    return {} if opening is None else await searched(opening, "pgvector", quick)


async def searched(opening: AbstractAsyncContextManager[Keeper], kind: str, quick: bool) -> Measures:
    # In this process nothing is missed, and not every framework is quick.
    count, asked = (200, 2) if quick else (50_000, 200 if kind == "pgvector" else 3)
    known, queries = corpus(count, 1), corpus(asked, 2)
    async with opening as kept:
        if kept.index is None or kept.search is None:
            return {}
        begun = time.perf_counter()
        await kept.index(known)
        indexed = time.perf_counter()
        await kept.search(queries[0])
        first = time.perf_counter() - indexed
        found = [set(await kept.search(query)) for query in queries]
        assert all(len(each) == 10 for each in found)
        missed = fmean(
            len(nearest(known, query) - each) / 10 for query, each in zip(queries, found, strict=True)
        )
        turns = itertools.cycle(queries)

        async def search() -> None:
            await kept.search(next(turns))  # type: ignore[misc]

        measured = (
            (await medians(asked, search=search))["search"]
            if kind == "pgvector"
            else await timed(search, 2 if quick else 5, quick=quick)
        )
    return {
        f"{kind}_search": measured,
        f"{kind}_first_search": {"wall": first},
        f"{kind}_missed": {"value": missed},
        f"{kind}_index": {"wall": indexed - begun},
    }


WORKLOADS: dict[str, Callable[[ModuleType, bool], Awaitable[Measures]]] = {
    "stores": stores,
    "servers": servers,
    "searches": searches,
    "vectors": vectors,
}
