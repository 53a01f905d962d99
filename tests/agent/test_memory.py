"""Memories in the agent: recalled in front of the conversation, written after the answer."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.errors import AgentFootprintError, StepFailed, StoreUnavailable
from agentfootprint.events import ConversationFailed, MemoryFailed, MemoryRecalled, MemoryWritten
from agentfootprint.memory import Extract, InMemoryStore, Memory, Window
from agentfootprint.messages import LLMResponse, Message
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, call, completed, mock_of, scripted, whole

ALICE = MemoryIdentity("acme", "alice", "t-1")
ALICE_AGAIN = MemoryIdentity("acme", "alice", "t-2")
BOB = MemoryIdentity("acme", "bob", "t-1")


@tool
async def look() -> str:
    """Looks."""
    return "seen"


def remembering(*replies: Any, store: Any = None, n: int = 10, **options: Any) -> Agent[Any, str]:
    memory = Memory("customer", scope="principal", strategy=Window(n), store=store or InMemoryStore())
    return scripted(*replies, memory=[memory], tools=[look], **options)


def texts(agent: Agent[Any, str], request: int = -1) -> list[str]:
    return [message.text for message in mock_of(agent).requests[request].messages]


async def test_turns_of_a_person_stand_in_front_question_before_answer_oldest_first() -> None:
    agent = remembering("a1", "a2", "a3")
    await agent.run("q1", identity=ALICE)
    await agent.run("q2", identity=ALICE_AGAIN)
    result = await agent.run("q3", identity=ALICE)
    assert texts(agent) == ["q1", "a1", "q2", "a2", "q3"]
    assert [m.role for m in mock_of(agent).requests[-1].messages] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    # What was recalled is shown to the model; it is not part of this conversation.
    assert [m.text for m in result.messages] == ["q3", "a3"]


async def test_other_people_recall_nothing_of_it() -> None:
    agent = remembering("a1", "b1")
    await agent.run("q1", identity=ALICE)
    await agent.run("q1 of bob", identity=BOB)
    assert texts(agent) == ["q1 of bob"]


async def test_a_window_shows_the_newest() -> None:
    agent = remembering("a1", "a2", "a3", "a4", n=2)
    for n in range(1, 5):
        await agent.run(f"q{n}", identity=ALICE)
    assert texts(agent) == ["q2", "a2", "q3", "a3", "q4"]


async def test_through_tools_what_was_recalled_stays_in_front_and_is_recalled_once() -> None:
    seen = Events()
    agent = remembering("a1", call("look"), call("look"), "a2", recorders=[seen])
    await agent.run("q1", identity=ALICE)
    result = await agent.run("q2", identity=ALICE)
    requests = mock_of(agent).requests
    assert texts(agent) == ["q1", "a1", "q2", "", "seen", "", "seen"]
    for request in requests[1:]:
        assert [m.text for m in request.messages][:3] == ["q1", "a1", "q2"]
        assert whole(request.messages)
    assert len(seen.of(MemoryRecalled)) == 2
    assert result.output == "a2"


async def test_only_the_question_and_the_answer_of_a_turn_are_kept() -> None:
    agent = remembering(call("look"), "a1", "a2")
    await agent.run("q1", identity=ALICE)
    await agent.run("q2", identity=ALICE)
    assert texts(agent) == ["q1", "a1", "q2"]


async def test_an_empty_answer_is_not_remembered() -> None:
    agent = remembering(LLMResponse(), "a2")
    await agent.run("q1", identity=ALICE)
    await agent.run("q2", identity=ALICE)
    assert texts(agent) == ["q2"]


async def test_the_last_answer_at_a_limit_is_remembered() -> None:
    agent = remembering(call("look"), "Enough.", "a2", max_iterations=1)
    await agent.run("q1", identity=ALICE)
    await agent.run("q2", identity=ALICE)
    assert texts(agent) == ["q1", "Enough.", "q2"]


async def test_several_memories_are_recalled_in_the_order_given() -> None:
    store = InMemoryStore()
    both = [
        Memory("tenant", scope="tenant", strategy=Window(1), store=store),
        Memory("person", scope="principal", strategy=Window(1), store=store),
    ]
    seen = Events()
    agent = scripted("a1", "b1", "a2", memory=both, recorders=[seen])
    await agent.run("q1", identity=ALICE)
    await agent.run("qb", identity=BOB)
    await agent.run("q2", identity=ALICE)
    assert texts(agent) == ["qb", "b1", "q1", "a1", "q2"]
    assert sorted((e.memory, e.entries) for e in seen.of(MemoryRecalled))[-1] == ("tenant", 2)
    assert [e.memory for e in seen.of(MemoryWritten)] == ["tenant", "person"] * 3


async def test_turns_of_fresh_agents_are_all_in_the_store() -> None:
    store = InMemoryStore()
    for n in range(12):
        await remembering(f"a{n}", store=store).run(f"q{n}", identity=ALICE)
    page = await store.list(ALICE.scoped("principal"), limit=100)
    assert len(page.entries) == 12


async def test_memory_and_conversation_stand_side_by_side() -> None:
    agent = remembering("a1", "a2", "a3", state=InMemoryState(), n=1)
    await agent.run("q1", identity=ALICE)
    await agent.run("q2", identity=ALICE_AGAIN)
    await agent.run("q3", identity=ALICE)
    assert texts(agent) == ["q2", "a2", "q1", "a1", "q3"]


async def test_without_an_identity_a_conversation_is_one_run() -> None:
    memory = Memory("m", scope="conversation", store=InMemoryStore())
    agent = scripted("a1", "a2", memory=[memory])
    await agent.run("q1")
    await agent.run("q2")
    assert texts(agent) == ["q2"]


async def test_who_has_no_name_is_one_person_that_nobody_with_a_name_shares() -> None:
    agent = remembering("a1", "a2", "a3", "a4")
    await agent.run("q1")
    await agent.run("q2")
    assert texts(agent) == ["q1", "a1", "q2"]
    await agent.run("q3", identity=ALICE)
    assert texts(agent) == ["q3"]
    await agent.run("q4", identity=MemoryIdentity("acme"))
    assert texts(agent) == ["q4"]


async def test_messages_given_by_the_caller_come_after_what_was_recalled() -> None:
    agent = remembering("a1", "a2")
    await agent.run("q1", identity=ALICE)
    earlier = [Message.user("q0"), Message.assistant("a0")]
    result = await agent.run("q2", identity=ALICE, messages=earlier)
    assert texts(agent) == ["q1", "a1", "q0", "a0", "q2"]
    assert [m.text for m in result.messages] == ["q0", "a0", "q2", "a2"]


class Failing(InMemoryStore):
    """Raises what it is told to."""

    def __init__(self, error: Exception, *methods: str) -> None:
        super().__init__()
        self.error: Exception | None = error
        self.methods = methods

    async def put(self, *arguments: Any, **options: Any) -> Any:
        if self.error is not None and "put" in self.methods:
            raise self.error
        return await super().put(*arguments, **options)

    async def list(self, *arguments: Any, **options: Any) -> Any:
        if self.error is not None and "list" in self.methods:
            raise self.error
        return await super().list(*arguments, **options)


@pytest.mark.parametrize("error", [StoreUnavailable("the disk is full"), ConnectionError("reset by peer")])
async def test_a_write_that_fails_is_told_and_the_answer_is_kept(error: Exception) -> None:
    seen = Events()
    agent = remembering("a1", store=Failing(error, "put"), recorders=[seen])
    result = completed(await agent.run("q1", identity=ALICE))
    assert result.output == "a1"
    (failed,) = seen.of(MemoryFailed)
    assert (failed.memory, failed.operation) == ("customer", "remember")
    assert str(error) in failed.message
    assert seen.types[-1] == "run.ended"
    assert "Memory 'customer' could not be written" in result.footprint.narrative()
    assert result.footprint.to_jsonl()


@pytest.mark.parametrize("error", [StoreUnavailable("the disk is full"), ConnectionError("reset by peer")])
async def test_a_conversation_that_cannot_be_saved_is_told_and_the_answer_is_kept(error: Exception) -> None:
    class Broken(InMemoryState):
        async def append(self, *arguments: Any, **options: Any) -> int:
            raise error

    seen = Events()
    agent = scripted("a1", state=Broken(), recorders=[seen])
    result = completed(await agent.run("q1", identity=ALICE))
    assert result.output == "a1"
    assert [str(error) in e.message for e in seen.of(ConversationFailed)] == [True]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(StoreUnavailable("no route"), StoreUnavailable), (ConnectionError("reset by peer"), StepFailed)],
)
async def test_a_recall_that_fails_is_a_typed_error_to_go_on_from(
    error: Exception, raised: type[AgentFootprintError]
) -> None:
    seen = Events()
    store = Failing(error, "list")
    agent = remembering("a1", store=store, recorders=[seen])
    with pytest.raises(raised) as caught:
        await agent.run("q1", identity=ALICE)
    assert [(e.memory, e.operation) for e in seen.of(MemoryFailed)] == [("customer", "recall")]
    assert mock_of(agent).requests == []
    assert caught.value.footprint is not None
    assert caught.value.checkpoint is not None
    store.error = None
    assert completed(await agent.resume(caught.value.checkpoint)).output == "a1"


async def test_a_memory_that_fails_does_not_keep_the_others_from_being_written() -> None:
    good = InMemoryStore()
    both = [
        Memory("bad", scope="principal", store=Failing(StoreUnavailable("full"), "put")),
        Memory("good", scope="principal", store=good),
    ]
    await scripted("a1", memory=both).run("q1", identity=ALICE)
    assert len((await good.list(ALICE.scoped("principal"))).entries) == 1


async def test_a_turn_that_paused_is_remembered_once_when_it_ends() -> None:
    from agentfootprint import Paused

    @tool(approval=True)
    async def pay() -> str:
        """Pays."""
        return "paid"

    store = InMemoryStore()
    memory = [Memory("m", scope="principal", store=store)]
    agent = scripted(call("pay"), "Paid.", memory=memory, tools=[pay])
    paused = await agent.run("Pay.", identity=ALICE)
    assert isinstance(paused, Paused)
    assert (await store.list(ALICE.scoped("principal"))).entries == ()
    await agent.resume(paused.checkpoint, answer=True)
    assert len((await store.list(ALICE.scoped("principal"))).entries) == 1


async def test_the_reasons_of_an_answer_say_which_memory_it_was_read_from() -> None:
    store = InMemoryStore()
    memories = [
        Memory("person", scope="principal", strategy=Window(1), store=store),
        Memory(
            "facts",
            kind="semantic",
            scope="principal",
            strategy=Extract(patterns={"n": r"A-\d"}),
            store=store,
        ),
    ]
    agent = scripted("I see A-1.", "It is A-1 again.", memory=memories)
    await agent.run("My order is A-1.", identity=ALICE)
    why = (await agent.run("Which one?", identity=ALICE_AGAIN)).footprint.why("output")
    assert "- memory 'person': “My order is A-1.”" in why
    assert "- memory 'person', the model: “I see A-1.”" in why
    assert "- memory 'facts': “Noted in earlier conversations." in why
    assert "- the user: “Which one?”" in why
