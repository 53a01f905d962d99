from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from pinecone import AsyncIndex

from agentfootprint.embedders import Embedding
from agentfootprint.errors import (
    ConfigurationError,
    EmbedderMismatch,
    IdentityInvalid,
    StoreError,
    StoreUnavailable,
    UnsupportedValue,
)
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import MemoryEntry, MemoryStore, Not, PineconeStore, SearchableStore, TextSearch
from agentfootprint.testing import ManualClock
from tests.servers.databases import free_port
from tests.servers.json_server import Refused
from tests.servers.pinecone import KEY, PineconeIndex

ME = MemoryIdentity("acme", "alice", "t-1")


def towards(*numbers: float) -> Embedding:
    return Embedding.of([*numbers, *[0.0] * (8 - len(numbers))], "x@8")


@pytest.fixture
async def index() -> AsyncIterator[PineconeIndex]:
    async with PineconeIndex() as each:
        yield each


@pytest.fixture
async def store(index: PineconeIndex) -> AsyncIterator[PineconeStore]:
    async with PineconeStore(index.url, api_key=KEY) as each:
        yield each


async def test_it_is_a_searchable_store_that_compares_nothing(store: PineconeStore) -> None:
    assert isinstance(store, MemoryStore)
    assert isinstance(store, SearchableStore)
    assert not isinstance(store, TextSearch)
    assert store.durable
    assert store.profile == "eventual"
    with pytest.raises(TypeError, match="expected"):
        await store.put(ME, MemoryEntry("a", 1), expected="")  # type: ignore[call-arg]


async def test_a_write_is_not_seen_at_once_and_a_forget_reaches_it_all_the_same() -> None:
    async with PineconeIndex(lag=2) as index, PineconeStore(index.url, api_key=KEY) as store:
        await store.put(ME, MemoryEntry("a", 1))
        assert await store.get(ME, "a") is None
        assert await store.forget(ME) == 0
        for _ in range(5):
            await store.get(ME, "a")
        assert await store.get(ME, "a") is None
        assert index.namespaces["acme/"].vectors == {}


async def test_what_was_replaced_unseen_is_listed_once() -> None:
    async with PineconeIndex(lag=3) as index, PineconeStore(index.url, api_key=KEY) as store:
        await asyncio.gather(*(store.put(ME, MemoryEntry("a", number)) for number in range(5)))
        for _ in range(8):
            await store.get(ME, "a")
        page = await store.list(ME, limit=1)
        assert [entry.id for entry in page.entries] == ["a"]
        assert page.cursor is None
        assert await store.forget(ME) == 1


async def test_a_tenant_is_a_namespace(store: PineconeStore, index: PineconeIndex) -> None:
    for identity in (ME, MemoryIdentity("acme", "bob"), MemoryIdentity(), MemoryIdentity("")):
        await store.put(identity, MemoryEntry("a", 1))
    assert set(index.namespaces) == {"acme/", "~/", "/"}


async def test_vectors_of_others_in_a_namespace_are_left_alone(
    store: PineconeStore, index: PineconeIndex
) -> None:
    async with AsyncIndex(host=index.url, api_key=KEY) as client:
        await client.upsert(vectors=[("foreign", [1.0] * 8, {"genre": "comedy"})], namespace="acme/")
    await store.put(ME, MemoryEntry("a", 1, embedding=towards(1)))
    assert [match.entry.id for match in await store.search(ME, towards(1))] == ["a"]
    assert await store.forget(MemoryIdentity("acme"), descendants=True) == 1
    assert set(index.namespaces["acme/"].vectors) == {"foreign"}


async def test_a_filter_finds_what_lacks_the_key(store: PineconeStore) -> None:
    await store.put_many(
        ME, [MemoryEntry(str(n), n, {"$or": n} if n else {}, embedding=towards(1)) for n in range(3)]
    )
    found = await store.search(ME, towards(1), where={"$or": Not(1)})
    assert sorted(match.entry.id for match in found) == ["0", "2"]


async def test_a_page_reads_its_entries_and_no_others(store: PineconeStore, index: PineconeIndex) -> None:
    await store.put_many(ME, [MemoryEntry(str(number), number) for number in range(300)])
    index.requests.clear()
    page = await store.list(ME, limit=5)
    assert [entry.value for entry in page.entries] == [299, 298, 297, 296, 295]
    assert [path for _, path in index.requests] == ["/vectors/list", "/vectors/fetch"]


