"""What a run may be started with, and what a conversation needs before it goes on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.agent.history import heal
from agentfootprint.errors import InputInvalid
from agentfootprint.events import HistoryHealed
from agentfootprint.messages import Image, Message, Reasoning, Text, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, completed, mock_of, scripted, whole


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "   \n\t",
        [],
        ["", "  "],
        [Text("")],
        Message.user(""),
        Message("user", ()),
        5,
        5.0,
        True,
        b"bytes",
        {"role": "user", "content": "hi"},
        [1],
        [None],
        ["text", {"type": "text"}],
        ToolCall("c", "pay"),
        [Reasoning("hm")],
        Text(5),  # type: ignore[arg-type]
        Message.assistant("I am the model."),
        Message.tool("c", "pay", "paid"),
        Message("system", (Text("Obey."),)),  # type: ignore[arg-type]
        "half a character: \ud83d",
    ],
    ids=repr,
)
async def test_what_is_no_question_is_refused_before_anything_starts(bad: Any) -> None:
    seen = Events()
    agent = scripted("never", recorders=[seen])
    with pytest.raises(InputInvalid):
        await agent.run(bad)
    assert mock_of(agent).requests == []
    assert seen.seen == []


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        [Message.user("hi"), Message.assistant("hello")],
        [Message.tool("c", "pay", "paid")],
    ],
    ids=["none", "empty", "ends with the model", "ends with a result"],
)
async def test_no_input_needs_messages_that_end_with_a_question(messages: Any) -> None:
    with pytest.raises(InputInvalid, match="there is no question"):
        await scripted("never").run(messages=messages)


@pytest.mark.parametrize(
    "messages",
    [
        "hi",
        [{"role": "user", "content": "hi"}],
        ["hi"],
        [Message("system", (Text("Obey."),))],  # type: ignore[arg-type]
        [Message("user", ("plain",))],  # type: ignore[arg-type]
        {"role": "user"},
        iter([Message.user("hi")]),
    ],
    ids=["text", "dicts", "strings", "system role", "parts that are none", "one dict", "iterator"],
)
async def test_messages_that_are_none_are_refused_by_their_place(messages: Any) -> None:
    agent = scripted("never")
    with pytest.raises(InputInvalid, match="messages"):
        await agent.run("Hello?", messages=messages)
    assert mock_of(agent).requests == []


async def test_instructions_among_the_messages_are_sent_to_where_they_belong() -> None:
    obey = Message("system", (Text("Obey."),))  # type: ignore[arg-type]
    with pytest.raises(InputInvalid, match=r"Agent\(system=") as caught:
        await scripted("never").run("Hello?", messages=[obey])
    assert caught.value.code == "input_invalid"


async def test_an_identity_that_is_none_is_refused() -> None:
    with pytest.raises(InputInvalid, match="MemoryIdentity"):
        await scripted("never").run("Hello?", identity="alice")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "good",
    [
        "hi",
        Message.user("hi"),
        Text("hi"),
        ["hi"],
        [Text("hi"), Image(url="https://example.org/x.png")],
        Image(url="https://example.org/x.png"),
        "emoji \U0001f600, umlaut ü, a NUL \x00",
    ],
    ids=repr,
)
async def test_text_parts_and_user_messages_are_questions(good: Any) -> None:
    agent = scripted("hello")
    result = completed(await agent.run(good))
    assert result.output == "hello"
    assert mock_of(agent).requests[0].messages[0].role == "user"
    assert result.footprint.to_jsonl()


ASKED = Message("assistant", (ToolCall("c1", "pay", {"n": 1}), ToolCall("c2", "pay", {"n": 2})))
PAID = Message.tool("c1", "pay", "paid")


@pytest.mark.parametrize(
    ("earlier", "added", "dropped"),
    [
        ([Message.user("Pay."), ASKED], 2, 0),
        ([Message.user("Pay."), ASKED, PAID], 1, 0),
        ([Message.user("Pay."), ASKED, PAID, PAID], 1, 1),
        ([Message.user("Pay."), PAID], 0, 1),
        ([Message.user("Pay."), ASKED, Message.user("Well?"), PAID], 2, 1),
        ([Message.user("Pay."), Message("assistant", ())], 0, 1),
    ],
    ids=["no results", "one result", "a second one", "no call", "too late", "no content"],
)
async def test_a_torn_conversation_is_made_whole_and_told(
    earlier: list[Message], added: int, dropped: int
) -> None:
    seen = Events()
    agent = scripted("Go on.", recorders=[seen])
    result = completed(await agent.run("Still there?", messages=earlier))
    (healed,) = seen.of(HistoryHealed)
    assert (healed.added, healed.dropped) == (added, dropped)
    assert whole(mock_of(agent).requests[0].messages)
    assert whole(result.messages)
    assert [m.text for m in result.messages][-2:] == ["Still there?", "Go on."]
    invented = [m for m in result.messages if m.role == "tool" and m != PAID]
    assert len(invented) == added
    assert all(m.is_error and "not run" in m.text for m in invented)


async def test_a_whole_conversation_is_left_alone_and_nothing_is_told() -> None:
    seen = Events()
    second = Message.tool("c2", "pay", "paid", is_error=True)
    earlier = [Message.user("Pay."), ASKED, PAID, second, Message.assistant("Done.")]
    agent = scripted("Bye.", recorders=[seen])
    await agent.run("Thanks.", messages=earlier)
    assert seen.of(HistoryHealed) == []
    assert list(mock_of(agent).requests[0].messages) == [*earlier, Message.user("Thanks.")]


async def test_the_conversation_of_a_run_that_waits_for_a_person_can_be_continued_without_the_answer() -> (
    None
):
    from agentfootprint import Paused, tool

    @tool(approval=True)
    async def pay(n: int) -> str:
        """Pays."""
        return "paid"

    agent = scripted(MockProvider.call("pay", n=1), "Then not.", tools=[pay])
    paused = await agent.run("Pay.")
    assert isinstance(paused, Paused)
    assert paused.output is None
    result = completed(await agent.run("Leave it.", messages=paused.messages))
    assert whole(result.messages)
    assert result.output == "Then not."


_calls = st.lists(st.sampled_from("abc"), max_size=3, unique=True)
_messages = st.lists(
    st.one_of(
        st.builds(Message.user, st.text(min_size=1, max_size=3)),
        st.builds(
            lambda ids, text: Message("assistant", (Text(text), *(ToolCall(one, "t") for one in ids))),
            _calls,
            st.text(min_size=1, max_size=3),
        ),
        st.builds(lambda one: Message.tool(one, "t", "r"), st.sampled_from("abc")),
        st.just(Message("assistant", ())),
    ),
    max_size=12,
)


@given(_messages)
def test_any_history_is_whole_after_healing_and_healing_again_changes_nothing(
    messages: list[Message],
) -> None:
    once = heal(messages)
    assert whole(once.messages)
    again = heal(once.messages)
    assert (again.messages, again.added, again.dropped) == (once.messages, 0, 0)
    # Nothing that was said is lost: only results, and messages without content.
    said = [m for m in messages if m.role != "tool" and m.parts]
    assert [m for m in once.messages if m.role != "tool"] == said
    assert len(once.messages) == len(messages) + once.added - once.dropped


async def test_nothing_is_kept_of_a_run_without_identity() -> None:
    from agentfootprint.state import InMemoryState

    agent = Agent(MockProvider(replies=["one", "two"]), state=InMemoryState())
    await agent.run("First.")
    await agent.run("Second.")
    assert [m.text for m in mock_of(agent).requests[1].messages] == ["Second."]


async def test_a_named_conversation_goes_on_by_itself_unless_the_run_is_fresh() -> None:
    from agentfootprint.state import InMemoryState

    me = MemoryIdentity("acme", "alice", "t-1")
    agent = Agent(MockProvider(replies=["one", "two", "three"]), state=InMemoryState())
    await agent.run("First.", identity=me)
    await agent.run("Apart.", identity=me, fresh=True)
    await agent.run("Second.", identity=me)
    texts = [[m.text for m in request.messages] for request in mock_of(agent).requests]
    assert texts == [["First."], ["Apart."], ["First.", "one", "Second."]]


@pytest.mark.parametrize("given", ["and a question", None])
async def test_an_earlier_conversation_is_not_put_in_front_of_the_stored_one(given: str | None) -> None:
    me = MemoryIdentity("acme", "alice", "t-1")
    agent = scripted("one", "two", state=InMemoryState())
    earlier = [*(await agent.run("First.", fresh=True, identity=me)).messages, Message.user("Second.")]
    with pytest.raises(InputInvalid, match="fresh=True"):
        await agent.run(given, messages=earlier, identity=me)
    assert completed(await agent.run(given, messages=earlier, identity=me, fresh=True)).output == "two"
