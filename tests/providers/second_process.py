"""One more turn of a conversation, in a process of its own: `python -m tests.providers.second_process`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.state import SQLiteState
from tests.providers.dialects import DIALECTS

ME = MemoryIdentity("acme", "alice", "c-1")


@tool
async def look(order: str, deep: Any = None) -> dict[str, Any]:
    """Where an order is."""
    return {"ort": f"Köln: {order}", "n": 1.0, "b": None, "a": [True, {"z": 1, "y": 2}]}


@tool
async def zebra(stripes: int = 3, colours: tuple[str, ...] = ("black", "white")) -> str:
    """Comes first although its name is last."""
    return "zebra"


@tool
async def alpha(text: str, options: dict[str, Any] | None = None) -> str:
    """Comes last although its name is first."""
    return text


TOOLS: Iterable[Any] = (zebra, look, alpha)


def desk(provider: Any, path: str, **options: Any) -> Agent[Any, str]:
    return Agent(
        provider, tools=TOOLS, system="Be brief. Grüße.", state=SQLiteState(path), max_tokens=99, **options
    )


async def main(name: str, url: str, path: str) -> None:
    dialect = next(each for each in DIALECTS if each.name == name)
    async with dialect.make(url) as provider:
        result = await desk(provider, path).run("And in another process?", identity=ME)
    print(result.status)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