async def test_many_large_entries_are_sent_in_requests_that_pinecone_takes(store: PineconeStore) -> None:
    stored = await store.put_many(ME, [MemoryEntry(str(number), "x" * 30_000) for number in range(120)])
    assert list((await store.list(ME, limit=200)).entries) == stored[::-1]


async def test_an_expired_entry_leaves_nothing_when_it_is_replaced_or_deleted(index: PineconeIndex) -> None:
    clock = ManualClock()
    async with PineconeStore(index.url, api_key=KEY, clock=clock) as store:
        await store.put(ME, MemoryEntry("a", 1, expires=clock.now + 1))
        clock.advance(2)
        await store.put(ME, MemoryEntry("a", 2))
        assert len(index.namespaces["acme/"].vectors) == 2
        assert await store.delete(ME, "a")
        assert index.namespaces["acme/"].vectors == {}


async def test_limits_are_told_by_name(store: PineconeStore, index: PineconeIndex) -> None:
    with pytest.raises(UnsupportedValue, match=r"'big' takes .* bytes, Pinecone keeps at most 40960"):
        await store.put(ME, MemoryEntry("big", "x" * 41_000))
    with pytest.raises(IdentityInvalid, match="tenant is 600 characters"):
        await store.get(MemoryIdentity("%" * 200), "a")
    with pytest.raises(IdentityInvalid, match="principal and conversation_id are"):
        await store.forget(MemoryIdentity("a", "%" * 100, "%" * 100))
    with pytest.raises(EmbedderMismatch, match="vectors of 8 numbers, not of 9"):
        await store.put(ME, MemoryEntry("wide", 1, embedding=Embedding.of([1.0] * 9, "x@9")))
    assert index.namespaces == {}


async def test_an_index_that_cannot_be_used_is_told_by_name(index: PineconeIndex) -> None:
    index.metric = "euclidean"
    async with PineconeStore(index.url, api_key=KEY) as store:
        with pytest.raises(StoreError, match="metric 'euclidean'"):
            await store.put(ME, MemoryEntry("a", 1))
    index.refusals = [Refused(404, {})]
    async with PineconeStore(index.url, api_key=KEY) as store:
        with pytest.raises(StoreError, match="does not exist"):
            await store.put(ME, MemoryEntry("a", 1))
    with pytest.raises(ConfigurationError, match="host of an index"):
        PineconeStore("my-index", api_key=KEY)


async def test_a_connection_that_was_cut_is_made_again(store: PineconeStore, index: PineconeIndex) -> None:
    stored = await store.put(ME, MemoryEntry("a", 1))
    index.cut = ["/fetch"]
    assert await store.get(ME, "a") == stored
    index.cut = ["/upsert"]
    await store.put(ME, MemoryEntry("b", 2))
    assert [entry.id for entry in (await store.list(ME)).entries] == ["b", "a"]
    assert index.cut == []


async def test_a_client_of_ones_own_stays_open(index: PineconeIndex) -> None:
    async with AsyncIndex(host=index.url, api_key=KEY) as client:
        async with PineconeStore(client) as store:
            await store.put(ME, MemoryEntry("a", 1))
        assert (await client.describe_index_stats()).total_vector_count == 2


@pytest.mark.parametrize("away", [True, False])
async def test_a_key_is_nowhere_to_be_seen(
    away: bool, index: PineconeIndex, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "s3ntinel-8f21c7"
    url = f"http://127.0.0.1:{free_port()}" if away else index.url
    told: list[str] = []
    with caplog.at_level(logging.DEBUG):
        async with PineconeStore(url, api_key=secret) as store:
            told.append(repr(store))
            calls: list[Callable[[], Any]] = [partial(store.put, ME, MemoryEntry("a", 1))]
            calls += [partial(store.list, ME)] if away else [partial(store.get, ME, "a")]
            for call in calls:
                with pytest.raises(StoreUnavailable if away else StoreError) as caught:
                    await call()
                told += [repr(caught.value), "".join(traceback.format_exception(caught.value))]
                assert caught.value.__cause__ is None
                assert caught.value.__context__ is None
    told += [f"{record.getMessage()} {record.args} {record.exc_text}" for record in caplog.records]
    assert not [text for text in told if secret in text]
