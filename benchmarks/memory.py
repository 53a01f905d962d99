"""What stores cost: writing an entry, recalling the last of many, finding the nearest of many."""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from measuring import Measures, timed

from agentfootprint import MemoryIdentity
from agentfootprint.embedders import Embedding
from agentfootprint.flow.codec import encode
from agentfootprint.memory import InMemoryStore, Memory, MemoryEntry, SQLiteStore, Window
from agentfootprint.messages import Message

IDENTITY = MemoryIdentity("acme", "alice", "t-1")
CORPUS = MemoryIdentity("acme", "corpus")
DIMENSIONS = 384


def turn(n: int) -> Any:
    said = Message.user(f"Where is order {n}?"), Message.assistant(f"Order {n} has shipped.")
    return {"messages": [encode(one) for one in said]}


def embedding(chance: random.Random) -> Embedding:
    return Embedding.of([chance.gauss(0, 1) for _ in range(DIMENSIONS)], f"random@{DIMENSIONS}")


@asynccontextmanager
async def every_store() -> AsyncIterator[list[tuple[str, Any]]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with SQLiteStore(Path(folder) / "memory.sqlite") as file, InMemoryStore() as volatile:
            yield [("sqlite", file), ("memory", volatile)]


async def stores(framework: ModuleType, quick: bool) -> Measures:
    count, calls = (100, 2) if quick else (10_000, 100)
    entries = [MemoryEntry(f"orders/{n}", turn(n)) for n in range(count)]
    numbers = iter(range(count, 100_000_000))
    value = turn(0)
    out: Measures = {}
    async with every_store() as kinds:
        for name, kept in kinds:
            await kept.put_many(IDENTITY, entries)
            memory = Memory("orders", strategy=Window(20), store=kept)

            async def put(kept: Any = kept) -> None:
                await kept.put(IDENTITY, MemoryEntry(f"orders/{next(numbers)}", value))

            async def put_and_get(kept: Any = kept) -> None:
                entry = MemoryEntry(f"orders/{next(numbers)}", value)
                await kept.put(IDENTITY, entry)
                await kept.get(IDENTITY, entry.id)

            async def recall(memory: Memory = memory) -> None:
                found = await memory.recall(IDENTITY, "Where is it?")
                assert len(found.messages) == 40

            out[f"{name}_recall"] = await timed(recall, calls, quick=quick)
            once = put if name == "sqlite" else put_and_get
            out[f"{name}_put"] = await timed(once, calls, quick=quick)
    return out


async def searches(framework: ModuleType, quick: bool) -> Measures:
    """The ten nearest of 50,000 vectors, all of one identity."""
    chance = random.Random(7)
    count = 200 if quick else 50_000
    entries = [MemoryEntry(f"chunk/{n}", n, embedding=embedding(chance)) for n in range(count)]
    query = embedding(chance)
    out: Measures = {}
    async with every_store() as kinds:
        for name, kept in kinds:
            await kept.put_many(CORPUS, entries)

            async def search(kept: Any = kept) -> None:
                assert len(await kept.search(CORPUS, query, k=10)) == 10

            out[f"{name}_search"] = await timed(search, 2 if quick else 10, quick=quick)
    return out
