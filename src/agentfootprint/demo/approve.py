"""What a second process does, perhaps on another day: `python -m agentfootprint.demo.approve dana`.

It knows the files in `demo-data` and nothing else of the process that paused.
"""

from __future__ import annotations

import asyncio
import os
import sys

from agentfootprint import Checkpoint
from agentfootprint.errors import ResumeRefused

from .app import FOLDER, build_agent

__all__ = ["CHECKPOINT", "FOOTPRINT"]

CHECKPOINT = FOLDER / "refund.checkpoint.json"
FOOTPRINT = FOLDER / "refund.footprint.jsonl"


async def approve(person: str) -> None:
    checkpoint = Checkpoint.from_json(CHECKPOINT.read_text())
    result = await build_agent(FOLDER).resume(checkpoint, answer=True, by=person)
    result.footprint.save(FOOTPRINT)
    print(f"process {os.getpid()}, after {person} said yes to: {checkpoint.asks[0].question}")
    print(f"  {result.messages[-1].text}")
    print(f"\nWhat happened: footprint.narrative()\n\n{result.footprint.narrative()}")
    print(f'\nWhat the answer rests on: footprint.why("output")\n\n{result.footprint.why("output")}')


if __name__ == "__main__":
    try:
        asyncio.run(approve(sys.argv[1]))
    except ResumeRefused as refused:
        sys.exit(f"process {os.getpid()}: {type(refused).__name__}: {refused}")
