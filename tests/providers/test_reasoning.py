"""What a vendor alone understands goes back to it byte for byte, in its place, and to nobody else."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, MemoryIdentity, Paused, tool
from agentfootprint.messages import LLMRequest, Message, Opaque, Reasoning, Text
from agentfootprint.providers.openai_chat import ChatWire
from agentfootprint.providers.openai_responses import ResponsesWire
from agentfootprint.resilience import with_fallback
from agentfootprint.state import SQLiteState
from tests.agent.support import completed
from tests.providers.dialects import DIALECTS, Dialect
from tests.providers.native import ORDERS, PRIVATE, THOUGHT, expected, native, native_events, sent_back
from tests.providers.server import Script, ScriptedServer, says, streams
from tests.providers.test_wires import every_dialect, read

ME = MemoryIdentity("acme", "alice", "c-1")


@tool
async def look(order: str) -> str:
    """Where an order is."""
    return f"{order}: shipped"


@tool(name="look", approval=True)
async def guarded(order: str) -> str:
    """Where an order is."""
    return f"{order}: shipped"


def turn(dialect: Dialect, streamed: bool) -> Script:
    return streams(native_events(dialect)) if streamed else says(native(dialect))


def last(dialect: Dialect, streamed: bool, text: str = "Shipped.") -> Script:
    return streams(dialect.stream(text)) if streamed else says(dialect.answer(text))


async def run(agent: Agent[Any, str], streamed: bool, question: str = "Where?", **options: Any) -> Any:
    if not streamed:
        return await agent.run(question, **options)
    async with agent.stream(question, **options) as live:
        async for _ in live:
            pass
    return live.result


both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


@every_dialect
async def test_a_turn_with_thoughts_and_own_tools_is_the_same_whole_and_streamed(dialect: Dialect) -> None:
    scripts = [turn(dialect, False), turn(dialect, True)]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        whole = await provider.complete(LLMRequest((Message.user("Where?"),)))
        streamed, chunks = await read(provider)
    assert whole == streamed
    assert [call.arguments["order"] for call in whole.tool_calls] == list(ORDERS)
    assert whole.text == "Let me look."
    assert next(part for part in whole.parts if isinstance(part, Reasoning)).text == THOUGHT
    if "responses" not in dialect.name:
        assert "".join(chunk.reasoning for chunk in chunks) == THOUGHT


@every_dialect
@both_ways
async def test_what_the_vendor_said_goes_back_in_its_order(dialect: Dialect, streamed: bool) -> None:
    scripts = [turn(dialect, streamed), last(dialect, streamed)]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        result = await run(Agent(provider, tools=[look]), streamed)
    assert completed(result).output == "Shipped."
    found = sent_back(dialect, server.seen[1].body)
    assert _loose(found) == _loose(expected(dialect))


def _loose(turn: Any) -> str:
    """The turn as text, keys in their order; the spaces within the arguments of a call are our own."""
    data = json.loads(json.dumps(turn))
    calls = data["tool_calls"] if isinstance(data, dict) else data
    for call in calls:
        function = call.get("function", call)
        if isinstance(function.get("arguments"), str):
            function["arguments"] = json.loads(function["arguments"])
    return json.dumps(data, ensure_ascii=False, sort_keys=True)


@every_dialect
@both_ways
async def test_it_survives_a_pause_as_text_and_another_process(dialect: Dialect, streamed: bool) -> None:
    scripts = [turn(dialect, streamed), last(dialect, False)]
    async with ScriptedServer(scripts) as server:
        async with dialect.make(server.url) as provider:
            paused = await run(Agent(provider, tools=[guarded], checkpoint_key="k" * 32), streamed)
        assert isinstance(paused, Paused)
        text = paused.checkpoint.to_json()
        async with dialect.make(server.url) as provider:
            again = Agent(provider, tools=[guarded], checkpoint_key="k" * 32)
            result = await again.resume(
                Checkpoint.from_json(text), answers={ask.id: True for ask in paused.asks}
            )
    assert completed(result).output == "Shipped."
    assert _loose(sent_back(dialect, server.seen[1].body)) == _loose(expected(dialect))


@every_dialect
async def test_it_survives_a_conversation_in_a_store(dialect: Dialect, tmp_path: Path) -> None:
    scripts = [turn(dialect, False), last(dialect, False), last(dialect, False)]
    async with ScriptedServer(scripts) as server:
        for question in ("Where?", "Really?"):
            async with dialect.make(server.url) as provider:
                agent = Agent(provider, tools=[look], state=SQLiteState(tmp_path / "desk.db"))
                completed(await agent.run(question, identity=ME))
    assert len(server.seen) == 3
    for exchange in server.seen[1:]:
        assert _loose(sent_back(dialect, exchange.body)) == _loose(expected(dialect))


# ── to nobody else ──────────────────────────────────────────────────────────────────────────────

HTTP = [dialect for dialect in DIALECTS if dialect.name.startswith("http-")]


@pytest.mark.parametrize(
    ("first", "second"),
    list(itertools.permutations(HTTP, 2)),
    ids=lambda each: each.name.removeprefix("http-"),
)
@both_ways
async def test_another_vendor_gets_texts_and_calls_and_nothing_of_the_first(
    first: Dialect, second: Dialect, streamed: bool
) -> None:
    down = says({"error": {"message": "overloaded"}}, 529)
    async with (
        ScriptedServer([turn(first, streamed), down]) as one,
        ScriptedServer([last(second, streamed)]) as two,
        first.make(one.url) as primary,
        second.make(two.url) as other,
    ):
        result = await run(Agent(with_fallback(primary, other), tools=[look]), streamed)
    assert completed(result).output == "Shipped."
    sent = json.dumps(two.seen[0].body, ensure_ascii=False)
    assert [word for word in PRIVATE if word in sent] == []
    for word in ("Let me look.", *ORDERS, "Ä-1: shipped", "B-2: shipped"):
        assert word in sent
    assert sent.count("Let me look.") == 1


@pytest.mark.parametrize("kind", [ResponsesWire, ChatWire])
def test_a_server_of_the_same_api_is_another_vendor(kind: Any) -> None:
    dialect = next(
        each for each in HTTP if each.name == ("http-chat" if kind is ChatWire else "http-responses")
    )
    said = kind("a", vendor="a.example").whole(native(dialect), None).message
    request = LLMRequest((Message.user("Where?"), said))
    sent = json.dumps(kind("b", vendor="b.example").body(request, "m", stream=False), ensure_ascii=False)
    assert [word for word in PRIVATE if word in sent] == []
    assert "Let me look." in sent
    same = json.dumps(kind("c", vendor="a.example").body(request, "m", stream=False), ensure_ascii=False)
    assert json.dumps(THOUGHT, ensure_ascii=False) in same


@every_dialect
async def test_a_message_that_only_others_can_read_is_left_out(dialect: Dialect) -> None:
    foreign = Message.assistant([Reasoning("hm", "sig", "data", "elsewhere"), Opaque("elsewhere", {"a": 1})])
    request = LLMRequest((Message.user("One."), foreign, Message.user(["Two.", Opaque("elsewhere", {})])))
    async with ScriptedServer([last(dialect, False)]) as server, dialect.make(server.url) as provider:
        await provider.complete(request)
    body = server.seen[0].body
    turns = body.get("messages") or body["input"]
    assert {each["role"] for each in turns} == {"user"}
    sent = json.dumps(body)
    assert "One." in sent
    assert "Two." in sent
    assert "elsewhere" not in sent


def test_texts_that_a_vendor_wrote_as_messages_of_their_own_go_back_as_such() -> None:
    wire = ResponsesWire("openai")
    output = [
        {
            "type": "message",
            "phase": phase,
            "role": "assistant",
            "content": [{"type": "output_text", "text": text}],
        }
        for phase, text in (("commentary", "I look."), ("final_answer", "It shipped."))
    ]
    refused = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    said = wire.whole({"status": "completed", "output": [*output, refused]}, None)
    assert [part.text for part in said.parts if isinstance(part, Text)] == ["I look.", "It shipped.", "No."]
    sent = wire.body(LLMRequest((said.message,)), "m", stream=False)
    assert sent["input"] == [*output, refused]
