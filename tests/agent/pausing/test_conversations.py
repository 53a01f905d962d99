"""Conversations in a state store: continued, one turn at a time, none lost, never somebody else's."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.agent import conversation as conversation_module
from agentfootprint.agent.conversation import LEASE_SECONDS
from agentfootprint.errors import (
    ConversationBusy,
    ConversationPaused,
    IdentityRequired,
    InputInvalid,
    StoreUnavailable,
)
from agentfootprint.events import ConversationFailed, ConversationSaved, HistoryHealed
from agentfootprint.memory import InMemoryStore, Memory, SQLiteStore
from agentfootprint.messages import LLMRequest, LLMResponse, Message, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState, SQLiteState, StateKey
from agentfootprint.testing.clock import ManualClock

from .support import ALICE, Other, assert_whole, call, go_on, must_pause, output_of, plain, run_other


def echo(request: LLMRequest) -> str:
    return f"You said {request.messages[-1].text}."


def agent_of(state: Any = None, **options: Any) -> Agent[Any, Any]:
    return Agent(options.pop("provider", None) or MockProvider(respond=echo), state=state, **options)


def said(result: Any) -> list[str]:
    return [message.text for message in result.messages if message.role == "user"]


class Held:
    """A model that answers when it is let go."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.provider = MockProvider(respond=self._respond)

    async def _respond(self, request: LLMRequest) -> str:
        self.asked.set()
        await self.go.wait()
        return echo(request)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The time as leases see it."""
    clock = ManualClock()
    fake = SimpleNamespace(time=clock, monotonic=time.monotonic)
    monkeypatch.setattr(conversation_module, "time", fake)
    return clock


# ── going on ────────────────────────────────────────────────────────────────────────────────────


async def test_a_turn_sees_the_turns_before_it() -> None:
    agent = agent_of(InMemoryState())
    await agent.run("one", identity=ALICE)
    second = await agent.run("two", identity=ALICE)
    assert [message.text for message in second.messages] == [
        "one",
        "You said one.",
        "two",
        "You said two.",
    ]
    assert isinstance(agent.provider, MockProvider)
    assert [len(request.messages) for request in agent.provider.requests] == [1, 3]


async def test_tool_calls_and_results_are_part_of_the_conversation() -> None:
    @tool
    async def look(n: int) -> str:
        return f"saw {n}"

    provider = MockProvider(replies=[["Well,", call("look", n=1), call("look", n=2)], "done", "and?"])
    state = InMemoryState()
    first = await agent_of(state, provider=provider, tools=[look]).run("one", identity=ALICE)
    second = await agent_of(state, provider=provider).run("two", identity=ALICE)
    assert plain(second.messages)[: len(first.messages)] == plain(first.messages)
    assert_whole(provider.requests[-1].messages)


async def test_a_fresh_run_neither_reads_nor_joins_the_conversation() -> None:
    agent = agent_of(InMemoryState())
    await agent.run("one", identity=ALICE)
    assert said(await agent.run("aside", identity=ALICE, fresh=True)) == ["aside"]
    assert said(await agent.run("two", identity=ALICE)) == ["one", "two"]


async def test_a_fresh_run_does_not_wait_for_the_conversation() -> None:
    held, state = Held(), InMemoryState()
    running = asyncio.ensure_future(agent_of(state, provider=held.provider).run("slow", identity=ALICE))
    await held.asked.wait()
    assert said(await agent_of(state).run("aside", identity=ALICE, fresh=True)) == ["aside"]
    held.go.set()
    await running


@pytest.mark.parametrize("identity", [None, MemoryIdentity("acme", "alice"), MemoryIdentity("acme")])
async def test_without_a_conversation_in_the_identity_nothing_is_continued(
    identity: MemoryIdentity | None,
) -> None:
    agent = agent_of(InMemoryState())
    await agent.run("one", identity=identity)
    assert said(await agent.run("two", identity=identity)) == ["two"]


async def test_without_a_state_store_nothing_is_continued() -> None:
    agent = agent_of()
    await agent.run("one", identity=ALICE)
    assert said(await agent.run("two", identity=ALICE)) == ["two"]


@pytest.mark.parametrize("durable", [False, True])
async def test_fresh_agents_turn_by_turn_leave_every_turn_in_order(durable: bool, tmp_path: Path) -> None:
    state: Any = InMemoryState()
    turns = 12
    for n in range(turns):
        if durable:
            state = SQLiteState(tmp_path / "state.db")
        result = await agent_of(state).run(f"turn {n}", identity=ALICE)
        assert said(result) == [f"turn {m}" for m in range(n + 1)]
        if durable and n < turns - 1:
            await state.aclose()
    log = await state.read(StateKey(ALICE, "conversation", "turns"))
    assert [entry.value["messages"][0]["parts"][0]["text"] for entry in log] == [
        f"turn {n}" for n in range(turns)
    ]
    head = await state.get(StateKey(ALICE, "conversation", "head"))
    assert head.value == {"turns": turns, "last": log[-1].sequence}
    await state.aclose()


async def test_what_was_saved_is_told() -> None:
    saved: list[int] = []
    agent = agent_of(InMemoryState())
    agent.on(ConversationSaved, lambda event: saved.append(event.turn))
    for n in range(3):
        await agent.run(f"turn {n}", identity=ALICE)
    assert saved == [1, 2, 3]


# ── one at a time ───────────────────────────────────────────────────────────────────────────────


async def test_of_two_turns_at_once_one_is_refused_before_it_starts() -> None:
    held, state = Held(), InMemoryState()
    running = asyncio.ensure_future(agent_of(state, provider=held.provider).run("first", identity=ALICE))
    await held.asked.wait()
    second = agent_of(state)
    with pytest.raises(ConversationBusy, match="busy_timeout="):
        await second.run("second", identity=ALICE)
    assert isinstance(second.provider, MockProvider)
    assert second.provider.requests == []
    held.go.set()
    assert output_of(await running) == "You said first."
    assert said(await second.run("third", identity=ALICE)) == ["first", "third"]


async def test_a_turn_that_waits_lands_behind_the_one_before() -> None:
    held, state = Held(), InMemoryState()
    running = asyncio.ensure_future(agent_of(state, provider=held.provider).run("first", identity=ALICE))
    await held.asked.wait()
    waiting = asyncio.ensure_future(agent_of(state).run("second", identity=ALICE, busy_timeout=30))
    await asyncio.sleep(0)
    held.go.set()
    await running
    assert said(await waiting) == ["first", "second"]


async def test_turns_that_wait_all_land_and_none_is_lost() -> None:
    state = InMemoryState()
    names = [f"turn {n}" for n in range(8)]
    await asyncio.gather(*(agent_of(state).run(name, identity=ALICE, busy_timeout=60) for name in names))
    last = await agent_of(state).run("last", identity=ALICE)
    assert sorted(said(last)) == sorted([*names, "last"])
    assert [m.role for m in last.messages] == ["user", "assistant"] * 9


async def test_waiting_ends_when_the_time_is_over() -> None:
    held, state = Held(), InMemoryState()
    running = asyncio.ensure_future(agent_of(state, provider=held.provider).run("first", identity=ALICE))
    await held.asked.wait()
    with pytest.raises(ConversationBusy):
        await agent_of(state).run("second", identity=ALICE, busy_timeout=0.06)
    held.go.set()
    await running


async def test_other_conversations_of_the_same_person_do_not_wait() -> None:
    held, state = Held(), InMemoryState()
    running = asyncio.ensure_future(agent_of(state, provider=held.provider).run("first", identity=ALICE))
    await held.asked.wait()
    other = MemoryIdentity("acme", "alice", "t-2")
    assert said(await agent_of(state).run("elsewhere", identity=other)) == ["elsewhere"]
    held.go.set()
    await running


@pytest.mark.parametrize("ends", ["well", "badly"])
async def test_a_turn_that_ended_lets_the_next_one_in(ends: str) -> None:
    state = InMemoryState()
    reply: Any = "done" if ends == "well" else MockProvider.fail(StoreUnavailable("odd"))
    agent = agent_of(state, provider=MockProvider(replies=[reply, "next"]))
    if ends == "well":
        await agent.run("one", identity=ALICE)
    else:
        with pytest.raises(StoreUnavailable):
            await agent.run("one", identity=ALICE)
    assert output_of(await agent.run("two", identity=ALICE)) == "next"


PROCESS = """
import asyncio, sys
from pathlib import Path
from agentfootprint import Agent, MemoryIdentity
from agentfootprint.providers import MockProvider
from agentfootprint.state import SQLiteState

