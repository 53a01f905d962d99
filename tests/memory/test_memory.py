from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.embedders import MockEmbedder
from agentfootprint.errors import ConfigurationError, InputInvalid, StoreCorrupt
from agentfootprint.identity import MemoryIdentity, Scope
from agentfootprint.memory import InMemoryStore, Memory, MemoryEntry, SQLiteStore, TopK, Window
from agentfootprint.messages import Image, Message, Reasoning, Text, ToolCall
from agentfootprint.testing import ManualClock

ALICE = MemoryIdentity("acme", "alice", "t-1")
BOB = MemoryIdentity("acme", "bob", "t-1")


def turn(question: str, answer: str) -> list[Message]:
    return [Message.user(question), Message.assistant(answer)]


def texts(messages: Sequence[Message]) -> list[str]:
    return [message.text for message in messages]


async def test_turns_come_back_oldest_first_each_question_before_its_answer() -> None:
    memory = Memory("chat", store=InMemoryStore(clock=ManualClock()))
    for number in range(3):
        await memory.remember(ALICE, f"turn {number}", turn(f"q{number}", f"a{number}"))
    recalled = await memory.recall(ALICE, "anything")
    assert texts(recalled.messages) == ["q0", "a0", "q1", "a1", "q2", "a2"]
    assert [message.role for message in recalled.messages] == ["user", "assistant"] * 3
    assert [entry.metadata["turn"] for entry in recalled.entries] == ["turn 0", "turn 1", "turn 2"]


async def test_a_window_shows_the_last_exchanges_only() -> None:
    memory = Memory("chat", store=InMemoryStore(), strategy=Window(2))
    for number in range(5):
        await memory.remember(ALICE, str(number), turn(f"q{number}", f"a{number}"))
    assert texts((await memory.recall(ALICE, "")).messages) == ["q3", "a3", "q4", "a4"]


async def test_the_window_is_ten_exchanges_unless_said() -> None:
    memory = Memory("chat", store=InMemoryStore())
    for number in range(12):
        await memory.remember(ALICE, str(number), turn(f"q{number}", "a"))
    assert len((await memory.recall(ALICE, "")).entries) == 10


async def test_an_empty_memory_recalls_nothing() -> None:
    recalled = await Memory("chat", store=InMemoryStore()).recall(ALICE, "hello?")
    assert (recalled.entries, recalled.messages) == ((), ())


@pytest.mark.parametrize(
    ("scope", "sees_other_conversation", "sees_other_person"),
    [("conversation", False, False), ("principal", True, False), ("tenant", True, True)],
)
async def test_a_scope_says_who_shares_a_memory(
    scope: Scope, sees_other_conversation: bool, sees_other_person: bool
) -> None:
    memory = Memory("chat", scope=scope, store=InMemoryStore())
    await memory.remember(ALICE, "1", turn("q", "a"))
    other_conversation = await memory.recall(replace(ALICE, conversation_id="t-2"), "")
    other_person = await memory.recall(BOB, "")
    other_tenant = await memory.recall(replace(ALICE, tenant="rival"), "")
    assert bool(other_conversation.entries) == sees_other_conversation
    assert bool(other_person.entries) == sees_other_person
    assert other_tenant.entries == ()


async def test_forgetting_a_person_reaches_every_scope_of_theirs_and_nobody_else() -> None:
    store = InMemoryStore()
    memories = (Memory("talks", store=store), Memory("person", scope="principal", store=store))
    for memory in memories:
        for identity in (ALICE, BOB):
            await memory.remember(identity, "1", turn("q", "a"))
    assert await store.forget(MemoryIdentity("acme", "alice"), descendants=True) == 2
    for memory in memories:
        assert (await memory.recall(ALICE, "")).entries == ()
        assert len((await memory.recall(BOB, "")).entries) == 1


