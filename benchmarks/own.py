"""What no peer has, or nobody compares: the engine, the evidence and checkpoints of this project."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Awaitable, Callable
from statistics import fmean
from types import ModuleType
from typing import Any, TypedDict

from deciding import permissions
from decorated import costs, decorators
from exporting import exporters
from gauge import Stopwatch, gauge
from measuring import Measures, timed, timed_now
from plan import Plan

from agentfootprint import Agent, Checkpoint, is_paused, tool
from agentfootprint.flow import Flow, Seq, Step, decide, ge, rule
from agentfootprint.flow.codec import dumps, encode
from agentfootprint.messages import LLMRequest, LLMResponse, ToolCall
from agentfootprint.providers import MockProvider

# ── flows ───────────────────────────────────────────────────────────────────────────────────────


class Counted(TypedDict, total=False):
    input: Any
    turn: int
    history: Seq[str]


def chain(length: int, work: Callable[[Step[Counted]], None]) -> Flow[Counted]:
    """So many steps, one after the other, that all do the same."""
    flow = Flow("chain", state=Counted)
    for n in range(length):
        flow.step(name=f"step{n}", to=f"step{n + 1}" if n + 1 < length else None)(work)
    return flow


def loop(turns: int) -> Flow[Counted]:
    """A loop that reads a growing history, adds to it, and decides whether to go on."""
    flow = Flow("loop", state=Counted)
    rules = [rule("enough", "stop", turn=ge(turns))]

    @flow.step(to="work")
    def begin(c: Step[Counted]) -> None:
        c["turn"] = 0
        c["history"] = Seq()

    @flow.step(to="again")
    def work(c: Step[Counted]) -> None:
        c.append("history", f"message {len(c['history'])}")
        c["turn"] = c["turn"] + 1

    @flow.decide(to={"on": "work", "stop": "end"})
    def again(c: Step[Counted]) -> Any:
        return decide(c, rules, "on")

    @flow.step
    def end(c: Step[Counted]) -> None:
        pass

    return flow


async def steps(framework: ModuleType, quick: bool) -> Measures:
    """One step of a chain: empty, and with a read and a write. Starting the run is part of it."""
    length = 100

    def empty(c: Step[Counted]) -> None:
        pass

    def count(c: Step[Counted]) -> None:
        c["turn"] = c.get("turn", 0) + 1

    out: Measures = {}
    for name, work in (("empty_step", empty), ("busy_step", count)):
        flow = chain(length, work)
        out[name] = await timed(flow.start, 1 if quick else 20, per=length, quick=quick)
    return out


async def loops(framework: ModuleType, quick: bool) -> Measures:
    """Time and memory of one turn of a short and of a long loop; a run is kept until its end.

    Timed with Python's cyclic collector on and off. It finds nothing in our runs, but it walks every
    object alive now and then, and does so fully only above 10,000 of them: a cost per turn that grows
    with the loop for a while, and then stays.
    """
    out: Measures = {}
    short, long = (10, 100) if quick else (1_000, 10_000)
    for name, turns, runs in (("short", short, 10), ("long", long, 2)):
        flow = loop(turns)
        runs = 1 if quick else runs
        out[f"{name}_loop"] = await timed(flow.start, runs, per=turns, quick=quick)
        gc.disable()
        out[f"{name}_loop_uncollected"] = await timed(flow.start, runs, per=turns, quick=quick)
        gc.enable()
        await flow.start()
        gc.collect()
        tracemalloc.start()
        run = await flow.start()
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert run["turn"] == turns
        out[f"{name}_loop_bytes"] = {"value": size / turns}
        del run
    return out


# ── evidence ────────────────────────────────────────────────────────────────────────────────────


async def why(framework: ModuleType, quick: bool) -> Measures:
    """A slice of 100 nodes as a graph and as text, and the reasons of an agent's answer after ten tools."""
    nodes, calls = 100, 2 if quick else 100
    footprint = (await loop(60).start()).footprint
    found = footprint.slice("turn", limit=nodes)
    assert len(found.versions) + len(found.decisions) == nodes
    plan = Plan(turns=10)
    told = (await _agent(plan).run("Add the numbers.")).footprint
    assert "call-9-0" in told.why("output")
    return {
        "slice100": await timed_now(lambda: footprint.slice("turn", limit=nodes), calls, quick=quick),
        "why100": await timed_now(lambda: footprint.why("turn", limit=nodes), calls, quick=quick),
        "why_answer": await timed_now(lambda: told.why("output"), calls, quick=quick),
        "narrative": await timed_now(told.narrative, calls, quick=quick),
    }