HERE = Path(__file__).parent

async def main():
    name, turns = sys.argv[1], int(sys.argv[2])
    while not (HERE / "go").exists():
        await asyncio.sleep(0.002)
    async with SQLiteState(HERE / "state.db", timeout=60) as state:
        agent = Agent(MockProvider(reply="Yes."), state=state)
        identity = MemoryIdentity("acme", "alice", "t-1")
        for n in range(turns):
            await agent.run(f"{name} {n}", identity=identity, busy_timeout=60)
        print("done")

asyncio.run(main())
"""


async def test_turns_of_several_processes_all_land(tmp_path: Path) -> None:
    (tmp_path / "talk.py").write_text(PROCESS)
    others = [await Other.start(tmp_path, "talk.py", name, "5") for name in ("left", "right")]
    (tmp_path / "go").touch()
    assert [await other.output() for other in others] == ["done", "done"]
    async with SQLiteState(tmp_path / "state.db") as state:
        last = await agent_of(state).run("last", identity=ALICE)
    for name in ("left", "right"):
        assert [text for text in said(last) if text.startswith(name)] == [f"{name} {n}" for n in range(5)]
    assert [m.role for m in last.messages] == ["user", "assistant"] * 11


# ── a person is asked ───────────────────────────────────────────────────────────────────────────


class Asking:
    """An agent whose first turn waits for a person."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.state = InMemoryState()

        @tool(approval=True)
        async def pay() -> str:
            self.done.append("paid")
            return "paid"

        def respond(request: LLMRequest) -> Any:
            last = request.messages[-1]
            return call("pay") if last.text == "pay" else f"Yes, {last.text}."

        self.provider = MockProvider(respond=respond)
        self.agent = agent_of(self.state, provider=self.provider, tools=[pay])


