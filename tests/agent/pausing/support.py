"""What the tests of pausing share: a ledger of side effects, resuming from text, other processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import agentfootprint
from agentfootprint import Agent, Checkpoint, Completed, MemoryIdentity, Paused
from agentfootprint.flow.codec import decode, dumps, encode
from agentfootprint.messages import Message
from agentfootprint.providers import MockProvider

SOURCE = Path(agentfootprint.__file__).parent.parent

ALICE = MemoryIdentity("acme", "alice", "t-1")

call = MockProvider.call


def must_pause(result: Any) -> Paused:
    assert isinstance(result, Paused), result
    return result


def output_of(result: Any) -> Any:
    assert isinstance(result, Completed), result
    return result.output


def through_text(paused: Any) -> Checkpoint:
    """The checkpoint as another process would read it."""
    checkpoint = paused if isinstance(paused, Checkpoint) else must_pause(paused).checkpoint
    return Checkpoint.from_json(checkpoint.to_json())


async def go_on(agent: Agent[Any, Any], paused: Any, *answer: Any, **options: Any) -> Any:
    """Resumes a paused result (or a checkpoint) from its text."""
    if answer:
        options["answer"] = answer[0]
    return await agent.resume(through_text(paused), **options)


def assert_whole(messages: Sequence[Message]) -> None:
    """Each call has exactly one result, right behind the message that asked, in the order asked."""
    waiting: list[str] = []
    for message in messages:
        if waiting:
            assert (message.role, message.call_id) == ("tool", waiting.pop(0))
            continue
        assert message.role != "tool", f"a result without its call: {message}"
        assert message.parts, "a message without content"
        waiting = [one.id for one in message.tool_calls]
    assert not waiting, f"calls without a result: {waiting}"


def results_of(messages: Sequence[Message]) -> dict[str, str]:
    """The text of each tool result, by its tool's name."""
    return {str(message.name): message.text for message in messages if message.role == "tool"}


def plain(messages: Sequence[Message]) -> Any:
    """The conversation as JSON, to be compared across processes."""
    return encode(list(messages))


def size_of(messages: Sequence[Message]) -> int:
    return len(dumps(plain(messages)).encode("utf-8", "surrogatepass"))


def messages_from(data: Any) -> list[Message]:
    return decode(list[Message], data)  # type: ignore[no-any-return]


class Other:
    """Another Python process that runs a script of the test's folder."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, folder: Path, script: str, *args: str) -> Other:
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                str(folder / script),
                *args,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{folder}"},
                cwd=folder,
            )
        )

    async def output(self) -> str:
        """What it printed, once it ended well."""
        out, err = await self._process.communicate()
        assert self._process.returncode == 0, err.decode()
        return out.decode().strip()

    async def killed(self) -> None:
        """Waits until it has killed itself with SIGKILL."""
        _, err = await self._process.communicate()
        assert self._process.returncode == -signal.SIGKILL, err.decode()


async def run_other(folder: Path, script: str, *args: str) -> str:
    return await (await Other.start(folder, script, *args)).output()


async def cancelled(running: asyncio.Task[Any]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
