from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Sequence
from typing import Any

import boto3
import pytest

from agentfootprint.errors import (
    ConfigurationError,
    IdentityInvalid,
    InputInvalid,
    StoreError,
    StoreUnavailable,
    UnsupportedValue,
)
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import (
    AgentCoreStore,
    ExtractingAgentCoreStore,
    MemoryEntry,
    MemoryStore,
    SearchableStore,
    TextSearch,
)
from tests.servers.agentcore import MEMORY, AgentCore
from tests.servers.databases import free_port
from tests.servers.json_server import Refused

ME = MemoryIdentity("acme", "alice", "t-1")
ALICE = MemoryIdentity("acme", "alice")
SECRET = "s3ntinel-8f21c7"
RECORDS = "/strategies/s/actors/{actorId}/"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.fixture
async def server() -> AsyncIterator[AgentCore]:
    async with AgentCore() as each:
        yield each


@pytest.fixture
async def store(server: AgentCore) -> AsyncIterator[AgentCoreStore]:
    async with AgentCoreStore(MEMORY, endpoint_url=server.url) as each:
        yield each


@pytest.fixture
async def extracting(server: AgentCore) -> AsyncIterator[ExtractingAgentCoreStore]:
    def said(entry: MemoryEntry) -> Sequence[tuple[Any, str]]:
        return [("USER", entry.value)] if entry.value else []

    async with ExtractingAgentCoreStore(
        MEMORY, records=RECORDS, extract=said, endpoint_url=server.url
    ) as each:
        yield each


async def test_it_is_a_store_that_neither_compares_nor_searches(store: AgentCoreStore) -> None:
    assert isinstance(store, MemoryStore)
    assert not isinstance(store, (SearchableStore, TextSearch))
    assert store.durable
    assert store.profile == "log"


async def test_tenant_and_principal_are_the_actor_and_the_conversation_its_session(
    store: AgentCoreStore, server: AgentCore
) -> None:
    for identity in (ME, MemoryIdentity(), MemoryIdentity("", "~", "a_b")):
        await store.put(identity, MemoryEntry("a", 1))
    assert set(server.memory.sessions) == {
        ("tacme__alice__", "ct-1"),
        ("t_n___n__", "c_n"),
        ("t___7E__", "ca_5Fb"),
    }


async def test_a_replaced_entry_is_one_event_in_the_end(store: AgentCoreStore, server: AgentCore) -> None:
    await asyncio.gather(*(store.put(ME, MemoryEntry("a", number)) for number in range(5)))
    last = await store.put(ME, MemoryEntry("a", "last"))
    (events,) = server.memory.sessions.values()
    assert list(events) == [last.version]
    assert await store.get(ME, "a") == last


async def test_two_events_of_an_entry_count_once_and_the_newer_is_read(
    store: AgentCoreStore, server: AgentCore
) -> None:
    await store.put(ME, MemoryEntry("a", 1))
    (events,) = server.memory.sessions.values()
    kept = dict(events)
    await store.put(ME, MemoryEntry("a", 2))
    events |= kept
    assert [entry.value for entry in (await store.list(ME)).entries] == [2]
    assert await store.forget(ME) == 1
    assert events == {}


async def test_events_of_others_are_no_entries_and_forget_takes_them_along(
    store: AgentCoreStore, server: AgentCore
) -> None:
    await store.put(ME, MemoryEntry("a", 1))
    client = boto3.client("bedrock-agentcore", endpoint_url=server.url)
    text = {"conversational": {"role": "USER", "content": {"text": "hello"}}}
    await asyncio.to_thread(
        client.create_event,
        memoryId=MEMORY,
        actorId="tacme__alice__",
        sessionId="ct-1",
        eventTimestamp=0,
        payload=[text],
    )
    client.close()
    assert [entry.id for entry in (await store.list(ME)).entries] == ["a"]
    assert await store.forget(ALICE, descendants=True) == 1
    assert list(server.memory.sessions.values()) == [{}]


async def test_an_answer_that_was_lost_makes_no_second_event(
    store: AgentCoreStore, server: AgentCore
) -> None:
    server.cut = ["/events"]
    stored = await store.put(ME, MemoryEntry("a", 1))
    (events,) = server.memory.sessions.values()
    assert list(events) == [stored.version]
    server.cut = ["/ct-1"]
    assert (await store.list(ME)).entries == (stored,)
    assert server.cut == []