async def test_a_new_message_does_not_slip_past_an_open_question() -> None:
    desk = Asking()
    paused = must_pause(await desk.agent.run("pay", identity=ALICE))
    with pytest.raises(ConversationPaused, match="abandon_paused=True"):
        await desk.agent.run("hello?", identity=ALICE, busy_timeout=10)
    assert output_of(await go_on(desk.agent, paused, True)) == "Yes, paid."
    after = await desk.agent.run("thanks", identity=ALICE)
    assert said(after) == ["pay", "thanks"]
    assert_whole(after.messages)
    assert desk.done == ["paid"]


async def test_an_open_question_can_be_given_up() -> None:
    desk = Asking()
    await desk.agent.run("before", identity=ALICE)
    must_pause(await desk.agent.run("pay", identity=ALICE))
    after = await desk.agent.run("never mind", identity=ALICE, abandon_paused=True)
    assert said(after) == ["before", "never mind"]
    assert said(await desk.agent.run("next", identity=ALICE)) == ["before", "never mind", "next"]
    assert desk.done == []


async def test_a_question_asked_in_a_fresh_run_holds_nobody_up() -> None:
    desk = Asking()
    paused = must_pause(await desk.agent.run("pay", identity=ALICE, fresh=True))
    assert said(await desk.agent.run("hello", identity=ALICE)) == ["hello"]
    assert output_of(await go_on(desk.agent, paused, True)) == "Yes, paid."
    assert said(await desk.agent.run("more", identity=ALICE)) == ["hello", "more"]


async def test_a_turn_that_pauses_twice_is_one_turn() -> None:
    desk = Asking()

    def respond(request: LLMRequest) -> Any:
        turn = sum(message.role == "assistant" for message in request.messages)
        return call("pay") if turn < 2 else "done"

    agent = desk.agent.replace(provider=MockProvider(respond=respond))
    second = must_pause(await go_on(agent, await agent.run("pay", identity=ALICE), True))
    with pytest.raises(ConversationPaused):
        await agent.run("hello?", identity=ALICE)
    result = await go_on(agent, second, True)
    head = await desk.state.get(StateKey(ALICE, "conversation", "head"))
    assert head is not None
    assert (output_of(result), head.value["turns"]) == ("done", 1)


# ── holders that vanish ─────────────────────────────────────────────────────────────────────────


