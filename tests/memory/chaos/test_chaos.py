"""Four processes, 200 turns, connections that are cut all the time: what was acknowledged is there once."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis.asyncio

from agentfootprint.messages import LLMRequest
from agentfootprint.providers import MockProvider
from tests.servers.proxy import Proxy
from tests.servers.stores import Place, memory_at, place, state_at

from .worker import PERSON, answer, desk, of

TURNS = 50
WHO = ("ann", "ben", "cid", "dan")

Cut = Callable[[], Awaitable[None]]


class Worker:
    """A process, the turns that it said were done, and what it told in the end."""

    def __init__(self, who: str, process: asyncio.subprocess.Process) -> None:
        self.who = who
        self.process = process
        self.acknowledged: list[tuple[str, str]] = []
        self.told: dict[str, dict[str, int]] | None = None

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")

    async def listen(self, heard: Callable[[], None]) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            text = line.decode().strip()
            if text.startswith("{"):
                self.told = json.loads(text)
            else:
                where, _, question = text.partition(": ")
                self.acknowledged.append((where, question))
                heard()


@contextlib.asynccontextmanager
async def workers(*starts: tuple[Place, str, int, int]) -> AsyncIterator[list[Worker]]:
    pipe = asyncio.subprocess.PIPE
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    made: list[Worker] = []
    try:
        for where, who, first, turns in starts:
            arguments = ("-m", "tests.memory.chaos.worker", *where, who, str(first), str(turns))
            process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdin=pipe, stdout=pipe, env=environment, cwd=root
            )
            made.append(Worker(who, process))
        for each in made:
            assert each.process.stdout is not None
            assert await each.process.stdout.readline() == b"ready\n"
            each.go()
        yield made
    finally:
        for each in made:
            with contextlib.suppress(ProcessLookupError):
                each.process.kill()
            await each.process.wait()


async def remembered(where: Place) -> list[tuple[str, str, str]]:
    """Conversation, question and answer of each entry, oldest first."""
    found: list[tuple[str, str, str]] = []
    cursor: str | None = None
    async with memory_at(*where) as store:
        while True:
            page = await store.list(PERSON, limit=100, cursor=cursor)
            for entry in page.entries:
                question, said = (message["parts"][0]["text"] for message in entry.value["messages"])
                found.append((entry.metadata["conversation"], question, said))
            cursor = page.cursor
            if cursor is None:
                return found[::-1]


async def conversation(where: Place, name: str) -> list[str]:
    """What a next turn is shown of a conversation."""
    seen: list[LLMRequest] = []

    def respond(request: LLMRequest) -> str:
        seen.append(request)
        return answer(request)

    async with memory_at(*where) as store, state_at(*where) as state:
        agent = desk(store, state).replace(provider=MockProvider(respond=respond), memory=[])
        await agent.run("?", identity=of(name), busy_timeout=30)
    return [message.text for message in seen[0].messages[:-1]]


async def check(where: Place, crew: list[Worker], *, maybe: frozenset[str] = frozenset()) -> None:
    """What was acknowledged is there once, in its conversation, in order, and nothing else is but, at most
    once, what was under way when its process was killed."""
    acknowledged = [each for worker in crew for each in worker.acknowledged]
    assert len(set(acknowledged)) == len(acknowledged)
    entries = await remembered(where)
    kept = [(name, question) for name, question, _ in entries if question not in maybe]
    assert collections.Counter(kept) == collections.Counter(acknowledged)
    assert all(said == f"to {question}" for _, question, said in entries)
    left = [question for _, question, _ in entries if question in maybe]
    assert len(set(left)) == len(left)
    for name in {name for name, _ in acknowledged}:
        messages = await conversation(where, name)
        questions, said = messages[::2], messages[1::2]
        assert said == [f"to {question}" for question in questions]
        there = [question for question in questions if question not in maybe]
        of_here = [question for where_said, question in acknowledged if where_said == name]
        assert collections.Counter(there) == collections.Counter(of_here)
        assert len(set(questions)) == len(questions)
        for worker in crew:  # A worker asks one turn after the other in each conversation.
            mine = [question for where_said, question in worker.acknowledged if where_said == name]
            assert [question for question in there if question in mine] == mine
            assert [question for each, question in kept if each == name and question in mine] == mine


@contextlib.asynccontextmanager
async def cutting(kind: str, address: str, label: str) -> AsyncIterator[Cut]:
    """Ends every connection of that name."""
    if kind == "redis":
        async with redis.asyncio.Redis.from_url(address) as client:

            async def kill() -> None:
                for each in await client.client_list():
                    if each["name"] == label:
                        await client.client_kill_filter(_id=each["id"])

            yield kill
    else:
        statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        async with await psycopg.AsyncConnection.connect(address, autocommit=True) as admin:

            async def end() -> None:
                await admin.execute(statement, (label,))

            yield end


@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_what_was_acknowledged_is_there_once_however_often_connections_are_cut(
    kind: str, tmp_path: Path
) -> None:
    async with place(kind, tmp_path) as (_, address, name):
        label = name[:60]
        parts = urlsplit(address)
        assert parts.port is not None
        named = f"{'client_name' if kind == 'redis' else 'application_name'}={label}"
        async with cutting(kind, address, label) as cut, Proxy(parts.port) as proxy:
            user = f"{parts.username}@" if parts.username else ""
            through = parts._replace(netloc=f"{user}127.0.0.1:{proxy.port}", query=named)
            direct = (kind, urlunsplit(parts._replace(query=named)), name)
            beside = (kind, urlunsplit(through), name)
            cuts, done = 0, 0
            enough = asyncio.Event()

            def heard() -> None:
                nonlocal done
                done += 1
                if done % 20 == 0:  # Beside those of every second, some that follow the work.
                    enough.set()
                if done % 7 == 0:
                    proxy.tear_answers(times=1)

            async def cut_always() -> None:
                nonlocal cuts
                while True:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1.0):
                            await enough.wait()
                    enough.clear()
                    await cut()
                    cuts += 1

            starts = [(beside if at % 2 else direct, who, 0, TURNS) for at, who in enumerate(WHO)]
            async with workers(*starts) as crew:
                cutter = asyncio.create_task(cut_always())
                try:
                    await asyncio.gather(*(each.listen(heard) for each in crew))
                finally:
                    cutter.cancel()
                    await asyncio.gather(cutter, return_exceptions=True)
        assert cuts >= 5
        assert proxy.torn >= 10
        for each in crew:
            assert each.told is not None, f"{each.who} has ended early"
            assert each.told["conversation"] == {}
            assert set(each.told["failed"]) <= set(each.told["written"])
            assert len(each.acknowledged) == TURNS
        await check((kind, address, name), crew)


async def test_what_was_acknowledged_is_there_once_when_processes_on_one_file_are_killed(
    tmp_path: Path,
) -> None:
    async with place("sqlite", tmp_path) as where, contextlib.AsyncExitStack() as stack:
        crew = await stack.enter_async_context(workers(*((where, who, 0, 20) for who in WHO)))
        killed: list[Worker] = []

        async def listen(worker: Worker, *, mortal: bool) -> None:
            def heard() -> None:
                if mortal and len(worker.acknowledged) == 7:
                    worker.process.kill()
                    killed.append(worker)

            await worker.listen(heard)
            if worker in killed:
                # Another one goes on with its conversations, once their leases are over.
                [heir] = await stack.enter_async_context(workers((where, worker.who, 100, 10)))
                crew.append(heir)
                await heir.listen(lambda: None)

        await asyncio.gather(*(listen(each, mortal=at < 2) for at, each in enumerate(list(crew))))
        assert len(killed) == 2
        asked: set[Any] = set()
        for each in crew:
            asked |= {question for _, question in each.acknowledged}
            assert each in killed or (each.told is not None and each.told["conversation"] == {})
        under_way = {f"{each.who} {number}" for each in killed for number in range(20)} - asked
        await check(where, crew, maybe=frozenset(under_way))
