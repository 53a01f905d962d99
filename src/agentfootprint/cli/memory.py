"""`agentfootprint memory`: what an agent's memories keep of somebody, and forgetting it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from ..agent import Agent
from ..errors import InputInvalid
from ..identity import MemoryIdentity
from ..memory.base import MemoryEntry
from ..memory.memory import Memory
from .codes import COMPLETED
from .loading import as_agent, find, make
from .loop import Loop
from .terminal import consoles, printable, read_line

__all__ = ["MemoryOptions", "export", "forget", "ls", "show", "stats"]

WIDTH = 60


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """Which memories of whom: those of an agent, or the one of that id."""

    target: str
    identity: MemoryIdentity | None
    memory: str | None = None

    @property
    def who(self) -> MemoryIdentity:
        if self.identity is None or self.identity.tenant is None:
            raise InputInvalid("say whose memories: --tenant NAME, and --principal, --conversation as needed")
        return self.identity


def ls(options: MemoryOptions, limit: int) -> int:
    """The newest entries of each memory, a line each."""

    async def work(agent: Agent[Any, Any]) -> int:
        table = Table("memory", "entry", "written", "what was asked", box=None, pad_edge=False)
        for memory in _chosen(agent, options):
            left = limit
            async for entry in memory.entries(options.who):
                if left == 0:
                    break
                left -= 1
                table.add_row(memory.id, entry.id.partition("/")[2][:12], _when(entry), Text(_first(entry)))
        consoles()[0].print(table)
        return COMPLETED

    return _with_agent(options, work)


def show(options: MemoryOptions, wanted: str) -> int:
    """One entry as JSON, by the beginning of its id."""

    async def work(agent: Agent[Any, Any]) -> int:
        found = [
            (memory, entry)
            async for memory, entry in _all(agent, options)
            if wanted and (entry.id if "/" in wanted else entry.id.partition("/")[2]).startswith(wanted)
        ]
        if len(found) != 1:
            why = "no entry" if not found else f"{len(found)} entries"
            raise InputInvalid(f"{why} of {wanted!r}: `agentfootprint memory ls` lists them")
        print(json.dumps(_told(*found[0]), ensure_ascii=False, indent=2))
        return COMPLETED

    return _with_agent(options, work)


def export(options: MemoryOptions) -> int:
    """Every entry, a line of JSON each, the newest first."""

    async def work(agent: Agent[Any, Any]) -> int:
        async for memory, entry in _all(agent, options):
            print(json.dumps(_told(memory, entry), ensure_ascii=False))
        return COMPLETED

    return _with_agent(options, work)


def stats(options: MemoryOptions) -> int:
    """How many entries each memory shows to somebody, and from when to when they are."""

    async def work(agent: Agent[Any, Any]) -> int:
        table = Table(
            "memory", "kept in", "shared by", "entries", "oldest", "newest", box=None, pad_edge=False
        )
        for memory in _chosen(agent, options):
            entries = [entry async for entry in memory.entries(options.who)]
            ends = (_when(entries[-1]), _when(entries[0])) if entries else ("", "")
            where = type(memory.store).__name__
            table.add_row(memory.id, where, memory.scope, str(len(entries)), *ends)
        consoles()[0].print(table)
        return COMPLETED

    return _with_agent(options, work)


def forget(options: MemoryOptions, *, sure: bool) -> int:
    """Deletes all that the agent's stores and state keep of somebody, and tells what it was."""
    who = options.who
    out, err = consoles()
    if not sure:
        name = " / ".join(part or "(none)" for part in who.parts if part is not None)
        try:
            asked = read_line(err, Text(f"Delete all that is kept of {printable(name)}, for good? [y/N] "))
        except EOFError:
            asked = ""
        if asked.strip().lower() not in ("y", "yes"):
            raise InputInvalid("nothing was deleted; --yes says it beforehand")

    async def work(agent: Agent[Any, Any]) -> int:
        table = Table("kept in", "memories", "deleted", box=None, pad_edge=False)
        for each in await agent.forget(who):
            table.add_row(each.place, ", ".join(each.memories) or "conversations, claims", str(each.deleted))
        out.print(table)
        return COMPLETED

    return _with_agent(options, work)


def _with_agent(options: MemoryOptions, work: Callable[[Agent[Any, Any]], Awaitable[int]]) -> int:
    found = find(options.target)
    with Loop() as loop:
        agent = as_agent(options.target, loop.run(make(options.target, found)))

        async def worked() -> int:
            return await work(agent)

        try:
            return loop.run(worked())
        finally:
            loop.run(agent.aclose())


def _chosen(agent: Agent[Any, Any], options: MemoryOptions) -> list[Memory]:
    found = [each for each in agent.memories if options.memory in (None, each.id)]
    if not found:
        has = ", ".join(each.id for each in agent.memories) or "none"
        raise InputInvalid(
            f"the agent has no memory {options.memory!r}, it has: {has}"
            if options.memory
            else "the agent has no memory"
        )
    return found


async def _all(agent: Agent[Any, Any], options: MemoryOptions) -> AsyncIterator[tuple[Memory, MemoryEntry]]:
    for memory in _chosen(agent, options):
        async for entry in memory.entries(options.who):
            yield memory, entry


def _told(memory: Memory, entry: MemoryEntry) -> dict[str, Any]:
    return {
        "memory": memory.id,
        "id": entry.id,
        "created": entry.created,
        "expires": entry.expires,
        "metadata": dict(entry.metadata),
        "value": entry.value,
        "embedder": None if entry.embedding is None else entry.embedding.fingerprint,
    }


def _when(entry: MemoryEntry) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.created or 0.0))


def _first(entry: MemoryEntry) -> str:
    """The first words of an entry, safe to print."""
    try:
        [question, *_] = entry.value["messages"]
        text = " ".join(part["text"] for part in question["parts"] if part.get("kind") == "text")
    except (TypeError, KeyError, ValueError):
        text = json.dumps(entry.value, ensure_ascii=False)
    text = printable(" ".join(text.split()))
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