async def test_limits_are_told_by_name(store: AgentCoreStore, server: AgentCore) -> None:
    with pytest.raises(UnsupportedValue, match=r"'big' takes .* at most 100000"):
        await store.put(ME, MemoryEntry("big", "x" * 100_000))
    with pytest.raises(IdentityInvalid, match="tenant and principal make an id of 256"):
        await store.get(MemoryIdentity("a" * 251, ""), "a")
    with pytest.raises(IdentityInvalid, match="conversation_id make an id of 101"):
        await store.get(MemoryIdentity("a", "b", "c" * 100), "a")
    await store.put(MemoryIdentity("a" * 250, "", "c" * 99), MemoryEntry("a", 1))
    assert len(server.memory.sessions) == 1


async def test_what_goes_wrong_is_told_by_name_and_without_secrets(
    store: AgentCoreStore, server: AgentCore
) -> None:
    told: list[BaseException] = []
    async with AgentCoreStore("other-0123456789", endpoint_url=server.url) as other:
        assert await other.get(ME, "a") is None
        with pytest.raises(StoreError, match="does not exist") as caught:
            await other.put(ME, MemoryEntry("a", 1))
        told.append(caught.value)
    server.refusals = [Refused(403, {"message": "no"}, {"x-amzn-errortype": "AccessDeniedException"})]
    with pytest.raises(StoreError, match=r"refused list_events \(AccessDeniedException\)") as caught:
        await store.list(ME)
    told.append(caught.value)
    server.refusals = [Refused(429, {}, {"x-amzn-errortype": "ThrottledException"}) for _ in range(2)]
    with pytest.raises(StoreUnavailable, match="throttled"):
        await store.list(ME)
    async with AgentCoreStore(MEMORY, endpoint_url=f"http://127.0.0.1:{free_port()}") as away:
        with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
            await away.list(ME)
        told.append(caught.value)
    assert all(error.__context__ is None for error in told)
    assert SECRET not in "".join("".join(traceback.format_exception(error)) for error in told)


async def test_what_agentcore_extracts_is_found_by_its_text(extracting: ExtractingAgentCoreStore) -> None:
    assert isinstance(extracting, TextSearch)
    await extracting.put(ME, MemoryEntry("a", "I live in Oslo"))
    await extracting.put(ME, MemoryEntry("b", "My cat is called Mia"))
    await extracting.put(MemoryIdentity("acme", "bob"), MemoryEntry("a", "I live in Rome"))
    found = await extracting.search_text(ALICE, "live where", k=1)
    assert [(match.entry.value, match.score) for match in found] == [("I live in Oslo", 0.5)]
    assert await extracting.search_text(MemoryIdentity("acme"), "live") == []
    for query, k in (("", 1), ("x" * 10_001, 1), ("a", 0)):
        with pytest.raises(InputInvalid):
            await extracting.search_text(ALICE, query, k=k)
    with pytest.raises(InputInvalid, match="of a principal"):
        await extracting.search_text(ME, "live")


async def test_nothing_is_extracted_from_what_says_nothing(
    store: AgentCoreStore, extracting: ExtractingAgentCoreStore, server: AgentCore
) -> None:
    await store.put(ME, MemoryEntry("a", "I live in Oslo"))
    await extracting.put(ME, MemoryEntry("b", ""))
    assert server.memory.records == {}


async def test_forget_deletes_what_was_extracted(
    extracting: ExtractingAgentCoreStore, server: AgentCore
) -> None:
    bob = MemoryIdentity("acme", "bob", "t-1")
    for identity in (ME, bob, MemoryIdentity("acme2", "alice")):
        await extracting.put_many(identity, [MemoryEntry(str(n), f"text {n}") for n in range(120)])
    assert await extracting.forget(ME) == 120
    assert len(server.memory.records) == 360, "records of an actor do not say of which session they are"
    assert await extracting.forget(ALICE, descendants=True) == 0
    assert len(server.memory.records) == 240
    assert await extracting.forget(MemoryIdentity("acme"), descendants=True) == 120
    assert len(server.memory.records) == 120


def test_records_that_could_be_anyones_are_refused() -> None:
    for records in ("/facts/", "/strategies/{memoryStrategyId}/actors/{actorId}/", "/*/{actorId}/"):
        with pytest.raises(ConfigurationError, match="anyone's"):
            ExtractingAgentCoreStore(MEMORY, records=records, extract=lambda entry: [])
