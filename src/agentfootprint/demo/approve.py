"""What a second process does, perhaps on another day: `python -m agentfootprint.demo.approve dana`.

It has the files in `demo-data` and nothing else of the process that paused.
"""

from __future__ import annotations

import asyncio
import os
import sys

from agentfootprint import Checkpoint
from agentfootprint.errors import ResumeRefused

from .app import FOLDER, build_agent
from .say import say

__all__ = ["CHECKPOINT", "FOOTPRINT"]

CHECKPOINT = FOLDER / "refund.checkpoint.json"
FOOTPRINT = FOLDER / "refund.footprint.jsonl"


async def approve(person: str) -> None:
    checkpoint = Checkpoint.from_json(CHECKPOINT.read_text())
    agent = build_agent(FOLDER)
    say(f"Process {os.getpid()}: {person} says yes to “{checkpoint.asks[0].question}”")
    result = await agent.resume(checkpoint, answer=True, by=person)
    say(result.messages[-1].text, "  ")
    say("\nWhat happened: footprint.narrative()\n\n" + result.footprint.narrative())
    say('\nWhat the answer rests on: footprint.why("output")\n\n' + result.footprint.why("output"))
    result.footprint.save(FOOTPRINT)


if __name__ == "__main__":
    try:
        asyncio.run(approve(sys.argv[1]))
    except ResumeRefused as refused:
        say(f"{type(refused).__name__}: {refused}", "  ")
        sys.exit(1)
