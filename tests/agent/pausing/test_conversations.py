"""Conversations in a state store: continued, one turn at a time, none lost, never somebody else's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import MemoryIdentity, tool
from agentfootprint.errors import (
    ConversationBusy,
    ConversationPaused,
    StoreUnavailable,
)
from agentfootprint.events import ConversationFailed, ConversationSaved, HistoryHealed
from agentfootprint.messages import LLMRequest, LLMResponse, Message, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState, SQLiteState, StateKey
from agentfootprint.testing.clock import ManualClock

from .conversing import PROCESS, Asking, Held, agent_of, echo, said
from .support import ALICE, Other, assert_whole, call, go_on, must_pause, output_of, plain, run_other

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