async def replay(framework: ModuleType, quick: bool) -> Measures:
    """Running a record of 1,000 turns again, each step compared with the record."""
    turns = 10 if quick else 1_000
    footprint = (await loop(turns).start()).footprint
    again = (await footprint.replay()).footprint
    assert again.steps is not footprint.steps
    measure = await timed(footprint.replay, 1 if quick else 2, per=len(footprint.steps), quick=quick)
    return {"replay": measure}


def _agent(plan: Plan, **options: Any) -> Agent[Any, Any]:
    @tool
    async def add(a: int, b: int) -> int:
        """Add two integers."""
        return a + b

    def respond(request: LLMRequest) -> LLMResponse:
        last = request.messages[-1]
        calls = plan.calls(last.call_id if last.role == "tool" else None)
        wanted = [ToolCall(name, "add", given) for name, given in calls]
        return LLMResponse(tool_calls=wanted) if wanted else LLMResponse("done")

    return Agent(MockProvider(respond=respond), tools=[add], max_iterations=None, **options)


# ── checkpoints ─────────────────────────────────────────────────────────────────────────────────

_TEXT = (
    "account address agent amount answer approve balance carrier claim confirm contract courier customer "
    "damage delay deliver deposit depot dispatch evidence express forward handle invoice item label ledger "
    "line lost manual margin notice order package parcel payment policy price proof query receipt record "
    "refund region reply report return review route scan shelf ship status stock store supply ticket total "
    "track transfer truck unit update value vendor verify volume warehouse weight"
)


async def checkpoint(framework: ModuleType, quick: bool) -> Measures:
    """A run that pauses after 30 iterations with results of about 500 characters: its checkpoint against
    the JSON of its conversation, and how long it takes to be written, read and resumed."""
    turns = 3 if quick else 30

    @tool
    async def look_up(number: int) -> str:
        """What is known about an order."""
        chance = random.Random(number)
        return f"Order {number}: " + " ".join(chance.choice(_TEXT.split()) for _ in range(70))

    @tool(approval=True)
    async def refund(number: int) -> str:
        """Pays an order back."""
        return f"Order {number} was refunded."

    def respond(request: LLMRequest) -> LLMResponse:
        last = request.messages[-1]
        turn = 0 if last.role == "user" else int((last.call_id or "").removeprefix("call-")) + 1
        if turn > turns:
            return LLMResponse("It is refunded.")
        wanted = "refund" if turn == turns else "look_up"
        return LLMResponse(tool_calls=[ToolCall(f"call-{turn}", wanted, {"number": turn})])

    agent: Agent[Any, str] = Agent(
        MockProvider(respond=respond), tools=[look_up, refund], max_iterations=None
    )
    gauges: list[float] = []
    pauses: list[Stopwatch] = []
    writes: list[Stopwatch] = []
    reads: list[Stopwatch] = []
    resumes: list[Stopwatch] = []
    text, conversation = "", ""
    for _ in range(2 if quick else 30):
        with Stopwatch() as pausing:
            paused = await agent.run("Refund the last of these orders.")
        assert is_paused(paused)
        with Stopwatch() as writing:
            text = paused.checkpoint.to_json()
        conversation = dumps(encode(list(paused.messages)))
        with Stopwatch() as reading:
            stored = Checkpoint.from_json(text)
        with Stopwatch() as resuming:
            ended = await agent.resume(stored, answer=True)
        assert ended.status == "completed"
        assert len(ended.messages) == 2 * (turns + 1) + 2
        for watches, watch in ((pauses, pausing), (writes, writing), (reads, reading), (resumes, resuming)):
            watches.append(watch)
        gauges.append(gauge())

    def timing(watches: list[Stopwatch]) -> dict[str, float]:
        middle = len(watches) // 2
        wall, cpu = (sorted(getattr(w, what) for w in watches)[middle] for what in ("wall", "cpu"))
        return {"wall": wall, "cpu": cpu, "gauge": fmean(gauges)}

    size, plain = len(text.encode()), len(conversation.encode())
    return {
        "pause": timing(pauses),
        "checkpoint_write": timing(writes),
        "checkpoint_read": timing(reads),
        "resume": timing(resumes),
        "checkpoint_bytes": {"value": size},
        "conversation_bytes": {"value": plain},
        "checkpoint_over": {"value": (size - plain) / turns},
    }


WORKLOADS: dict[str, Callable[[ModuleType, bool], Awaitable[Measures]]] = {
    "steps": steps,
    "loops": loops,
    "why": why,
    "replay": replay,
    "checkpoint": checkpoint,
    "decorators": decorators,
    "costs": costs,
    "exporters": exporters,
    "permissions": permissions,
}