async def test_after_a_crash_the_next_turn_gets_in_once_the_lease_is_over(clock: ManualClock) -> None:
    state = InMemoryState()
    await agent_of(state).run("one", identity=ALICE)
    crashed = agent_of(state)._conversation(ALICE, fresh=False)
    assert crashed is not None
    await crashed.begin("a run that dies")
    clock.advance(LEASE_SECONDS - 1)
    with pytest.raises(ConversationBusy):
        await agent_of(state).run("two", identity=ALICE)
    clock.advance(1)
    assert said(await agent_of(state).run("two", identity=ALICE)) == ["one", "two"]


async def test_a_killed_process_frees_its_conversation(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "die.py").write_text(
        PROCESS.replace(
            'MockProvider(reply="Yes.")',
            "MockProvider(respond=lambda asked: __import__('os').kill(__import__('os').getpid(), 9))",
        )
    )
    (tmp_path / "go").touch()
    await (await Other.start(tmp_path, "die.py", "killed", "1")).killed()
    async with SQLiteState(tmp_path / "state.db") as state:
        with pytest.raises(ConversationBusy):
            await agent_of(state).run("next", identity=ALICE)
        clock.advance(LEASE_SECONDS + 60)  # The process had a clock of its own, and took its time to start.
        assert said(await agent_of(state).run("next", identity=ALICE)) == ["next"]


async def test_a_holder_that_lost_its_lease_gives_its_answer_and_disturbs_nobody(clock: ManualClock) -> None:
    held, state = Held(), InMemoryState()
    await agent_of(state).run("zero", identity=ALICE)
    slow = agent_of(state, provider=held.provider)
    failed: list[str] = []
    slow.on(ConversationFailed, lambda event: failed.append(event.message))
    running = asyncio.ensure_future(slow.run("slow", identity=ALICE))
    await held.asked.wait()
    clock.advance(LEASE_SECONDS + 1)
    await agent_of(state).run("quick", identity=ALICE)
    held.go.set()
    assert output_of(await running) == "You said slow."
    assert len(failed) == 1
    assert "taken over by another turn" in failed[0]
    assert said(await agent_of(state).run("last", identity=ALICE)) == ["zero", "quick", "last"]


async def test_a_holder_that_lost_its_lease_does_not_end_the_turn_of_the_next_one(clock: ManualClock) -> None:
    state = InMemoryState()
    first, second = Held(), Held()
    one = asyncio.ensure_future(agent_of(state, provider=first.provider).run("one", identity=ALICE))
    await first.asked.wait()
    clock.advance(LEASE_SECONDS + 1)
    two = asyncio.ensure_future(agent_of(state, provider=second.provider).run("two", identity=ALICE))
    await second.asked.wait()
    first.go.set()
    await one
    with pytest.raises(ConversationBusy):
        await agent_of(state).run("three", identity=ALICE)
    second.go.set()
    await two
    assert said(await agent_of(state).run("three", identity=ALICE)) == ["two", "three"]


