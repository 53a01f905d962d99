"""Whose corpus it is: no operation for one tenant reads, changes or counts anything of another."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentfootprint.errors import IdentityRequired, InputInvalid
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import InMemoryStore, SQLiteStore
from agentfootprint.retrieval import Document
from agentfootprint.testing.identities import different_identities, parts
from tests.retrieval.support import ACME, GLOBEX, RETURNS, corpus, stored


@given(different_identities())
@example((MemoryIdentity("acme"), MemoryIdentity()))
@example((MemoryIdentity("a", None, "corpus:handbook"), MemoryIdentity("a", None, "corpus:handbook/x")))
@settings(max_examples=60)
def test_tenants_never_meet(pair: tuple[MemoryIdentity, MemoryIdentity]) -> None:
    async def check() -> None:
        one, other = pair
        rag = corpus()
        await rag.index(Document("a.txt", "goods of one"), identity=one)
        if one.tenant == other.tenant:
            # A corpus is that of a tenant: who of it asks makes no difference.
            assert [each.text for each in await rag.search("goods", identity=other)] == ["goods of one"]
            return
        assert await rag.search("goods of one", identity=other) == ()
        report = await rag.index(Document("a.txt", "goods of the other"), identity=other)
        assert (report.added, report.unchanged, report.removed) == (1, 0, 0)
        assert [each.text for each in await rag.search("goods", identity=one)] == ["goods of one"]
        assert [each.text for each in await rag.search("goods", identity=other)] == ["goods of the other"]
        assert await rag.forget(other) == 1
        assert [each.text for each in await rag.search("goods", identity=one)] == ["goods of one"]

    asyncio.run(check())


@given(st.lists(parts(), min_size=2, max_size=4, unique=True))
@settings(max_examples=30)
def test_names_of_documents_never_make_one_entry_of_two(names: list[str]) -> None:
    sources = [name for name in names if name.strip()]

    async def check() -> None:
        rag = corpus()
        if sources:
            await rag.index([Document(name, "the same words", "text") for name in sources], identity=ACME)
            assert set(await stored(rag)) == set(sources)

    asyncio.run(check())


async def test_two_corpora_in_one_store_find_their_own() -> None:
    store = InMemoryStore()
    one, other = corpus(store=store), corpus(store=store)
    object.__setattr__(other, "id", "handbook2")
    await one.index(RETURNS, identity=ACME)
    await other.index(Document("b.txt", "Goods may be returned, says the other"), identity=ACME)
    assert [each.source for each in await one.search("goods returned", identity=ACME)] == ["returns.md"]
    assert [each.source for each in await other.search("goods returned", identity=ACME)] == ["b.txt"]
    await one.forget(ACME)
    assert list(await stored(other)) == ["b.txt"]


async def test_a_corpus_of_one_tenant_can_be_for_all_to_read() -> None:
    rag = corpus(tenant="vendor")
    await rag.index(RETURNS)
    for identity in (ACME, GLOBEX, MemoryIdentity(), None):
        assert len(await rag.search("goods returned", identity=identity)) == 1
    with pytest.raises(InputInvalid, match="'vendor'"):
        await rag.index(RETURNS, identity=ACME)
    with pytest.raises(InputInvalid, match="'vendor'"):
        await rag.forget(ACME)
    assert await rag.forget() == 1


async def test_without_a_tenant_nothing_of_any_tenant_is_read() -> None:
    rag = corpus()
    await rag.index(RETURNS, identity=ACME)
    for identity in (None, MemoryIdentity(), MemoryIdentity(None, "alice"), MemoryIdentity("")):
        assert await rag.search("goods returned", identity=identity) == ()


async def test_a_tenant_that_is_forgotten_takes_its_corpus_along() -> None:
    rag = corpus()
    await rag.index(RETURNS, identity=ACME)
    await rag.index(RETURNS, identity=GLOBEX)
    await rag.store.forget(MemoryIdentity("acme", "alice"), descendants=True)
    assert list(await stored(rag)) == ["returns.md"]
    await rag.store.forget(MemoryIdentity("acme"), descendants=True)
    assert await stored(rag) == {}
    assert list(await stored(rag, GLOBEX)) == ["returns.md"]


async def test_forgetting_on_a_durable_store_needs_a_tenant(tmp_path: object) -> None:
    async with SQLiteStore(f"{tmp_path}/kb.sqlite") as store:
        with pytest.raises(IdentityRequired):
            await corpus(store=store).forget()
