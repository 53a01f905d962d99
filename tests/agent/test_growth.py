"""A long run costs per turn what a short one does, in time and in memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.flow import Seq
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.messages import LLMRequest, LLMResponse, Message, ToolCall, Usage
from agentfootprint.providers import MockProvider
from tests.agent.support import call, mock_of, scripted


@tool
async def look(n: int) -> int:
    """Looks."""
    return n


class Rounds:
    """A model that asks for a tool so many times and keeps nothing."""

    name = model = "rounds"

    def __init__(self, rounds: int) -> None:
        self.left = rounds
        self.buffers: set[int] = set()

    async def complete(self, request: LLMRequest) -> LLMResponse:
        assert isinstance(request.messages, Seq)
        self.buffers.add(id(request.messages._items))
        self.left -= 1
        if self.left < 0:
            return LLMResponse("done", usage=Usage(1, 1))
        return LLMResponse(
            tool_calls=(ToolCall(f"c{self.left}", "look", {"n": self.left}),), usage=Usage(1, 1)
        )

    def stream(self, request: LLMRequest) -> Any:
        raise AssertionError("nobody reads along")


@pytest.fixture(autouse=True)
def _as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFOOTPRINT_DEV", "0")


async def test_the_messages_of_a_request_cannot_be_changed() -> None:
    agent = scripted("hi")
    await agent.run("Hello?")
    messages = mock_of(agent).requests[0].messages
    assert isinstance(messages, Seq)
    for change in ("insert", "clear", "pop", "__setitem__", "__delitem__"):
        assert not hasattr(messages, change)
    assert len(messages.append(Message.user("more"))) == 2
    assert len(messages) == 1, "appending gives another list"


async def test_a_request_that_is_kept_never_grows() -> None:
    agent = scripted(*[call("look", n=n) for n in range(5)], "done", tools=[look])
    await agent.run("Go.")
    assert [len(request.messages) for request in mock_of(agent).requests] == [1, 3, 5, 7, 9, 11]
    assert [m.text for m in mock_of(agent).requests[1].messages if m.role == "tool"] == ["0"]


@pytest.mark.parametrize("remembers", [False, True])
async def test_all_requests_of_a_run_share_one_history(remembers: bool) -> None:
    store = InMemoryStore()
    memory = [Memory("m", scope="principal", store=store)] if remembers else []
    me = MemoryIdentity("acme", "alice", "t-1")
    if remembers:
        await scripted("a", memory=memory).run("q", identity=me)
    provider = Rounds(50)
    result = await Agent(provider, tools=[look], max_iterations=None, memory=memory).run("Go.", identity=me)
    assert result.status == "completed"
    assert len(provider.buffers) == 1
    if not remembers:
        assert isinstance(result.messages, Seq)
        assert id(result.messages._items) in provider.buffers


async def test_the_work_of_a_turn_does_not_grow_with_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = 0
    grown, item, init, iterate = Seq._grown, Seq.__getitem__, Seq.__init__, Seq.__iter__

    def count(n: int) -> None:
        nonlocal moved
        moved += n

    def counted_grown(self: Seq[Any], more: tuple[Any, ...]) -> Seq[Any]:
        count(len(more) + (0 if len(self._items) == self._size else self._size))
        return grown(self, more)

    def counted_item(self: Seq[Any], index: Any) -> Any:
        found = item(self, index)
        count(len(found) if isinstance(index, slice) else 1)
        return found

    def counted_init(self: Seq[Any], items: Iterable[Any] = ()) -> None:
        init(self, items)
        count(len(self))

    def counted_iter(self: Seq[Any]) -> Any:
        count(len(self))
        return iterate(self)

    monkeypatch.setattr(Seq, "_grown", counted_grown)
    monkeypatch.setattr(Seq, "__getitem__", counted_item)
    monkeypatch.setattr(Seq, "__init__", counted_init)
    monkeypatch.setattr(Seq, "__iter__", counted_iter)

    at_turn: list[int] = []

    class Noting(Rounds):
        async def complete(self, request: LLMRequest) -> LLMResponse:
            at_turn.append(moved)
            return await super().complete(request)

    agent = Agent(Noting(400), tools=[look], max_iterations=None)
    await agent.run("Go.")
    early, late = at_turn[50] - at_turn[40], at_turn[400] - at_turn[390]
    assert early > 0
    assert late == early


async def peak(rounds: int) -> tuple[int, int]:
    """Bytes at the highest, and bytes that the result keeps."""
    agent = Agent(Rounds(rounds), tools=[look], max_iterations=None)
    gc.collect()
    tracemalloc.start()
    try:
        result = await agent.run("Go.")
        assert len(result.messages) == 2 * rounds + 2
        gc.collect()
        kept, highest = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return highest, kept


async def test_memory_is_linear_in_the_turns() -> None:
    await peak(20)  # what is built once
    short, kept_short = await peak(500)
    long, kept_long = await peak(2_000)
    assert long / short < 4.4
    assert kept_long / kept_short < 4.4
    assert kept_long / 2_000 < 16 * 1024


async def test_a_record_is_written_once_however_long_the_history() -> None:
    async def size(rounds: int) -> int:
        result = await Agent(Rounds(rounds), tools=[look], max_iterations=None).run("Go.")
        return len(result.footprint.to_jsonl())

    short, long = await size(50), await size(200)
    assert long / short < 4.4


async def test_a_checkpoint_after_thirty_turns_is_its_conversation_and_little_more() -> None:
    from agentfootprint import Paused
    from agentfootprint.flow.codec import dumps, encode

    @tool(approval=True)
    async def pay() -> str:
        """Pays."""
        return "paid"

    @tool
    async def read(n: int) -> str:
        """Reads a page."""
        return f"page {n}: " + f"line {n} " * 500

    replies: list[Any] = [call("read", n=n) for n in range(30)]
    agent = Agent(MockProvider(replies=[*replies, call("pay")]), tools=[read, pay], max_iterations=None)
    paused = await agent.run("Read, then pay.")
    assert isinstance(paused, Paused)
    conversation = len(dumps(encode(list(paused.messages))))
    assert len(paused.checkpoint.to_json()) <= conversation + 31 * 1024