async def test_a_long_turn_keeps_its_lease(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(InMemoryState):
        renewed = asyncio.Event()

        async def compare_and_set(self, key: StateKey, expected: str | None, value: Any, **more: Any) -> Any:
            written = await super().compare_and_set(key, expected, value, **more)
            if value.get("lease") and value["lease"]["until"] > clock() + LEASE_SECONDS / 2:
                self.renewed.set()
            return written

    monkeypatch.setattr(conversation_module, "LEASE_SECONDS", 0.06)
    held, state = Held(), Watched()
    state.renewed.clear()
    running = asyncio.ensure_future(agent_of(state, provider=held.provider).run("long", identity=ALICE))
    await held.asked.wait()
    monkeypatch.setattr(conversation_module, "LEASE_SECONDS", LEASE_SECONDS)
    clock.advance(10)
    await state.renewed.wait()
    clock.advance(LEASE_SECONDS - 1)
    with pytest.raises(ConversationBusy):
        await agent_of(state).run("next", identity=ALICE)
    held.go.set()
    await running
    assert said(await agent_of(state).run("next", identity=ALICE)) == ["long", "next"]


# ── stores that fail ────────────────────────────────────────────────────────────────────────────


class Failing(InMemoryState):
    """A store that stops working when the model was asked."""

    def __init__(self, error: Exception, *, at: str) -> None:
        super().__init__()
        self.error = error
        self.at = at
        self.broken = False

    async def append(self, *args: Any, **more: Any) -> Any:
        if self.broken and self.at == "append":
            raise self.error
        return await super().append(*args, **more)

    async def compare_and_set(self, *args: Any, **more: Any) -> Any:
        if self.broken and self.at == "compare_and_set":
            raise self.error
        return await super().compare_and_set(*args, **more)


@pytest.mark.parametrize("at", ["append", "compare_and_set"])
@pytest.mark.parametrize("error", [StoreUnavailable("the disk is full"), OSError("unplugged")])
async def test_an_answer_that_cannot_be_saved_is_given_and_told(error: Exception, at: str) -> None:
    state = Failing(error, at=at)

    def respond(request: LLMRequest) -> str:
        state.broken = True
        return echo(request)

    agent = agent_of(state, provider=MockProvider(respond=respond))
    told: list[str] = []
    agent.on(ConversationFailed, lambda event: told.append(event.message))
    result = await agent.run("one", identity=ALICE)
    assert output_of(result) == "You said one."
    assert len(told) == 1
    assert str(error) in told[0]
    assert "The conversation could not be written" in result.footprint.narrative()


async def test_a_conversation_that_cannot_be_read_starts_nothing() -> None:
    class Unreadable(InMemoryState):
        async def read(self, *args: Any, **more: Any) -> Any:
            raise StoreUnavailable("the disk is gone")

    state = Unreadable()
    agent = agent_of(state)
    await agent.run("one", identity=ALICE)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await agent.run("two", identity=ALICE)
    assert isinstance(agent.provider, MockProvider)
    assert len(agent.provider.requests) == 1


# ── tenants ─────────────────────────────────────────────────────────────────────────────────────

LOOK_ALIKES = [
    MemoryIdentity("acme", "alice", "t-1"),
    MemoryIdentity("globex", "alice", "t-1"),
    MemoryIdentity("acme", "bob", "t-1"),
    MemoryIdentity("acme", "alice", "t-2"),
    MemoryIdentity(None, "alice", "t-1"),
    MemoryIdentity("", "alice", "t-1"),
    MemoryIdentity("acme", None, "t-1"),
    MemoryIdentity("acme", "", "t-1"),
    MemoryIdentity("acme", "alice", ""),
    MemoryIdentity("acme/alice", "", "t-1"),
    MemoryIdentity("acme/alice", None, "t-1"),
    MemoryIdentity("~", "alice", "t-1"),
    MemoryIdentity("Acme", "alice", "t-1"),
    MemoryIdentity("acme ", "alice", "t-1"),
    MemoryIdentity("acme", "al%", "t-1"),
    MemoryIdentity("acme", "alic_", "t-1"),
    MemoryIdentity("acme", "alice*", "t-1"),
    MemoryIdentity("acme:alice", "t-1", "t-1"),
    MemoryIdentity("acme", "e\u0301", "t-1"),
    MemoryIdentity("acme", "é", "t-1"),
]


@pytest.mark.parametrize("durable", [False, True])
async def test_no_identity_ever_sees_the_conversation_of_another(durable: bool, tmp_path: Path) -> None:
    state: Any = SQLiteState(tmp_path / "state.db") if durable else InMemoryState()
    agent = agent_of(state, allow_anonymous=True)
    for n, identity in enumerate(LOOK_ALIKES):
        assert said(await agent.run(f"secret {n}", identity=identity)) == [f"secret {n}"]
    for n, identity in enumerate(LOOK_ALIKES):
        assert said(await agent.run("again", identity=identity)) == [f"secret {n}", "again"]
    await state.aclose()


async def test_a_pause_of_one_tenant_does_not_hold_up_another() -> None:
    desk = Asking()
    must_pause(await desk.agent.run("pay", identity=ALICE))
    other = MemoryIdentity("globex", "alice", "t-1")
    assert output_of(await desk.agent.run("hello", identity=other)) == "Yes, hello."


@pytest.mark.parametrize("kind", ["state", "memory"])
@pytest.mark.parametrize("identity", [None, MemoryIdentity(), MemoryIdentity(None, "alice", "t-1")])
async def test_a_store_that_outlives_the_process_requires_a_tenant(
    kind: str, identity: MemoryIdentity | None, tmp_path: Path
) -> None:
    store: Any = SQLiteState(tmp_path / "a.db") if kind == "state" else SQLiteStore(tmp_path / "a.db")
    kept: Any = (
        {"state": store} if kind == "state" else {"memory": [Memory("m", scope="principal", store=store)]}
    )
    agent = agent_of(kept.pop("state", None), **kept)
    with pytest.raises(IdentityRequired, match="allow_anonymous=True"):
        await agent.run("hello", identity=identity)
    assert isinstance(agent.provider, MockProvider)
    assert agent.provider.requests == []
    assert not (tmp_path / "a.db").exists(), "nothing was even opened"
    anonymous = agent.replace(allow_anonymous=True)
    assert output_of(await anonymous.run("hello", identity=identity)) == "You said hello."
    assert output_of(await agent.run("hello", identity=MemoryIdentity("", None, None))) == "You said hello."
    await store.aclose()


async def test_on_volatile_stores_nobody_needs_to_be_named_and_runs_share_nothing() -> None:
    memory = Memory("m", store=InMemoryStore())
    agent = agent_of(memory=[memory])
    assert output_of(await agent.run("one")) == "You said one."
    assert said(await agent.run("two")) == ["two"]
    state = agent_of(InMemoryState())
    assert output_of(await state.run("one")) == "You said one."
    assert said(await state.run("two")) == ["two"]


async def test_an_identity_of_another_type_is_refused() -> None:
    with pytest.raises(InputInvalid, match="MemoryIdentity"):
        await agent_of(InMemoryState()).run("hello", identity="acme")  # type: ignore[arg-type]


# ── retention, healing ──────────────────────────────────────────────────────────────────────────


async def test_turns_are_forgotten_when_their_time_is_over() -> None:
    clock = ManualClock()
    agent = agent_of(InMemoryState(clock=clock), conversation_retention=100)
    await agent.run("one", identity=ALICE)
    clock.advance(60)
    assert said(await agent.run("two", identity=ALICE)) == ["one", "two"]
    clock.advance(60)
    assert said(await agent.run("three", identity=ALICE)) == ["two", "three"]
    clock.advance(101)
    assert said(await agent.run("four", identity=ALICE)) == ["four"]


async def test_without_a_retention_a_conversation_is_kept() -> None:
    clock = ManualClock()
    agent = agent_of(InMemoryState(clock=clock))
    await agent.run("one", identity=ALICE)
    clock.advance(50 * 365 * 24 * 3600)
    assert said(await agent.run("two", identity=ALICE)) == ["one", "two"]


async def test_a_torn_conversation_heals_and_is_not_torn_again() -> None:
    state = InMemoryState()
    conversation = agent_of(state)._conversation(ALICE, fresh=False)
    assert conversation is not None
    turn = await conversation.begin("an older version")
    calls = [ToolCall("a", "look", {"n": 1}), ToolCall("b", "look", {"n": 2})]
    await turn.save(
        [
            Message.user("one"),
            Message.assistant(calls),
            Message.tool("b", "look", "saw 2"),
            Message.tool("zzz", "look", "nobody asked"),
        ]
    )
    await turn.end()
    provider = MockProvider(respond=echo)
    agent = agent_of(state, provider=provider)
    healed: list[tuple[int, int]] = []
    agent.on(HistoryHealed, lambda event: healed.append((event.added, event.dropped)))
    second = await agent.run("two", identity=ALICE)
    assert_whole(provider.requests[-1].messages)
    assert healed == [(1, 1)]
    assert [m.call_id for m in second.messages if m.role == "tool"] == ["a", "b"]
    third = await agent.run("three", identity=ALICE)
    assert said(third) == ["one", "two", "three"]
    assert_whole(provider.requests[-1].messages)


async def test_half_characters_do_not_poison_a_conversation() -> None:
    state = InMemoryState()
    parts = [ToolCall("a", "look", {"n": "\ud83d"})]
    torn = LLMResponse(text="\udc00 hm", tool_calls=parts, stop_reason="tool_calls")
    replies: list[Any] = [torn, "done", "still here"]
    agent = agent_of(state, provider=MockProvider(replies=replies))
    await agent.run("one", identity=ALICE)
    assert output_of(await agent.run("two", identity=ALICE)) == "still here"


async def test_the_same_conversation_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "talk.py").write_text(PROCESS)
    (tmp_path / "go").touch()
    assert await run_other(tmp_path, "talk.py", "there", "2") == "done"
    async with SQLiteState(tmp_path / "state.db") as state:
        assert said(await agent_of(state).run("here", identity=ALICE)) == ["there 0", "there 1", "here"]
