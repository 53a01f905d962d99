"""Texts written by every released version of the formats stay readable, resumable and replayable.

`corpus/` holds them; nothing in it is ever written again. For a new version of a format, files are added:
`python -m tests.agent.pausing.test_corpus` writes those of the present version that are not there.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, ToolContext, ask_human, tool
from agentfootprint.agent.checkpoint import CHECKPOINT_SCHEMA
from agentfootprint.errors import CheckpointTampered, CheckpointUsed
from agentfootprint.flow import Footprint
from agentfootprint.flow.footprint import FORMAT
from agentfootprint.messages import LLMRequest, LLMResponse, Reasoning, Text, ToolCall, Usage
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState

from .support import ALICE, assert_whole, go_on, must_pause, output_of

CORPUS = Path(__file__).parent / "corpus"
KEY = b"the key of the corpus"
CHECKPOINTS = sorted(CORPUS.glob("*.checkpoint.json"))
FOOTPRINTS = sorted(CORPUS.glob("*.footprint.jsonl"))

ANSWERS: dict[str, Any] = {"Refund 5000?": {"approved": True, "reason": "known"}, "Why?": "late"}


class Desk:
    """The agent that wrote the corpus. Its replies, tools and questions stay as they are."""

    def __init__(self) -> None:
        self.done: list[str] = []

        @tool
        async def look_up(order: str) -> dict[str, Any]:
            """An order by its number."""
            return {"order": order, "amount": 5000, "note": "é\u0301 “quoted” \u2028 \x00 end " + "x" * 400}

        @tool(approval=lambda given: f"Refund {given['amount']}?")
        async def refund(ctx: ToolContext[Any], order: str, amount: int) -> str:
            """Pays an order back."""
            receipt = await ctx.call("pay", self._pay, order, amount)
            why = await ask_human("Why?", data={"order": order}, answer=str)
            return f"{receipt}: {why}"

        self.tools: list[Any] = [look_up, refund]

    async def _pay(self, order: str, amount: int) -> str:
        self.done.append(f"paid {amount} for {order}")
        return f"receipt {len(self.done)}"

    @staticmethod
    def _respond(request: LLMRequest) -> LLMResponse:
        turn = sum(message.role == "assistant" for message in request.messages)
        usage = Usage(input_tokens=100, output_tokens=10, cache_read_tokens=50)
        if turn == 0:
            thought = Reasoning("The order first.", signature="c2lnbmVk", provider="mock")
            first = ToolCall("c1", "look_up", {"order": "A-1"})
            return LLMResponse(parts=[thought, Text("Let me see."), first], usage=usage)
        if turn == 1:
            calls = [
                ToolCall("c2", "refund", {"order": "A-1", "amount": 5000}),
                ToolCall("c3", "look_up", {"order": "B-2"}),
                ToolCall("c4", "nothing", {}, raw="{broken"),
            ]
            return LLMResponse(tool_calls=calls, usage=usage)
        return LLMResponse(text="It is refunded.", usage=usage)

    def agent(self) -> Agent[Any, Any]:
        provider = MockProvider(respond=self._respond)
        return Agent(
            provider,
            name="corpus",
            system="You are the support.",
            tools=self.tools,
            state=InMemoryState(),
            checkpoint_key=KEY,
            checkpoint_ttl=None,
        )

    async def stops(self) -> dict[str, Any]:
        """Where the run stops on its way: at each question, and at its end."""
        agent = self.agent()
        approval = must_pause(await agent.run("Refund order A-1", identity=ALICE))
        question = must_pause(await go_on(agent, approval, ANSWERS["Refund 5000?"], by="bob"))
        end = await go_on(agent, question, ANSWERS["Why?"], by="eve")
        return {"approval": approval, "question": question, "end": end}


def test_the_present_versions_are_in_the_corpus() -> None:
    assert {path.name for path in CHECKPOINTS} >= {
        f"v{CHECKPOINT_SCHEMA}-{stop}.checkpoint.json" for stop in ("approval", "question")
    }
    assert CORPUS / f"v{FORMAT}.footprint.jsonl" in FOOTPRINTS


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.name)
async def test_an_old_checkpoint_goes_on_to_the_end(path: Path) -> None:
    expected = (await Desk().stops())["end"]
    desk = Desk()
    agent = desk.agent()
    checkpoint = Checkpoint.from_json(path.read_text("utf-8"))
    assert (checkpoint.agent, checkpoint.identity, checkpoint.expires) == ("corpus", ALICE, None)
    result: Any = None
    at: Any = checkpoint
    while getattr(result, "status", "paused") == "paused":
        (ask,) = at.asks
        result = await agent.resume(at, answer=ANSWERS[ask.question], identity=ALICE, by="someone")
        at = getattr(result, "checkpoint", None)
    assert output_of(result) == "It is refunded."
    assert [message.text for message in result.messages] == [m.text for m in expected.messages]
    assert_whole(result.messages)
    assert result.usage == expected.usage
    paid_here = "approval" in path.name
    assert desk.done == (["paid 5000 for A-1"] if paid_here else [])
    told = result.footprint.narrative()
    assert told.index("Refund order A-1") < told.index("Let me see.") < told.index("It is refunded.")
    with pytest.raises(CheckpointUsed):
        await agent.resume(checkpoint, answer=ANSWERS[checkpoint.asks[0].question])


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.name)
async def test_an_old_checkpoint_is_still_guarded_by_its_signature(path: Path) -> None:
    desk = Desk()
    body = json.loads(path.read_text("utf-8"))
    body["created"] += 1
    with pytest.raises(CheckpointTampered):
        await desk.agent().resume(Checkpoint.from_json(json.dumps(body)), answer=True)
    assert desk.done == []


@pytest.mark.parametrize("path", FOOTPRINTS, ids=lambda path: path.name)
async def test_an_old_footprint_reads_and_replays(path: Path) -> None:
    desk = Desk()
    expected = (await desk.stops())["end"].footprint
    desk.done.clear()
    agent = desk.agent()
    for footprint in (Footprint.load(path), Footprint.load(path, agent.flow)):
        assert (footprint.status, footprint.truncated, footprint.redacted) == ("done", False, False)
        assert footprint.state["output"] == "It is refunded."
    assert [step.id for step in footprint.steps] == [step.id for step in expected.steps]
    again = await agent.replay(footprint, identity=ALICE)
    assert (again["output"], again.status, desk.done) == ("It is refunded.", "done", [])
    told = again.footprint.narrative()
    assert "“Refund 5000?”" in told
    assert told.count("returned") == expected.narrative().count("returned")


async def write() -> None:
    stops = await Desk().stops()
    texts = {
        f"v{CHECKPOINT_SCHEMA}-{stop}.checkpoint.json": stops[stop].checkpoint.to_json() + "\n"
        for stop in ("approval", "question")
    }
    texts[f"v{FORMAT}.footprint.jsonl"] = stops["end"].footprint.to_jsonl(redact=False)
    CORPUS.mkdir(exist_ok=True)
    for name, text in texts.items():
        if not (CORPUS / name).exists():
            (CORPUS / name).write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    asyncio.run(write())
