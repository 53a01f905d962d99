"""Memory stores on servers: broken connections, several processes, what they keep without a search."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from agentfootprint.embedders import Embedding
from agentfootprint.errors import StoreUnavailable
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import MemoryEntry, MemoryStore
from tests.servers.proxy import Proxy
from tests.servers.stores import memory_at, place

ME = MemoryIdentity("acme", "alice", "t-1")

on_servers = pytest.mark.parametrize("kind", ["redis", "dynamodb"])


@pytest.fixture
async def store(kind: str, tmp_path: Path) -> AsyncIterator[Any]:
    async with place(kind, tmp_path) as where, memory_at(*where) as made:
        yield made


@pytest.fixture
async def proxied(kind: str, tmp_path: Path) -> AsyncIterator[tuple[Any, Proxy]]:
    """A store that reaches its server through a proxy."""
    async with place(kind, tmp_path) as (_, address, name):
        parts = urlsplit(address)
        assert parts.port is not None
        async with Proxy(parts.port) as proxy:
            through = urlunsplit(parts._replace(netloc=f"127.0.0.1:{proxy.port}"))
            async with memory_at(kind, through, name) as made:
                yield made, proxy


@on_servers
async def test_it_is_a_durable_memory_store(store: Any) -> None:
    assert isinstance(store, MemoryStore)
    assert store.durable


@on_servers
async def test_embeddings_are_kept_to_the_bit_and_may_be_of_any_embedder(store: Any) -> None:
    one, other = Embedding.of([1.5, -2e-30, 0.1], "one@3"), Embedding.of([7.0], "other@1")
    stored = await store.put(ME, MemoryEntry("a", 1, embedding=one))
    assert stored.embedding == one
    await store.put_many(ME, [MemoryEntry("b", 2, embedding=other), MemoryEntry("c", 3)])
    assert (await store.get(ME, "a")).embedding == one
    assert [entry.embedding for entry in (await store.list(ME)).entries] == [None, other, one]
    await store.put(ME, MemoryEntry("a", 1))
    assert (await store.get(ME, "a")).embedding is None


@on_servers
async def test_times_come_back_to_the_bit_and_order_at_any_size(store: Any) -> None:
    times = [-1e300, -1.5, -0.0, 5e-324, 0.1 + 0.2, 1790000000.1234567, 2.0**53 + 2, 1e300]
    for number, created in enumerate(times):
        await store.put(ME, MemoryEntry(str(number), 0, created=created, expires=abs(created) + 1e10))
    found = (await store.list(ME)).entries
    assert [entry.created for entry in found] == times[::-1]
    assert [entry.expires for entry in found] == [abs(created) + 1e10 for created in times[::-1]]


@on_servers
async def test_many_entries_of_one_time_are_paged_without_a_gap(store: Any) -> None:
    for start in range(0, 60, 20):
        batch = [MemoryEntry(str(number), number, created=5.0) for number in range(start, start + 20)]
        await store.put_many(ME, batch)
    seen: list[int] = []
    page = await store.list(ME, limit=7)
    while True:
        seen += [entry.value for entry in page.entries]
        if page.cursor is None:
            break
        await store.delete(ME, str(seen[-1]))  # The very entry that the cursor stands behind.
        page = await store.list(ME, limit=7, cursor=page.cursor)
    assert seen == list(range(60))[::-1]


@on_servers
async def test_connections_that_were_cut_cost_a_retry_and_no_turn(
    kind: str, proxied: tuple[Any, Proxy]
) -> None:
    store, proxy = proxied
    for turn in range(5):
        proxy.cut()
        await store.put_many(ME, [MemoryEntry(f"{turn} asked", turn), MemoryEntry(f"{turn} said", turn)])
        proxy.cut()
        assert len((await store.list(ME)).entries) == 2 * (turn + 1)
        proxy.cut()
        assert await store.get(ME, f"{turn} said") is not None


@on_servers
async def test_the_outcome_of_a_put_is_found_out_when_its_answer_is_lost(proxied: tuple[Any, Proxy]) -> None:
    store, proxy = proxied
    first = written = await store.put(ME, MemoryEntry("one", "first"))
    for number in range(4):  # Whichever of the answers of one put.
        current = await store.get(ME, "one")
        proxy.swallow_answers(times=1)
        written = await store.put(ME, MemoryEntry("one", number), expected=current.version)
        proxy.heal()
        assert written is not None
        assert await store.get(ME, "one") == written
        assert written.created == first.created
    proxy.swallow_answers(times=1)
    many = await store.put_many(ME, [MemoryEntry(str(number), number) for number in range(5)])
    assert list((await store.list(ME)).entries) == [*many[::-1], written]


@on_servers
async def test_a_server_that_is_away_is_named_and_used_again_when_it_is_back(
    proxied: tuple[Any, Proxy],
) -> None:
    store, proxy = proxied
    written = await store.put(ME, MemoryEntry("one", 1))
    await proxy.close()
    calls = (
        store.get(ME, "one"),
        store.put(ME, written),
        store.list(ME),
        store.delete(ME, "one"),
        store.forget(ME),
    )
    for call in calls:
        with pytest.raises(StoreUnavailable, match=rf"127\.0\.0\.1:{proxy.port}"):
            await call
    await proxy.listen()
    found = None
    async with asyncio.timeout(20):
        while found is None:
            with contextlib.suppress(StoreUnavailable):
                found = await store.get(ME, "one")
    assert found == written


@on_servers
async def test_one_store_serves_several_event_loops(store: Any) -> None:
    await store.put(ME, MemoryEntry("here", 1))

    async def elsewhere() -> None:
        await store.put(ME, MemoryEntry("there", 1))

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert [entry.id for entry in (await store.list(ME)).entries] == ["there", "here"]


SCRIPT = """
import asyncio, sys
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import MemoryEntry
from tests.servers.stores import memory_at
kind, address, name, who = sys.argv[1:]
ME = MemoryIdentity("acme", "alice", "t-1")

async def main():
    async with memory_at(kind, address, name) as store:
        for turn in range(25):
            said = [MemoryEntry(f"{who} {turn} {part}", turn) for part in ("asked", "said")]
            await store.put_many(ME, said)
            while True:
                count = await store.get(ME, "count")
                version, value = (count.version, count.value) if count else ("", 0)
                if await store.put(ME, MemoryEntry("count", value + 1), expected=version):
                    break

asyncio.run(main())
"""


@on_servers
async def test_two_processes_that_write_one_conversation_lose_no_turn(kind: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    async with place(kind, tmp_path) as where:
        processes = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", SCRIPT, *where, who), stderr=asyncio.subprocess.PIPE, env=environment
            )
            for who in ("one", "two")
        ]
        for process in processes:
            _, told = await process.communicate()
            assert process.returncode == 0, told.decode()
        async with memory_at(*where) as store:
            entries = (await store.list(ME, limit=500)).entries
            count = await store.get(ME, "count")
        assert count is not None
        assert count.value == 50
        for who in ("one", "two"):
            mine = [entry.id for entry in entries if entry.id.startswith(who)]
            turns = [f"{who} {turn} {part}" for turn in range(25) for part in ("asked", "said")]
            assert mine == turns[::-1]
