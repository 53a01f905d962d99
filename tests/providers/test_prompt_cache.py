"""What a vendor has read it need not read again: the bytes in front stay, and are marked where it asks."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, Paused, tool
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.messages import Image, LLMRequest, Message, ToolSpec, Usage
from tests.agent.support import completed
from tests.providers.dialects import Call, Dialect
from tests.providers.native import native, native_events
from tests.providers.second_process import ME, TOOLS, desk
from tests.providers.server import Exchange, ScriptedServer, says, streams
from tests.providers.test_inputs import HTTP
from tests.providers.test_reasoning import both_ways, run
from tests.providers.test_wires import CALLS, REQUEST, every_dialect

MORE: list[Call] = [
    ("c3", "look", {"order": 'Ä 📦 " \\ \u2028', "deep": {"z": 1.0, "a": [1e21, -0.0, None]}}),
]


def front(exchange: Exchange) -> str:
    """The body as it was sent, up to the end of the last message."""
    text = exchange.raw.decode()
    name = '"messages":' if '"messages":' in text else '"input":'
    begin = text.index(name) + len(name)
    begin += len(text[begin:]) - len(text[begin:].lstrip())
    messages, end = json.JSONDecoder().raw_decode(text, begin)
    assert len(messages) > 0
    return text[: end - 1]


def assert_grows(exchanges: list[Exchange]) -> None:
    for earlier, later in itertools.pairwise(exchanges):
        assert later.raw.decode().startswith(front(earlier))
        assert len(front(later)) > len(front(earlier))


def answers(dialect: Dialect, streamed: bool, *turns: tuple[str, list[Call]]) -> list[Any]:
    if streamed:
        return [streams(dialect.stream(*turn), 1000) for turn in turns]
    return [says(dialect.answer(*turn)) for turn in turns]


@every_dialect
@both_ways
async def test_bytes_in_front_stay_over_calls_and_turns_with_thoughts_and_memory(
    dialect: Dialect, streamed: bool, tmp_path: Path
) -> None:
    thinking: Any = streams(native_events(dialect)) if streamed else says(native(dialect))
    scripts = [
        thinking,
        *answers(dialect, streamed, ("Ich", CALLS), ("Shipped.", []), ("", MORE), ("Yes.", [])),
    ]
    memory = Memory("m", scope="principal", store=InMemoryStore())
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        agent = desk(provider, str(tmp_path / "a.db"), memory=[memory])
        for question in ("Where?", "Really?"):
            completed(await run(agent, streamed, question, identity=ME))
    assert len(server.seen) == 5
    assert_grows(server.seen)


@every_dialect
async def test_a_recalled_memory_stays_in_front_for_the_whole_run(dialect: Dialect) -> None:
    memory = Memory("m", scope="principal", store=InMemoryStore())
    scripts = answers(dialect, False, ("Noted.", []), ("", CALLS), ("", MORE), ("Yes.", []))
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        agent = Agent(provider, tools=TOOLS, memory=[memory])
        await agent.run("My order is Ä-1.", identity=ME)
        await agent.run("Where is it?", identity=ME)
    assert "My order is" in front(server.seen[1])
    assert_grows(server.seen[1:])


@every_dialect
@both_ways
async def test_bytes_in_front_stay_over_a_pause(dialect: Dialect, streamed: bool) -> None:
    @tool(approval=True)
    async def look(order: str, deep: Any = None) -> list[Any]:
        """Where an order is."""
        return [order, Image(data="iVBORw0KGgo=")]

    # A run that goes on is not streamed: nobody reads along.
    scripts = [
        *answers(dialect, streamed, ("Ich", CALLS)),
        *answers(dialect, False, ("", MORE), ("Yes.", [])),
    ]
    async with ScriptedServer(scripts) as server:
        result: Any = None
        for _ in range(3):
            async with dialect.make(server.url) as provider:
                agent = Agent(provider, tools=[look], system="Be brief.", checkpoint_key="k" * 32)
                if result is None:
                    result = await run(agent, streamed)
                    continue
                assert isinstance(result, Paused)
                checkpoint = Checkpoint.from_json(result.checkpoint.to_json())
                result = await agent.resume(checkpoint, answers={ask.id: True for ask in result.asks})
    completed(result)
    assert len(server.seen) == 3
    assert_grows(server.seen)


@every_dialect
async def test_bytes_in_front_stay_in_a_second_process(dialect: Dialect, tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    scripts = [
        says(native(dialect)),
        *answers(dialect, False, ("", MORE), ("Shipped.", []), ("", CALLS), ("Yes.", [])),
    ]
    async with ScriptedServer(scripts) as server:
        async with dialect.make(server.url) as provider:
            completed(await desk(provider, path).run("Where?", identity=ME))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.providers.second_process",
            *(dialect.name, server.url, path),
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": "77"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
    assert out.split() == [b"completed"], errors.decode()
    assert len(server.seen) == 5
    assert_grows(server.seen)


# ── marks ───────────────────────────────────────────────────────────────────────────────────────


def marks(value: Any) -> int:
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(marks, value.values()))
    return sum(map(marks, value)) if isinstance(value, list) else 0


@pytest.mark.parametrize("tools", [0, 1, 5])
@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("length", [1, 40])
def test_anthropic_is_told_the_ends_of_tools_system_and_conversation(
    tools: int, system: str | None, length: int
) -> None:
    specs = tuple(ToolSpec(f"t{n}", "", {"type": "object", "properties": {}}) for n in range(tools))
    messages = [Message.user("Hi."), Message.assistant("Yes?")] * length + [Message.user("Go.")]
    wire = HTTP["anthropic"].make("http://127.0.0.1:1")._wire
    body = wire.body(LLMRequest(messages, system, specs), "m", stream=False)
    assert marks(body) == 1 + bool(tools) + bool(system) <= 4
    assert [marks(each) for each in body.get("tools", [])] == [0] * (tools - 1) + [1] * bool(tools)
    assert marks(body.get("system", [])) == bool(system)
    # The mark of the conversation moves by itself: none within the messages, whose bytes stay as they are.
    assert body["cache_control"] == {"type": "ephemeral"}
    assert marks(body["messages"]) == 0


def test_without_cache_nothing_is_marked() -> None:
    from agentfootprint.providers import HTTPAnthropicProvider

    wire = HTTPAnthropicProvider("m", api_key="k" * 20, cache=False)._wire
    request = LLMRequest((Message.user("Hi."),), "Be brief.", (ToolSpec("t", "", {}),))
    assert marks(wire.body(request, "m", stream=False)) == 0


USAGES: list[tuple[str, dict[str, Any], Usage]] = [
    (
        "anthropic",
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 3},
        },
        Usage(130, 5, 100, 20, 3),
    ),
    (
        "anthropic",
        {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": None},
        Usage(10, 5),
    ),
    (
        "chat",
        {
            "prompt_tokens": 130,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
        Usage(130, 5, 100, 20, 3),
    ),
    ("chat", {"prompt_tokens": 130, "completion_tokens": 5, "prompt_tokens_details": None}, Usage(130, 5)),
    (
        "responses",
        {
            "input_tokens": 130,
            "output_tokens": 5,
            "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 20},
            "output_tokens_details": {"reasoning_tokens": 3},
        },
        Usage(130, 5, 100, 20, 3),
    ),
]


@pytest.mark.parametrize(("name", "said", "usage"), USAGES)
async def test_tokens_read_from_and_written_to_the_cache_are_told(
    name: str, said: dict[str, Any], usage: Usage
) -> None:
    dialect = HTTP[name]
    script = says({**dialect.answer("Hi."), "usage": said})
    async with ScriptedServer([script]) as server, dialect.make(server.url) as provider:
        response = await provider.complete(REQUEST)
    assert response.usage == usage