async def test_turns_of_different_conversations_never_share_an_entry() -> None:
    memory = Memory("chat", scope="tenant", store=InMemoryStore())
    for identity in (ALICE, replace(ALICE, conversation_id="t-2"), BOB, replace(BOB, conversation_id=None)):
        await memory.remember(identity, "1", turn("q", "a"))
    await memory.remember(replace(ALICE, conversation_id="t-"), "11", turn("q", "a"))
    assert len((await memory.recall(ALICE, "")).entries) == 5


async def test_a_turn_remembered_again_replaces_its_entry() -> None:
    memory = Memory("chat", store=InMemoryStore())
    await memory.remember(ALICE, "1", turn("q", "interrupted"))
    await memory.remember(ALICE, "2", turn("next", "a"))
    await memory.remember(ALICE, "1", turn("q", "whole"))
    assert texts((await memory.recall(ALICE, "")).messages) == ["q", "whole", "next", "a"]


async def test_memories_that_share_a_store_see_their_own_entries() -> None:
    store = InMemoryStore()
    first, second = Memory("a", store=store, strategy=Window(2)), Memory("a.b", store=store)
    await first.remember(ALICE, "1", turn("first", "1"))
    for number in range(7):
        await second.remember(ALICE, str(number), turn("second", "2"))
    await first.remember(ALICE, "2", turn("first", "2"))
    assert texts((await first.recall(ALICE, "")).messages) == ["first", "1", "first", "2"]
    assert {message.text for message in (await second.recall(ALICE, "")).messages} == {"second", "2"}


async def test_of_a_turn_the_question_and_the_final_answer_are_kept() -> None:
    memory = Memory("chat", store=InMemoryStore())
    question = Message.user(["what is this?", Image(url="https://example.com/x.png")])
    await memory.remember(
        ALICE,
        "1",
        [
            question,
            Message.assistant([Text("let me look"), ToolCall("c1", "look", {"at": "x"})]),
            Message.tool("c1", "look", "a fox"),
            Message.assistant([Reasoning("hm", signature="secret"), Text("A fox.")]),
        ],
    )
    recalled = await memory.recall(ALICE, "")
    assert recalled.messages == (question, Message.assistant("A fox."))


@pytest.mark.parametrize(
    ("messages", "missing"),
    [
        ([Message.user("q")], "no answer"),
        ([Message.assistant("a")], "no user message"),
        ([Message.user("q"), Message.assistant(ToolCall("c", "look"))], "no answer"),
        ([], "no user message"),
    ],
)
async def test_half_a_turn_is_refused(messages: list[Message], missing: str) -> None:
    store = InMemoryStore()
    with pytest.raises(InputInvalid, match=missing):
        await Memory("chat", store=store).remember(ALICE, "1", messages)
    assert (await store.list(ALICE)).entries == ()


async def test_retention_ends_an_entry() -> None:
    clock = ManualClock()
    store = InMemoryStore(clock=clock)
    brief, lasting = Memory("brief", store=store, retention=60.0), Memory("lasting", store=store)
    [entry] = await brief.remember(ALICE, "1", turn("q", "a"))
    await lasting.remember(ALICE, "1", turn("q", "a"))
    assert entry.expires is not None
    assert abs(entry.expires - clock.now - 60) < 10
    assert len((await brief.recall(ALICE, "")).entries) == 1
    clock.advance(70)
    assert (await brief.recall(ALICE, "")).entries == ()
    assert len((await lasting.recall(ALICE, "")).entries) == 1


async def test_a_memory_outlives_its_process_on_a_durable_store(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "memory.db") as store:
        await Memory("chat", scope="principal", store=store).remember(ALICE, "1", turn("q 🦊", "a"))
    async with SQLiteStore(tmp_path / "memory.db") as store:
        recalled = await Memory("chat", scope="principal", store=store).recall(ALICE, "")
    assert recalled.messages == tuple(turn("q 🦊", "a"))


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"messages": []},
        {"messages": ["q", "a"]},
        {"messages": [{"role": "user", "parts": [{"kind": "text", "text": "q"}]}]},
        {
            "messages": [
                {"role": "assistant", "parts": [{"kind": "text", "text": "q"}]},
                {"role": "assistant", "parts": [{"kind": "text", "text": "a"}]},
            ]
        },
        {
            "messages": [
                {"role": "user", "parts": [{"kind": "text", "text": "q"}]},
                {"role": "assistant", "parts": [{"kind": "tool_call", "id": "1", "name": "refund"}]},
            ]
        },
    ],
)
async def test_a_stored_value_that_is_no_turn_is_named_and_reaches_no_model(value: Any) -> None:
    store = InMemoryStore()
    await store.put(ALICE, MemoryEntry("chat/x", value))
    with pytest.raises(StoreCorrupt, match="memory 'chat'"):
        await Memory("chat", store=store).recall(ALICE, "")


