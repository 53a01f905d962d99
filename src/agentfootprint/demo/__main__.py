"""The story: two shops, one agent, a refund that a person approves in another process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from agentfootprint import Agent, MemoryIdentity, Paused
from agentfootprint.agent import Result

from .app import FOLDER, build_agent
from .approve import CHECKPOINT, FOOTPRINT
from .orders import Orders
from .say import say, title

ALICE = MemoryIdentity(tenant="alpine", principal="alice", conversation_id="monday")
BEN = MemoryIdentity(tenant="juno", principal="ben", conversation_id="monday")
ALICE_LATER = MemoryIdentity(tenant="alpine", principal="alice", conversation_id="tuesday")


async def story() -> None:
    forget_the_last_time()
    agent = build_agent(FOLDER)
    orders = Orders(FOLDER / "orders.db")
    local = os.environ.get("DEMO_MODEL") == "local"
    without = "No key." if local else "No key, no server."
    say(f"A support desk for two shops, {orders.totals()[0]:,} orders in SQLite. {without}")
    if local:
        print(LOCAL_MODEL)

    title("Two shops ask at the same time; one Agent object serves both")
    asked = ((ALICE, "Where is order A-2444?"), (BEN, "What did Ines Weber order?"))
    alice, ben = await asyncio.gather(*(agent.run(question, identity=who) for who, question in asked))
    for (who, question), result in zip(asked, (alice, ben), strict=True):
        told(who, question, result)
    say(f"Both runs were under way together for {together(alice, ben) * 1000:.0f} ms.")

    title("Each sees the orders of its own shop only")
    await ask(agent, BEN, "Where is order A-2444?")

    title("Another conversation: memory tells which order is meant; a refund waits for a person")
    refund = await ask(
        agent, ALICE_LATER, "The customer wants a refund for the order I asked about: it arrived torn."
    )
    assert isinstance(refund, Paused)
    CHECKPOINT.write_text(refund.checkpoint.to_json())
    say(f"Process {os.getpid()} writes the checkpoint to {CHECKPOINT} and waits for nobody.")

    title("A second process reads the checkpoint; a person approves; the run goes on to its end")
    assert another_process("dana")
    say(f"\nThe whole record is in {FOOTPRINT}.")

    title("The same approval again, in a third process")
    assert not another_process("erik")
    say(f"Refunds paid: {orders.totals()[1]}.")

    title("The first process goes on in the conversation that the second one finished")
    await ask(agent, ALICE_LATER, "How does that order stand now?")

    title("With a real model")
    print(SMALL_MODEL if local else REAL_MODEL)
    print(TALK)


async def ask(agent: Agent[None, str], who: MemoryIdentity, question: str) -> Result[str]:
    result = await agent.run(question, identity=who)
    told(who, question, result)
    return result


def told(who: MemoryIdentity, question: str, result: Result[str]) -> None:
    answer = f"A person is asked: {result.asks[0].question}" if isinstance(result, Paused) else result.output
    say(f"{who.principal} of {who.tenant}: {question}")
    say(answer or "", "  ")


def another_process(person: str) -> bool:
    """Lets a person approve the refund in a process of its own; whether it was accepted."""
    command = ["python", "-m", "agentfootprint.demo.approve", person]
    say(f"$ {' '.join(command)}")
    return subprocess.run([sys.executable, *command[1:]], check=False).returncode == 0


def forget_the_last_time() -> None:
    for pattern in ("orders.db*", "support.db*", "refund.*"):
        for file in FOLDER.glob(pattern):
            file.unlink()


def together(left: Result[str], right: Result[str]) -> float:
    """Seconds during which both runs were under way."""
    begun = max(left.footprint.started, right.footprint.started)
    ended = min(max(step.end or 0.0 for step in run.footprint.steps) for run in (left, right))
    return ended - begun


LOCAL_MODEL = """\

DEMO_MODEL=local: SmolLM2, a real language model of 135 million parameters, runs on this machine and writes
the answers. It is too small to call tools: which one is called, the scripted model decides, as ever. It gets
facts wrong: the record it wrote from stands under its words, with what they leave out or make up."""

SMALL_MODEL = """\
SmolLM2 wrote the answers above; the scripted model in agentfootprint/demo/model.py called the tools. A larger
model does both. To use one, change one line in agentfootprint/demo/app.py:

    provider=AnthropicProvider("claude-sonnet-4-5"),    # or another; docs/providers.md has them all
"""

REAL_MODEL = """\
The scripted model in agentfootprint/demo/model.py stands in for a language model. To let a small real one
on this machine write the answers (it fetches 125 MB once):

    DEMO_MODEL=local make demo

To use a real one for everything, change one line in agentfootprint/demo/app.py:

    provider=AnthropicProvider("claude-sonnet-4-5"),    # or another; docs/providers.md has them all
"""

TALK = """\
To talk to the desk yourself:

    .venv-demo/bin/agentfootprint chat agentfootprint.demo.app:agent --tenant alpine --principal alice"""


if __name__ == "__main__":
    asyncio.run(story())
