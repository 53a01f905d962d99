from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.errors import IdentityInvalid, InputInvalid, StoreCorrupt, StoreError, StoreUnavailable
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import DynamoDBStore, MemoryEntry
from agentfootprint.state import DynamoDBState, StateKey
from tests.servers.databases import dynamodb_url
from tests.servers.stores import memory_at, place, state_at

ME = MemoryIdentity("acme", "alice", "t-1")


@pytest.fixture
async def name(tmp_path: Path) -> AsyncIterator[str]:
    async with place("dynamodb", tmp_path) as (_, _, name):
        yield name


@pytest.fixture
async def store(name: str) -> AsyncIterator[DynamoDBStore]:
    async with memory_at("dynamodb", dynamodb_url(), name) as made:
        yield made


def items_of(store: DynamoDBStore) -> list[dict[str, Any]]:
    client: Any = store._table._client
    found: list[dict[str, Any]] = client.scan(TableName=store._table._name)["Items"]
    return found


def kinds(store: DynamoDBStore) -> list[str]:
    return sorted(item["sk"]["S"].split("#")[1] for item in items_of(store))


async def test_a_partition_is_a_tenant_and_its_key_begins_with_it(store: DynamoDBStore) -> None:
    """So that a policy can bind `dynamodb:LeadingKeys` to it."""
    await store.put(ME, MemoryEntry("one", "x" * 800_000))
    await store.put(MemoryIdentity("acme/x"), MemoryEntry("one", 1))
    await store.put(MemoryIdentity(None, "alice"), MemoryEntry("one", 1))
    assert {item["pk"]["S"] for item in items_of(store)} == {"acme/memory", "acme=2Fx/memory", "~/memory"}


async def test_a_hundred_entries_are_written_at_once_and_more_are_refused(store: DynamoDBStore) -> None:
    entries = [MemoryEntry(str(number), "x" * 100_000) for number in range(101)]
    with pytest.raises(InputInvalid, match="at most 100"):
        await store.put_many(ME, entries)
    assert items_of(store) == []
    stored = await store.put_many(ME, entries[:100])  # 10 MB, of which a transaction takes 4.
    assert list((await store.list(ME, limit=100)).entries) == stored[::-1]


async def test_a_put_many_that_is_refused_leaves_nothing_to_be_seen(
    store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await store.put(ME, MemoryEntry("one", "before"))

    async def away(*_: Any, **__: Any) -> bool:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(store._table, "put_all", away)
        with pytest.raises(StoreUnavailable):
            await store.put_many(ME, [MemoryEntry("one", "x" * 400_000, created=9e9), MemoryEntry("two", 1)])
    assert (await store.list(ME)).entries == (before,)
    assert await store.get(ME, "two") is None
    assert kinds(store).count("piece") == 2
    # What was left may belong to somebody who is still writing; later it cannot.
    assert await store.forget(ME) == 1
    assert kinds(store).count("piece") == 2
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3600 * 10**9)
    assert await store.forget(ME) == 0
    assert items_of(store) == []


async def test_what_is_replaced_moved_or_deleted_leaves_nothing_behind(store: DynamoDBStore) -> None:
    first = await store.put(ME, MemoryEntry("one", "x" * 800_000))
    assert kinds(store) == ["entry", "piece", "piece", "piece", "place"]
    assert first is not None
    await store.put(ME, MemoryEntry("one", "short"))
    await store.put(ME, MemoryEntry("one", "moved", created=1.0))
    await store.put(ME, MemoryEntry("one", "x" * 400_000, created=1.0, expires=9e9))
    assert kinds(store) == ["entry", "piece", "piece", "place"]
    assert await store.put(ME, MemoryEntry("one", "x" * 400_000), expected=first.version) is None
    assert kinds(store) == ["entry", "piece", "piece", "place"]
    assert await store.delete(ME, "one")
    assert items_of(store) == []


async def test_the_table_collects_what_has_expired_and_nothing_else(store: DynamoDBStore) -> None:
    due = time.time() + 100
    await store.put(ME, MemoryEntry("kept", "x" * 400_000, expires=due))
    await store.put(ME, MemoryEntry("kept", "x" * 400_000))
    assert all(float(item["expiresAt"]["N"]) > 1e11 for item in items_of(store))
    await store.put(ME, MemoryEntry("kept", "x" * 400_000, expires=due))
    assert all(due < float(item["expiresAt"]["N"]) <= due + 61 for item in items_of(store))


async def test_who_loses_a_race_does_not_shorten_the_life_of_what_won(store: DynamoDBStore) -> None:
    await store.put(ME, MemoryEntry("one", 1))
    assert await store.put(ME, MemoryEntry("one", 2, expires=time.time() + 1), expected="other") is None
    assert all(float(item["expiresAt"]["N"]) > 1e11 for item in items_of(store))


async def test_an_identity_that_is_too_long_for_a_key_is_refused_and_not_cut(store: DynamoDBStore) -> None:
    long = MemoryIdentity("é" * 128, "a" * 256, "b" * 256)
    await store.put(long, MemoryEntry("c" * 256, 1))
    assert await store.forget(MemoryIdentity("é" * 128), descendants=True) == 1
    longer = MemoryIdentity("acme", "é" * 128, "b" * 256)
    for call in (store.put(longer, MemoryEntry("one", 1)), store.get(longer, "one"), store.list(longer)):
        with pytest.raises(IdentityInvalid, match="1024 in DynamoDB"):
            await call


async def test_a_state_store_in_the_same_table_forgets_only_its_own(store: DynamoDBStore, name: str) -> None:
    state: DynamoDBState
    async with state_at("dynamodb", dynamodb_url(), name) as state:
        await store.put(ME, MemoryEntry("one", 1))
        await state.compare_and_set(StateKey(ME, "kind", "name"), None, 1)
        assert await state.forget(MemoryIdentity("acme"), descendants=True) == 1
        assert await store.forget(MemoryIdentity("acme"), descendants=True) == 1


async def test_an_item_changed_by_others_is_corrupt_and_the_rest_reads(store: DynamoDBStore) -> None:
    await store.put_many(ME, [MemoryEntry("bad", 1), MemoryEntry("good", 2)])
    (item,) = [each for each in items_of(store) if each["sk"]["S"].endswith("#entry#bad")]
    for broken in ("{", "[1]"):
        client: Any = store._table._client
        client.put_item(TableName=store._table._name, Item={**item, "valueJson": {"S": broken}})
        with pytest.raises(StoreCorrupt, match="the memory entry 'bad'"):
            await store.get(ME, "bad")
    good = await store.get(ME, "good")
    assert good is not None
    assert good.value == 2


async def test_a_table_that_is_not_there_is_told_with_what_to_do() -> None:
    async with memory_at("dynamodb", dynamodb_url(), "no-memory") as store:
        with pytest.raises(StoreError, match="create_table"):
            await store.get(ME, "one")
        await store.create_table()
        await store.create_table()
        assert await store.put(ME, MemoryEntry("one", 1)) is not None


async def test_a_client_of_ones_own_is_left_open(store: DynamoDBStore) -> None:
    client: Any = store._table._client
    async with DynamoDBStore(store._table._name, client=client) as other:
        await other.put(ME, MemoryEntry("one", 1))
    with pytest.raises(StoreUnavailable, match="closed"):
        await other.get(ME, "one")
    assert await store.get(ME, "one") is not None
