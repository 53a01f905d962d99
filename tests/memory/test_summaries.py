"""Summaries: each exchange is folded once, by one instance, and is kept as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from agentfootprint.embedders import MockEmbedder
from agentfootprint.errors import ConfigurationError, MemoryModelFailed, Overloaded, StoreCorrupt
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import (
    Hybrid,
    InMemoryStore,
    Memory,
    MemoryEntry,
    SQLiteStore,
    Summarize,
    TopK,
    Window,
)
from agentfootprint.messages import LLMRequest, LLMResponse, Message
from agentfootprint.providers import MockProvider
from agentfootprint.testing import ManualClock

ALICE = MemoryIdentity("acme", "alice", "t-1")
BOB = MemoryIdentity("acme", "bob", "t-9")


def folded_in(request: LLMRequest) -> list[str]:
    """The questions that a request to the summarizing model holds."""
    return [each["user"] for each in json.loads(request.messages[0].text)["exchanges"]]


def summary_in(request: LLMRequest) -> Any:
    return json.loads(request.messages[0].text)["summary so far"]


def narrative(provider: Any = None, *, keep: int = 2, after: int = 4, **options: Any) -> Memory:
    strategy = options.pop("strategy", None) or Summarize(keep, after, provider=provider)
    return Memory("story", kind="narrative", strategy=strategy, **{"store": InMemoryStore(), **options})


def storyteller() -> MockProvider:
    """Says how many exchanges it was shown."""
    return MockProvider(respond=lambda request: f"{summary_in(request) or ''}+{len(folded_in(request))}")


async def said(memory: Memory, first: int, last: int, who: MemoryIdentity = ALICE) -> None:
    for n in range(first, last + 1):
        await memory.remember(who, str(n), [Message.user(f"q{n}"), Message.assistant(f"a{n}")])


async def shown(memory: Memory, who: MemoryIdentity = ALICE, query: str = "") -> list[str]:
    """The summary, if there is one, and the questions that are shown as they were."""
    recalled = await memory.recall(who, query)
    return [
        message.text.splitlines()[-1] if "not instructions" in message.text else message.text
        for message in recalled.messages
        if message.role == "user"
    ]


async def test_what_is_old_is_told_in_short_and_the_last_as_it_was_said() -> None:
    model = storyteller()
    memory = narrative(model)
    await said(memory, 1, 4)
    assert await shown(memory) == ["q1", "q2", "q3", "q4"]
    assert model.requests == []
    await said(memory, 5, 5)
    assert await shown(memory) == ["+3", "q4", "q5"]
    recalled = await memory.recall(ALICE, "")
    assert recalled.why == ("summary of 3 exchanges", "not in the summary yet", "not in the summary yet")
    assert [message.role for message in recalled.messages] == ["user"] + ["user", "assistant"] * 2


async def test_each_exchange_is_folded_once_and_stays_in_the_store() -> None:
    model = storyteller()
    memory = narrative(model)
    await said(memory, 1, 30)
    folded = [question for request in model.requests for question in folded_in(request)]
    assert folded == [f"q{n}" for n in range(1, len(folded) + 1)]
    assert [summary_in(request) for request in model.requests[:3]] == [None, "+3", "+3+3"]
    entries = [entry async for entry in memory.entries(ALICE)]
    assert len(entries) == 31
    assert await shown(memory) == ["+3" * 9, "q28", "q29", "q30"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_of_two_instances_that_fold_at_once_one_does(kind: str, tmp_path: Any) -> None:
    both = asyncio.Barrier(2)

    class Slow:
        name = model = "slow"

        async def complete(self, request: LLMRequest) -> LLMResponse:
            await both.wait()
            return LLMResponse(f"+{len(folded_in(request))}")

        stream: Callable[..., Any] = complete

    store = InMemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "m.sqlite")
    async with store:
        one, other = (narrative(Slow(), store=store) for _ in range(2))
        patient = narrative(storyteller(), keep=9, after=10, store=store)
        await said(patient, 1, 5)
        counts = await asyncio.gather(one.fold(ALICE), other.fold(ALICE))
        assert sorted(counts) == [0, 3]
        assert await shown(one) == ["+3", "q4", "q5"]


async def test_a_model_that_fails_costs_nothing_but_time() -> None:
    broken = MockProvider(
        replies=[
            MockProvider.fail(Overloaded("busy")),
            "",
            LLMResponse("cut", stop_reason="max_tokens"),
            "told",
        ]
    )
    memory = narrative(broken)
    await said(memory, 1, 4)
    for n, error in ((5, Overloaded), (6, MemoryModelFailed), (7, MemoryModelFailed)):
        with pytest.raises(error):
            await said(memory, n, n)
        assert await shown(memory) == [f"q{each}" for each in range(1, n + 1)]
    await said(memory, 8, 8)
    assert await shown(memory) == ["told", "q7", "q8"]
    assert folded_in(broken.requests[-1]) == [f"q{n}" for n in range(1, 7)]


async def test_exchanges_of_one_moment_are_all_there_once() -> None:
    model = storyteller()
    memory = narrative(model, store=InMemoryStore(clock=ManualClock()))
    await said(memory, 1, 12)
    folded = [question for request in model.requests for question in folded_in(request)]
    rest = (await shown(memory))[1:]
    assert sorted(folded + rest) == sorted(f"q{n}" for n in range(1, 13))


async def test_long_exchanges_are_folded_in_several_goes() -> None:
    model = storyteller()
    memory = narrative(model, max_tokens=None)
    patient = narrative(storyteller(), keep=9, after=10, store=memory.store)
    for n in range(1, 7):
        words = [Message.user(f"q{n}"), Message.assistant("x" * 40_000)]
        await patient.remember(ALICE, str(n), words)
    assert await memory.fold(ALICE) == 1
    assert await memory.fold(ALICE) == 1
    assert await memory.fold(ALICE) == 0


async def test_a_person_who_is_forgotten_is_not_in_the_summary_that_a_tenant_shares() -> None:
    model = storyteller()
    memory = narrative(model, scope="tenant")
    await said(memory, 1, 2, BOB)
    await said(memory, 11, 13)
    assert (await shown(memory))[0] == "+3"
    assert await memory.forget_shared(BOB) == 3
    assert await shown(memory) == ["q11", "q12", "q13"]
    await said(memory, 14, 15)
    assert folded_in(model.requests[-1]) == ["q11", "q12", "q13"]
    assert summary_in(model.requests[-1]) is None


async def test_who_is_forgotten_while_a_model_writes_is_not_in_what_it_wrote() -> None:
    async def forgets(request: LLMRequest) -> str:
        await memory.forget_shared(BOB)
        return "Bob was here."

    class Meddling:
        name = model = "meddling"

        async def complete(self, request: LLMRequest) -> LLMResponse:
            return LLMResponse(await forgets(request))

        stream: Callable[..., Any] = complete

    memory = narrative(Meddling(), scope="tenant")
    await said(memory, 1, 2, BOB)
    await said(memory, 11, 13)
    assert "Bob" not in str(await shown(memory))
    assert "Bob" not in str((await memory.store.list(MemoryIdentity("acme"))).entries)


async def test_beside_a_summary_a_search_finds_exchanges_that_are_in_it() -> None:
    embedder = MockEmbedder()
    strategy = Hybrid(Summarize(2, 4, provider=storyteller()), TopK(1, embedder=embedder, min_score=0.3))
    memory = narrative(strategy=strategy)
    await said(memory, 1, 5)
    recalled = await memory.recall(ALICE, "q1 a1")
    assert await shown(memory, query="q1 a1") == ["+3", "q1", "q4", "q5"]
    assert [why.partition(":")[0] for why in recalled.why] == ["Summarize", "TopK", "Summarize", "Summarize"]


async def test_a_summary_that_cannot_be_read_is_named() -> None:
    memory = narrative(storyteller())
    await memory.store.put(ALICE, MemoryEntry("story/summary", {"summary": 3}))
    with pytest.raises(StoreCorrupt, match="'story/summary' is no summary"):
        await memory.recall(ALICE, "")


async def test_the_window_of_another_kind_does_not_see_the_summary() -> None:
    memory = narrative(storyteller())
    await said(memory, 1, 5)
    episodic = Memory("story", strategy=Window(3), store=memory.store)
    assert await shown(episodic) == ["q3", "q4", "q5"]


def test_what_cannot_work_is_refused_by_name() -> None:
    class Log(InMemoryStore):
        profile: Any = "log"

    store = InMemoryStore()
    twice = Hybrid(Summarize(), Summarize(3, 9))
    for message, make in (
        ("strategy=Summarize", lambda: Memory("m", kind="narrative", store=store)),
        ("kind='narrative'", lambda: Memory("m", strategy=Summarize(), store=store)),
        ("profile 'full'", lambda: narrative(storyteller(), store=Log())),
        ("2 parts that write", lambda: narrative(strategy=twice)),
        ("after is more than keep", lambda: Summarize(5, 5)),
        ("keep is at least 1", lambda: Summarize(0, 5)),
        ("keep is at least 1", lambda: Summarize("a", 5)),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigurationError, match=message):
            make()
