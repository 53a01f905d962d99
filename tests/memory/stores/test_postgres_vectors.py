"""Vectors in PostgreSQL: exact, found through an index and without, of one embedder."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from agentfootprint.embedders import Embedding
from agentfootprint.errors import (
    EmbedderMismatch,
    InputInvalid,
    StoreError,
)
from agentfootprint.identity import MemoryIdentity, namespace
from agentfootprint.memory import MemoryEntry, Not
from agentfootprint.memory.stores import postgres, postgres_search
from agentfootprint.memory.stores.postgres_transaction import transact
from tests.memory.stores.support import ACME, OTHER, ask, towards
from tests.servers.stores import Place, memory_at


async def test_an_embedding_comes_back_to_the_last_bit(where: Place) -> None:
    embedding = Embedding.of([1e-45, -3.4028234e38, 0.1, -0.0], "test@4")
    async with memory_at(*where) as store:
        await store.put(ACME, MemoryEntry("one", 1, embedding=embedding))
        found = await store.get(ACME, "one")
        assert found is not None
        assert found.embedding == embedding


async def test_numbers_and_texts_of_filters_are_compared_exactly(where: Place) -> None:
    values: list[Any] = [
        10**23,
        1e23,
        2**53,
        2**53 + 1,
        0.1,
        "\\u0000",
        "\x00",
        "\\0000",
        "\ud800",
        "\\ud800",
    ]
    async with memory_at(*where) as store:
        for number, value in enumerate(values):
            await store.put(ACME, MemoryEntry(str(number), 0, {"key": value}, embedding=towards(1)))
        for number, value in enumerate(values):
            found = await store.search(ACME, towards(1), where={"key": value})
            assert [match.entry.id for match in found] == [str(number)]
            others = await store.search(ACME, towards(1), where={"key": Not(value)})
            assert len(others) == len(values) - 1


@pytest.mark.parametrize("dimensions", [8, 2001])
async def test_an_index_finds_what_is_near_and_a_filter_loses_nothing(
    with_vectors: Place, dimensions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_search, "EXACT_ROWS", 100)
    fingerprint = f"test@{dimensions}"
    entries = [
        MemoryEntry(
            str(number),
            0,
            {"rare": number % 100 == 99},
            embedding=Embedding.of([1.0, number / 100, *[0.0] * (dimensions - 2)], fingerprint),
        )
        for number in range(300)
    ]
    query = Embedding.of([1.0, *[0.0] * (dimensions - 1)], fingerprint)
    few = MemoryIdentity("acme", "few")
    async with memory_at(*with_vectors) as store:
        await store.put_many(ACME, entries)
        await store.put_many(few, entries[200:205])
        assert await store.create_vector_index(fingerprint)
        assert not await store.create_vector_index(fingerprint)
        plans = await ask(with_vectors, "SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%%hnsw%%'")
        assert len(plans) == 1
        found = await store.search(ACME, query, k=5)
        assert [match.entry.id for match in found] == ["0", "1", "2", "3", "4"]
        rare = await store.search(ACME, query, k=5, where={"rare": True})
        assert [match.entry.id for match in rare] == ["99", "199", "299"]
        mine = await store.search(few, query)
        assert [match.entry.id for match in mine] == ["200", "201", "202", "203", "204"]


@pytest.mark.parametrize("seconds", [0.0, 60.0])
async def test_a_search_asks_once_and_is_right_when_the_namespace_has_changed(
    with_vectors: Place, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_search, "EXACT_ROWS", 100)
    monkeypatch.setattr(postgres_search, "COUNT_SECONDS", seconds)
    asked: list[int] = []

    async def counting(connection: Any, identity: Any, *statements: Any, **options: Any) -> Any:
        asked.append(len(statements))
        return await transact(connection, identity, *statements, **options)

    monkeypatch.setattr(postgres_search, "transact", counting)
    async with memory_at(*with_vectors) as store:
        for identity in (ACME, OTHER):
            entries = [MemoryEntry(str(n), n, embedding=towards(1, n / 100)) for n in range(200)]
            await store.put_many(identity, entries)
        assert await store.create_vector_index("test@4")
        for trips in (2, 1, 1):
            asked.clear()
            found = await store.search(ACME, towards(1), k=3)
            assert [match.entry.id for match in found] == ["0", "1", "2"]
            assert len(asked) == trips
        await store.forget(ACME)
        assert await store.search(ACME, towards(1)) == []
        await store.put_many(ACME, [MemoryEntry(str(n), n, embedding=towards(n, 1)) for n in range(9)])
        found = await store.search(ACME, towards(1), k=3)
        assert [match.entry.id for match in found] == ["8", "7", "6"]
        await store.forget(ACME)
        other = Embedding.of([1.0, 0.0], "other@2")
        await store.put(ACME, MemoryEntry("one", 1, embedding=other))
        with pytest.raises(EmbedderMismatch):
            await store.search(ACME, towards(1))
        assert [match.entry.id for match in await store.search(ACME, other)] == ["one"]


async def test_an_index_that_was_left_unfinished_is_made_anew(with_vectors: Place) -> None:
    async with memory_at(*with_vectors) as store:
        await store.put(ACME, MemoryEntry("one", 1, embedding=towards(1)))
        assert await store.create_vector_index("test@4")
        broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass"
        await ask(with_vectors, broken, postgres_search._index("test@4"))
        assert await store.create_vector_index("test@4")
        assert not await store.create_vector_index("test@4")


async def test_an_index_needs_pgvector_and_a_fingerprint(plain: Place, with_vectors: Place) -> None:
    async with memory_at(*plain) as store:
        with pytest.raises(StoreError, match="pgvector"):
            await store.create_vector_index("test@4")
    async with memory_at(*with_vectors) as store:
        for fingerprint in ("test", "test@0", "test@4001", "test@x"):
            with pytest.raises(InputInvalid):
                await store.create_vector_index(fingerprint)


@pytest.mark.parametrize("before", [False, True])
async def test_a_page_of_a_long_conversation_is_read_in_order_and_nothing_is_sorted(
    where: Place, before: bool
) -> None:
    async with memory_at(*where) as store:
        # Most are short: from what the planner knows of the average it would read and sort a long one.
        for number in range(100):
            await store.put(MemoryIdentity("acme", str(number)), MemoryEntry("one", 1))
        await store.put_many(ACME, [MemoryEntry(str(number), number) for number in range(1000)])
        given = {"space": namespace(ACME), "now": 0.0, "limit": 20, "created": 2e9, "number": 1}
        asked = postgres._LIST_BEFORE if before else postgres._LIST

        def explain(connection: Any) -> Any:
            settings = postgres._BY_INDEX
            return transact(connection, ACME, (f"EXPLAIN {asked}", given), settings=settings)

        [plan] = await store._pool.run(explain)
    text = "\n".join(line for (line,) in plan)
    assert "Index Scan Backward using agentfootprint_memory_newest" in text
    assert "Sort" not in text


async def test_forgetting_while_others_write_leaves_no_vectors_of_two_embedders(where: Place) -> None:
    async with memory_at(*where) as store:

        async def write(name: str) -> None:
            for number in range(15):
                with contextlib.suppress(StoreError):
                    embedding = Embedding.of([1.0, number], f"{name}@2")
                    await store.put_many(
                        ACME, [MemoryEntry(f"{each}", 1, embedding=embedding) for each in range(3)]
                    )

        async def forget() -> None:
            for _ in range(15):
                await store.forget(ACME)

        await asyncio.gather(write("one"), write("two"), write("one"), write("two"), forget())
        kinds = await ask(where, "SELECT DISTINCT fingerprint FROM agentfootprint_memory")
        assert len(kinds) <= 1