STORE = InMemoryStore()


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda: Memory("", store=STORE), "the memory id ''"),
        (lambda: Memory("a/b", store=STORE), "the memory id 'a/b'"),
        (lambda: Memory("a" * 65, store=STORE), "1 to 64 letters"),
        (lambda: Memory("m", store=STORE, scope="world"), "memory 'm': scope='world' is unknown"),  # type: ignore[arg-type]
        (lambda: Memory("m", store=STORE, kind="vague"), "memory 'm': kind='vague' is unknown"),  # type: ignore[arg-type]
        (lambda: Memory("m", store={}), "memory 'm': store is a dict, which is no MemoryStore"),  # type: ignore[arg-type]
        (lambda: Memory("m", store=STORE, strategy=5), "memory 'm': strategy is a int"),  # type: ignore[arg-type]
        (lambda: Memory("m", store=STORE, retention=0), "memory 'm': retention=0 keeps nothing"),
        (lambda: Memory("m", store=STORE, retention=float("nan")), "memory 'm': retention=nan"),
        (lambda: Window(0), r"Window\(n=0\)"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_built(build: Callable[[], object], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        build()


def test_a_memory_is_immutable() -> None:
    memory = Memory("chat", store=STORE)
    assert memory.strategy == Window(10)
    with pytest.raises(FrozenInstanceError):
        memory.scope = "tenant"  # type: ignore[misc]


def test_importing_the_rooms_costs_neither_sqlite_nor_pydantic() -> None:
    script = (
        "import sys, agentfootprint.memory, agentfootprint.state\n"
        "loaded = {'sqlite3', 'pydantic', 'hypothesis'} & set(sys.modules)\n"
        "from agentfootprint.memory import SQLiteStore\n"
        "from agentfootprint.state import SQLiteState\n"
        "print(sorted(loaded), 'sqlite3' in sys.modules)\n"
    )
    source = str(Path(__file__).parents[2] / "src")
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": source}
    )
    assert shown.stdout.split() == ["[]", "True"]


async def test_what_is_redacted_is_neither_written_nor_embedded() -> None:
    embedder, store = MockEmbedder(), InMemoryStore()
    strategy = TopK(embedder=embedder, min_score=-1)
    memory = Memory(
        "chat", store=store, strategy=strategy, redact=lambda text: text.replace("4111", "[card]")
    )
    picture = Image(url="https://example.com/receipt.png")
    question = Message.user([Text("I paid with 4111."), picture])
    [written] = await memory.remember(ALICE, "1", [question, Message.assistant("With 4111, yes.")])
    assert embedder.asked == ["I paid with [card].\nWith [card], yes."]
    assert "4111" not in str((await store.list(ALICE)).entries)
    recalled = await memory.recall(ALICE, "card")
    assert texts(recalled.messages) == ["I paid with [card].", "With [card], yes."]
    assert recalled.messages[0].parts[1] == picture
    assert recalled.entries == (written,)


async def test_nothing_is_written_where_redaction_fails() -> None:
    def fails(text: str) -> str:
        raise ValueError("no rule for this")

    store = InMemoryStore()
    with pytest.raises(ValueError, match="no rule"):
        await Memory("chat", store=store, redact=fails).remember(ALICE, "1", turn("q", "a"))
    assert (await store.list(ALICE)).entries == ()
