"""No model ever reads a call without its result, or a result without its call, whatever was stored."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfootprint import Agent
from agentfootprint.agent.history import heal
from agentfootprint.messages import Message, Part, Text, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState

from .support import ALICE, assert_whole, output_of

ids = st.sampled_from(["a", "b", "c", "", "a-2"])
texts = st.sampled_from(["", "one", "two"])
parts: st.SearchStrategy[Part] = st.builds(Text, texts) | st.builds(
    ToolCall, ids, st.just("look"), st.just({"n": 1})
)
messages = st.one_of(
    texts.map(Message.user),
    st.lists(parts, max_size=4).map(Message.assistant),
    st.builds(lambda call_id, text: Message.tool(call_id, "look", text), ids, texts),
    st.just(Message("user", ())),
    st.just(Message("tool", (), "a", "look")),
)
histories = st.lists(messages, max_size=12)


@given(histories)
def test_a_healed_history_is_whole(history: list[Message]) -> None:
    assert_whole(heal(history).messages)


@given(histories)
def test_healing_twice_is_healing_once(history: list[Message]) -> None:
    once = heal(history)
    again = heal(once.messages)
    assert (again.messages, again.added, again.dropped) == (once.messages, 0, 0)


@given(histories)
def test_healing_counts_what_it_did_and_keeps_everything_else(history: list[Message]) -> None:
    healed = heal(history)
    assert len(healed.messages) == len(history) - healed.dropped + healed.added
    spoken = [message for message in history if message.role != "tool" and message.parts]
    assert [message for message in healed.messages if message.role != "tool"] == spoken
    results = [message for message in healed.messages if message.role == "tool"]
    made = [message for message in results if message not in history]
    assert len(made) <= healed.added
    assert all(message.is_error and "not run" in message.text for message in made)


@given(histories, st.booleans())
async def test_no_model_reads_a_torn_history(history: list[Message], stored: bool) -> None:
    provider = MockProvider(reply="yes")
    agent: Agent[Any, Any] = Agent(provider, state=InMemoryState())
    if stored:
        conversation = agent._conversation(ALICE, fresh=False)
        assert conversation is not None
        turn = await conversation.begin("before")
        await turn.save(history)
        await turn.end()
        work = agent.run("Now?", identity=ALICE)
    else:
        work = agent.run("Now?", messages=history)
    result = await work
    assert output_of(result) == "yes"
    assert_whole(provider.requests[-1].messages)
    assert_whole(result.messages)
    assert [message.text for message in result.messages[-2:]] == ["Now?", "yes"]


@pytest.mark.parametrize(
    ("history", "whole"),
    [
        ([], ""),
        (["u", "A:a"], "u A:a a!"),
        (["u", "A:ab", "b"], "u A:ab a! b"),
        (["u", "A:ab", "b", "a"], "u A:ab a b"),
        (["u", "A:a", "a", "a"], "u A:a a"),
        (["a", "u"], "u"),
        (["u", "A:a", "u", "a"], "u A:a a! u"),
        (["u", "A:a", "b", "a"], "u A:a a"),
        (["u", "A:aa", "a"], "u A:aa a a!"),
        (["u", "A:aa", "a", "a", "a"], "u A:aa a a"),
    ],
)
def test_what_healing_does_with_typical_tears(history: list[str], whole: str) -> None:
    def made(sign: str) -> Message:
        if sign == "u":
            return Message.user("hello")
        if sign.startswith("A:"):
            return Message.assistant([ToolCall(one, "look") for one in sign[2:]])
        return Message.tool(sign, "look", "saw it")

    def told(message: Message) -> str:
        if message.role == "user":
            return "u"
        if message.role == "assistant":
            return "A:" + "".join(call.id for call in message.tool_calls)
        return f"{message.call_id}{'!' if message.is_error else ''}"

    assert " ".join(told(message) for message in heal([made(sign) for sign in history]).messages) == whole
