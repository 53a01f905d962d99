"""A run paused in one process and resumed in another is one run: messages, record, identity, totals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .support import run_other

APP = '''
import asyncio, json, sys
from pathlib import Path
from agentfootprint import Agent, Checkpoint, MemoryIdentity, ToolContext, ask_human, tool
from agentfootprint.flow.codec import encode
from agentfootprint.messages import LLMResponse, ToolCall, Usage
from agentfootprint.providers import MockProvider
from agentfootprint.state import SQLiteState

HERE = Path(__file__).parent

def log(line):
    with open(HERE / "log", "a") as file:
        file.write(line + "\\n")

async def reserve(seats: int) -> str:
    log(f"reserve {seats}")
    return f"R-{seats}"

@tool
async def seats(ctx: ToolContext, n: int) -> str:
    """Seats left."""
    log(f"seats {n}")
    return f"{n} seats left"

@tool(approval=lambda given: f"Book {given['n']}?")
async def book(ctx: ToolContext, n: int) -> str:
    """Books."""
    identity = ctx.identity
    who = f"{identity.tenant}/{identity.principal}/{identity.conversation_id}"
    log(f"book {n} for {who} with {ctx.deps} {ctx.call_id}")
    receipt = await ctx.call("reserve", reserve, n)
    row = await ask_human("Which row?", answer=int)
    log(f"booked {n} in row {row}")
    return f"booked {receipt} in row {row}"

def usage(n):
    return Usage(input_tokens=1000 * n, output_tokens=10 * n, cache_read_tokens=n)

def respond(request):
    n = sum(message.role == "assistant" for message in request.messages)
    if n == 0:
        calls = [
            ToolCall("c1", "seats", {"n": 3}),
            ToolCall("c2", "book", {"n": 2}),
            ToolCall("c3", "seats", {"n": 1}),
        ]
        return LLMResponse(text="Let me see.", tool_calls=calls, usage=usage(1), stop_reason="tool_calls")
    return LLMResponse(text="Booked, enjoy!", usage=usage(2), stop_reason="end")

def agent_of(state):
    provider = MockProvider(respond=respond)
    return Agent(provider, name="box-office", system="Be kind.", tools=[seats, book], state=state)

def told(result):
    return json.dumps({
        "status": result.status,
        "output": getattr(result, "output", None),
        "messages": encode(list(result.messages)),
        "usage": encode(result.usage),
        "run": result.run_id,
        "narrative": result.footprint.narrative(),
        "steps": [step.id for step in result.footprint.steps],
        "asks": [ask.question for ask in getattr(result, "asks", [])],
        "why": result.footprint.why("output") if result.status == "completed" else None,
    })

async def main():
    state = SQLiteState(HERE / "state.db")
    agent = agent_of(state)
    what, *rest = sys.argv[1:]
    identity = MemoryIdentity("acme", "alice", "t-1")
    if what == "run":
        result = await agent.run("Two seats please", identity=identity, deps="first process")
    elif what == "turn":
        result = await agent.run(rest[0], identity=identity)
    else:
        checkpoint = Checkpoint.from_json((HERE / "checkpoint").read_text())
        result = await agent.resume(checkpoint, answer=json.loads(rest[0]), by=rest[1], deps=rest[2])
    if result.status == "paused":
        (HERE / "checkpoint").write_text(result.checkpoint.to_json())
    else:
        result.footprint.save(HERE / "run.footprint.jsonl", redact=False)
    print(told(result))
    await state.aclose()

if __name__ == "__main__":
    asyncio.run(main())
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


async def run_app(folder: Path, *args: str) -> Any:
    return json.loads(await run_other(folder, "app.py", *args))


async def test_three_processes_walk_one_run(folder: Path) -> None:
    first = await run_app(folder, "run")
    assert (first["status"], first["asks"]) == ("paused", ["Book 2?"])
    second = await run_app(folder, "resume", '{"approved": true}', "bob", "second process")
    assert (second["status"], second["asks"]) == ("paused", ["Which row?"])
    third = await run_app(folder, "resume", "7", "carol", "third process")
    assert third["output"] == "Booked, enjoy!"
    assert first["run"] == second["run"] == third["run"]

    assert (folder / "log").read_text().splitlines() == [
        "seats 3",
        "seats 1",
        "book 2 for acme/alice/t-1 with second process c2",
        "reserve 2",
        "book 2 for acme/alice/t-1 with third process c2",
        "booked 2 in row 7",
    ]
    roles = [(message["role"], message.get("call_id")) for message in third["messages"]]
    assert roles == [
        ("user", None),
        ("assistant", None),
        ("tool", "c1"),
        ("tool", "c2"),
        ("tool", "c3"),
        ("assistant", None),
    ]
    assert third["messages"][3]["parts"][0]["text"] == "booked R-2 in row 7"
    assert (
        first["usage"]
        == second["usage"]
        == {
            "input_tokens": 1000,
            "output_tokens": 10,
            "cache_read_tokens": 1,
        }
    )
    assert third["usage"] == {"input_tokens": 3000, "output_tokens": 30, "cache_read_tokens": 3}


async def test_the_record_goes_through_all_processes(folder: Path) -> None:
    first = await run_app(folder, "run")
    await run_app(folder, "resume", "true", "bob", "-")
    last = await run_app(folder, "resume", "7", "carol", "-")
    assert last["steps"][: len(first["steps"])] == first["steps"]
    assert len(set(last["steps"])) == len(last["steps"])
    told = last["narrative"]
    beats = [
        "The user asked: “Two seats please”",
        "The model asked for seats(n=3), book(n=2), seats(n=1)",
        "seats returned: “3 seats left”",
        "“Book 2?” for book(n=2). Answered by bob: True.",
        "“Which row?” for book(n=2). Answered by carol: 7.",
        "book returned: “booked R-2 in row 7”",
        "The model answered: “Booked, enjoy!”",
        "The conversation was written.",
    ]
    places = [told.index(beat) for beat in beats]
    assert places == sorted(places)
    assert "Answered by bob" not in first["narrative"]
    assert "carol" in last["why"]


async def test_the_result_is_that_of_a_run_nobody_interrupted(folder: Path) -> None:
    await run_app(folder, "run")
    await run_app(folder, "resume", "true", "bob", "-")
    last = await run_app(folder, "resume", "7", "carol", "-")

    (folder / "whole").mkdir()
    straight = APP.replace("""row = await ask_human("Which row?", answer=int)""", "row = 7").replace(
        """(approval=lambda given: f"Book {given['n']}?")""", ""
    )
    (folder / "whole" / "app.py").write_text(straight)
    whole = await run_app(folder / "whole", "run")
    assert (whole["messages"], whole["usage"]) == (last["messages"], last["usage"])
    assert whole["steps"] == last["steps"]


async def test_the_conversation_goes_on_with_the_resumed_turn(folder: Path) -> None:
    await run_app(folder, "run")
    await run_app(folder, "resume", "true", "bob", "-")
    last = await run_app(folder, "resume", "7", "carol", "-")
    after = await run_app(folder, "turn", "Thank you")
    assert after["messages"][: len(last["messages"])] == last["messages"]
    assert [message["role"] for message in after["messages"][len(last["messages"]) :]] == [
        "user",
        "assistant",
    ]


async def test_the_saved_record_of_a_resumed_run_reads_like_that_of_one_process(folder: Path) -> None:
    from agentfootprint.flow import Footprint

    await run_app(folder, "run")
    await run_app(folder, "resume", "true", "bob", "-")
    last = await run_app(folder, "resume", "7", "carol", "-")
    footprint = Footprint.load(folder / "run.footprint.jsonl")
    assert (footprint.status, footprint.truncated) == ("done", False)
    assert [step.id for step in footprint.steps if step.id == "call_tools#0[1]"] == ["call_tools#0[1]"]
    assert {step.id for step in footprint.steps} == set(last["steps"])
    answers = [record.answer for record in footprint.step("call_tools#0[1]").asks]
    assert answers == [True, 7]
    assert [record.by for record in footprint.step("call_tools#0[1]").asks] == ["bob", "carol"]
    assert [one.name for one in footprint.step("call_tools#0[1]").calls] == ["book", "reserve"]
