"""How large a checkpoint is: its conversation's own JSON, and at most 1 KB for each iteration beside it."""

from __future__ import annotations

import random
import string
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, tool
from agentfootprint.providers import MockProvider

from .support import call, go_on, must_pause, output_of, plain, size_of

ITERATIONS = 30

CHARACTERS = {
    "anything on a keyboard": string.ascii_letters + string.digits + string.punctuation + " \n",
    "base64": string.ascii_letters + string.digits + "+/",
    "hexadecimal": "0123456789abcdef",
    "Chinese": "".join(map(chr, range(0x4E00, 0x9000))),
}


def agent_of(characters: str, length: int) -> Agent[Any, Any]:
    source = random.Random(20_26)

    @tool
    async def look(n: int) -> str:
        return "".join(source.choices(characters, k=length))

    @tool(approval=True)
    async def stop() -> str:
        return "stopped"

    replies = [call("look", n=n) for n in range(ITERATIONS - 1)]
    provider = MockProvider(replies=[*replies, call("stop"), "done"])
    return Agent(provider, tools=[look, stop], max_iterations=None)


@pytest.mark.parametrize("length", [20, 300, 8_000, 30_000])
@pytest.mark.parametrize("characters", CHARACTERS)
async def test_a_checkpoint_is_its_conversation_and_a_little_for_each_iteration(
    characters: str, length: int
) -> None:
    agent = agent_of(CHARACTERS[characters], length)
    paused = must_pause(await agent.run("Look around"))
    text = paused.checkpoint.to_json()
    assert len(text.encode()) <= size_of(paused.messages) + 1024 * ITERATIONS
    result = await agent.resume(Checkpoint.from_json(text), answer=True)
    assert output_of(result) == "done"
    assert plain(result.messages)[: len(paused.messages)] == plain(paused.messages)


async def test_texts_that_look_like_the_packing_s_own_marks_come_back_as_they_were() -> None:
    texts = ["\x00", "\x000", "\x00\x001", "\x00" * 500, "x" * 500, "\x000" + "y" * 500]

    @tool
    async def echo(n: int) -> str:
        return texts[n]

    @tool(approval=True)
    async def stop() -> str:
        return "stopped"

    calls = [call("echo", n=n) for n in (0, 1, 2, 3, 4, 5, 3, 4, 5)]
    agent: Agent[Any, Any] = Agent(
        MockProvider(replies=[calls, [call("echo", n=4), call("stop")], "done"]), tools=[echo, stop]
    )
    paused = must_pause(await agent.run("\x00 and " + "x" * 500))
    result = await go_on(agent, paused, True)
    assert plain(result.messages)[: len(paused.messages)] == plain(paused.messages)
    told = [m.text for m in result.messages if m.role == "tool"]
    assert told == [*(texts[n] for n in (0, 1, 2, 3, 4, 5, 3, 4, 5, 4)), "stopped"]
