"""What each strategy shows, what it refuses, and that all of it really runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agentfootprint import Agent
from agentfootprint.embedders import Embedding, MockEmbedder, Purpose
from agentfootprint.errors import ConfigurationError
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import (
    Budget,
    Chosen,
    Decay,
    Hybrid,
    InMemoryStore,
    Memory,
    MemoryStore,
    Recalled,
    Strategy,
    TopK,
    Window,
)
from agentfootprint.messages import Message
from agentfootprint.providers import MockProvider
from agentfootprint.testing import ManualClock

ALICE = MemoryIdentity("acme", "alice", "t-1")

SAID = (
    ("Where is my order A-1?", "Order A-1 left the warehouse."),
    ("Do you sell bananas?", "No fruit at all."),
    ("My order A-1 has not come.", "It comes on Friday."),
    ("What is your name?", "I am the desk."),
)


async def filled(strategy: Strategy | None, *, said: Sequence[tuple[str, str]] = SAID, **more: Any) -> Memory:
    """A memory in which one exchange was kept a minute."""
    clock = ManualClock()
    memory = Memory("chat", store=InMemoryStore(clock=clock), strategy=strategy, **more)
    for number, (question, answer) in enumerate(said):
        await memory.remember(ALICE, str(number), [Message.user(question), Message.assistant(answer)])
        clock.advance(60)
    return memory


def questions(recalled: Recalled) -> list[str]:
    return [message.text for message in recalled.messages if message.role == "user"]


async def test_top_k_shows_what_is_like_the_question_oldest_first() -> None:
    embedder = MockEmbedder()
    memory = await filled(TopK(2, embedder=embedder, min_score=0.1))
    recalled = await memory.recall(ALICE, "Where does my order A-1 stay?")
    assert questions(recalled) == [SAID[0][0], SAID[2][0]]
    assert [message.role for message in recalled.messages] == ["user", "assistant"] * 2
    assert all(why.startswith("similarity 0.") for why in recalled.why)
    assert embedder.asked == [*("\n".join(each) for each in SAID), "Where does my order A-1 stay?"]


async def test_top_k_shows_nothing_rather_than_what_is_weak() -> None:
    memory = await filled(TopK(2, embedder=MockEmbedder(), min_score=0.9))
    assert (await memory.recall(ALICE, "Something else entirely")).entries == ()


async def test_memories_that_share_a_store_find_their_own() -> None:
    embedder, store = MockEmbedder(), InMemoryStore()
    one, other = (Memory(name, store=store, strategy=TopK(embedder=embedder)) for name in ("one", "other"))
    await one.remember(ALICE, "1", [Message.user("My order"), Message.assistant("It is there.")])
    assert questions(await one.recall(ALICE, "My order")) == ["My order"]
    assert questions(await other.recall(ALICE, "My order")) == []


async def test_turns_of_the_conversation_that_goes_on_anyway_are_left_out() -> None:
    memory = Memory(
        "chat", scope="principal", store=InMemoryStore(), strategy=TopK(embedder=MockEmbedder(), min_score=0)
    )
    for conversation in ("t-1", "t-2"):
        who = MemoryIdentity("acme", "alice", conversation)
        await memory.remember(who, "1", [Message.user(f"order {conversation}"), Message.assistant("Yes.")])
    assert len((await memory.recall(ALICE, "order")).entries) == 2
    assert questions(await memory.recall(ALICE, "order", beside=True)) == ["order t-2"]


async def test_a_budget_shows_the_last_exchanges_that_fit() -> None:
    said = [(f"question {number} " + "x" * 380, "y" * 400) for number in range(5)]
    memory = await filled(Budget(450), said=said)
    recalled = await memory.recall(ALICE, "")
    assert [text[:10] for text in questions(recalled)] == ["question 3", "question 4"]
    assert recalled.why == ("among the last 450 tokens",) * 2
    assert (await (await filled(Budget(10), said=said)).recall(ALICE, "")).entries == ()


async def test_what_is_old_counts_for_less() -> None:
    clock = ManualClock()
    said = [("my order came late", "yes"), ("my order came", "yes")]
    strategy = Decay(1, embedder=MockEmbedder(), half_life=60, min_score=0.01, clock=clock)
    store = InMemoryStore(clock=clock)
    memory = Memory("chat", store=store, strategy=strategy)
    for number, (question, answer) in enumerate(said):
        await memory.remember(ALICE, str(number), [Message.user(question), Message.assistant(answer)])
        clock.advance(60)
    recalled = await memory.recall(ALICE, "my order came late")
    assert questions(recalled) == ["my order came"]
    assert "at its age" in recalled.why[0]
    clock.advance(3600)
    assert (await memory.recall(ALICE, "my order came late")).entries == ()


@dataclass(frozen=True)
class Counting:
    """A strategy that counts how often it is asked."""

    inner: Strategy
    asked: list[str]

    def check(self, memory: Memory) -> None:
        self.inner.check(memory)

    async def recall(self, *args: Any, **kwargs: Any) -> Sequence[Chosen]:
        self.asked.append(args[2])
        return await self.inner.recall(*args, **kwargs)


async def test_all_of_a_hybrid_runs_and_says_what_each_gave() -> None:
    counts: list[list[str]] = [[], [], []]
    embedder = MockEmbedder()
    found = TopK(1, embedder=embedder, min_score=0.1)
    parts: list[Strategy] = [Counting(Window(1), counts[0]), Counting(Budget(20), counts[1]), found]
    memory = await filled(Hybrid(*parts))
    recalled = await memory.recall(ALICE, "bananas?")
    assert counts == [["bananas?"], ["bananas?"], []]
    assert questions(recalled) == [SAID[1][0], SAID[2][0], SAID[3][0]]
    assert recalled.why[0].startswith("TopK: similarity 0.")
    assert recalled.why[2] == "Counting: one of the last 1; Counting: among the last 20 tokens"
    assert len({entry.id for entry in recalled.entries}) == 3


async def test_the_least_important_is_left_out_beyond_the_limit_of_tokens() -> None:
    strategy = TopK(4, embedder=MockEmbedder(), min_score=-1)
    memory = await filled(strategy, max_tokens=15)
    assert questions(await memory.recall(ALICE, SAID[0][0])) == [SAID[0][0]]
    unlimited = await filled(strategy, max_tokens=None)
    assert len((await unlimited.recall(ALICE, SAID[0][0])).entries) == 4


WRONG: Any = "a name"


class Unsearchable:
    """A store that cannot search."""

    durable = False
    profile = "full"

    def __init__(self) -> None:
        inner = InMemoryStore()
        for name in ("put", "put_many", "get", "list", "delete", "forget", "aclose"):
            setattr(self, name, getattr(inner, name))


class Narrow:
    fingerprint, dimensions = "narrow@8", 8

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> list[Embedding]:
        return [Embedding.of([1.0] * 8, self.fingerprint) for _ in texts]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Window(0), "Window"),
        (lambda: Budget(0), "Budget"),
        (lambda: TopK(0, embedder=MockEmbedder()), "k must be at least 1"),
        (lambda: TopK(embedder=WRONG), "MockEmbedder"),
        (lambda: TopK(embedder=MockEmbedder(), min_score=2), "min_score"),
        (lambda: Decay(embedder=MockEmbedder(), half_life=0), "half_life"),
        (lambda: Hybrid(Window()), "two strategies"),
        (lambda: Hybrid(Window(), WRONG), "two strategies"),
        (lambda: Hybrid(TopK(embedder=MockEmbedder()), TopK(embedder=Narrow())), "mock@256 and narrow@8"),
        (lambda: Memory("m", store=InMemoryStore(), max_tokens=0), "max_tokens"),
        (lambda: Memory("m", store=InMemoryStore(), strategy=WRONG), "Window"),
    ],
)
def test_what_cannot_work_is_refused_by_name(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        make()


@pytest.mark.parametrize(
    "strategy",
    [
        TopK(embedder=MockEmbedder()),
        Decay(embedder=MockEmbedder(), half_life=60),
        Hybrid(Window(), TopK(embedder=MockEmbedder())),
    ],
)
def test_a_store_that_cannot_search_is_refused_at_build(strategy: Strategy) -> None:
    store: Any = Unsearchable()
    assert isinstance(store, MemoryStore)
    with pytest.raises(ConfigurationError, match=r"'m': (TopK|Decay) searches, and Unsearchable does not"):
        Memory("m", store=store, strategy=strategy)


async def test_a_run_says_where_what_it_was_shown_is_from() -> None:
    memory = Memory(
        "facts", scope="principal", store=InMemoryStore(), strategy=TopK(1, embedder=MockEmbedder())
    )
    agent = Agent(MockProvider(reply="It is there."), memory=[memory])
    first = await agent.run("Where is my order A-1?", identity=ALICE)
    second = await agent.run("And my order A-1?", identity=MemoryIdentity("acme", "alice", "t-2"))
    [call] = [call for step in second.footprint.steps for call in step.calls if call.name == "recall"]
    [source] = call.result.sources
    assert source.why.startswith("similarity 0.")
    assert [message.text for message in call.result.messages] == ["Where is my order A-1?", first.output]
    entry = await memory.store.get(MemoryIdentity("acme", "alice"), source.entry)
    assert entry is not None
    assert entry.version == source.version
