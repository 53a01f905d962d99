"""The story: two shops, one agent, a refund that a person approves in another process."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import textwrap

from agentfootprint import Agent, MemoryIdentity, Paused
from agentfootprint.agent import Result

from .app import FOLDER, build_agent
from .approve import CHECKPOINT, FOOTPRINT
from .orders import Orders

ALICE = MemoryIdentity(tenant="alpine", principal="alice", conversation_id="monday")
BEN = MemoryIdentity(tenant="juno", principal="ben", conversation_id="monday")
ALICE_LATER = MemoryIdentity(tenant="alpine", principal="alice", conversation_id="tuesday")


async def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    agent = build_agent(FOLDER)
    orders = Orders(FOLDER / "orders.db")
    print(f"A support desk for two shops: {orders.count():,} orders in SQLite, no key, no server.")

    title("Two shops ask at the same time; one Agent object serves both")
    alice, ben = await asyncio.gather(
        ask(agent, ALICE, "Where is order A-2444?"),
        ask(agent, BEN, "What did Ines Weber order?"),
    )
    print(f"Side by side for {overlap(alice, ben) * 1000:.0f} ms.")

    title("Each sees the orders of its own shop only")
    await ask(agent, BEN, "Where is order A-2444?")

    title("Another conversation: memory knows which order was meant; a refund needs a person")
    refund = await ask(
        agent, ALICE_LATER, "The customer wants a refund for the order I asked about: it arrived torn."
    )
    assert isinstance(refund, Paused)
    CHECKPOINT.write_text(refund.checkpoint.to_json())
    print(f"Process {os.getpid()} keeps the checkpoint in {CHECKPOINT} and is done with it.")

    title("A second process reads the checkpoint, and a person approves")
    second_process("dana")
    print(f"\nThe whole record is in {FOOTPRINT}.")

    title("The same approval again, in a third process")
    second_process("mallory")
    print(f"Refunds paid: {orders.count('refunds')}.")

    title("The first process goes on in the same conversation")
    await ask(agent, ALICE_LATER, "How does that order stand now?")

    title("With a real model")
    print(REAL_MODEL)


async def ask(agent: Agent[None, str], who: MemoryIdentity, text: str) -> Result[str]:
    result = await agent.run(text, identity=who)
    said = f"asks a person: {result.asks[0].question}" if isinstance(result, Paused) else result.output
    print(
        textwrap.dedent(f"""\
        {who.tenant}, {who.principal}:  {text}
          {said}""")
    )
    return result


def second_process(person: str) -> None:
    command = [sys.executable, "-m", "agentfootprint.demo.approve", person]
    print("$ python", *command[1:], flush=True)
    subprocess.run(command, stderr=subprocess.STDOUT, check=False)


def overlap(left: Result[str], right: Result[str]) -> float:
    """Seconds during which both runs were under way."""
    first, second = sorted((left.footprint, right.footprint), key=lambda footprint: footprint.started)
    return max(step.end or 0.0 for step in first.steps) - second.started


def title(text: str) -> None:
    print(f"\n── {text}\n")


REAL_MODEL = """\
The answers came from a scripted model (agentfootprint/demo/model.py). A real one is one changed line in
agentfootprint/demo/app.py:

    provider=MyProvider(...)     # any object with complete() and stream(); the README writes one in 30 lines

Talk to the desk yourself:

    agentfootprint chat agentfootprint.demo.app:agent --tenant alpine --principal alice"""


if __name__ == "__main__":
    asyncio.run(main())
