"""What a type checker must know of an agent. Nothing here runs: `mypy` reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, assert_never, assert_type

from pydantic import TypeAdapter

from agentfootprint import (
    Agent,
    Checkpoint,
    Completed,
    MemoryIdentity,
    OutputFallback,
    Paused,
    Stopped,
    StopReason,
    is_paused,
)
from agentfootprint.agent import AgentStream, Result
from agentfootprint.events import Event, RunEnded, ToolEnded
from agentfootprint.flow import Ask, Footprint, Run
from agentfootprint.messages import Image, Message, Usage
from agentfootprint.providers import LLMProvider, MockProvider


@dataclass
class MyDeps:
    limit: int


@dataclass
class Refund:
    amount: Decimal


provider = MockProvider(reply="hi")


def an_agent_needs_no_annotation() -> None:
    agent = Agent(provider=provider)
    assert_type(agent, Agent[Any, str])
    result = agent.run_sync("Hi.")
    assert_type(result, Completed[str] | Paused | Stopped[str])
    assert_type(result.output, str | None)
    print(result.output)


async def an_agent_s_answers_are_of_the_type_it_was_given() -> None:
    agent = Agent(provider, output=Refund)
    assert_type(agent, Agent[Any, Refund])
    assert_type((await agent.run("Hi.")).output, Refund | None)
    match await agent.run("Hi."):
        case Completed(output=refund):
            assert_type(refund, Refund)
        case _:
            pass
    either = Agent(provider, output=TypeAdapter(int | Refund))
    assert_type((await either.run("Hi.")).output, int | Refund | None)
    many = Agent(provider, output=list[Refund])
    assert_type((await many.run("Hi.")).output, list[Refund] | None)
    OutputFallback(canned=Refund(Decimal(0)))
    Agent(provider, output=Refund, output_fallback=OutputFallback(canned=Refund(Decimal(0))))
    Agent(provider, output=Refund, output_fallback=OutputFallback(canned="no"))  # type: ignore[misc]


async def an_agent_knows_its_dependencies_and_its_output() -> None:
    agent: Agent[MyDeps, str] = Agent(provider)
    assert_type(await agent.run("Hi.", deps=MyDeps(5)), Completed[str] | Paused | Stopped[str])
    await agent.run("Hi.", deps="five")  # type: ignore[arg-type]
    typed = Agent[MyDeps, Refund](provider)
    assert_type((await typed.run("Hi.")).output, Refund | None)
    assert_type(typed.replace(system="Be brief."), Agent[MyDeps, Refund])
    assert_type(typed.name, str)
    assert_type(typed.provider, LLMProvider)
    typed.name = "other"  # type: ignore[misc]


async def a_result_narrows_by_match(agent: Agent[MyDeps, Refund]) -> None:
    result = await agent.run("Hi.")
    match result:
        case Completed(output=refund):
            assert_type(refund, Refund)
        case Paused() as paused:
            assert_type(paused.checkpoint, Checkpoint)
            assert_type(paused.asks, list[Ask])
            assert_type(paused.output, None)
        case Stopped(reason=reason, output=output):
            assert_type(reason, StopReason)
            assert_type(output, Refund | None)
        case _:
            assert_never(result)


async def a_result_narrows_by_is_paused_and_by_status(agent: Agent[MyDeps, str]) -> None:
    result: Result[str] = await agent.run("Hi.")
    if is_paused(result):
        assert_type(result, Paused)
        assert_type(result.checkpoint.to_json(), str)
        return
    assert_type(result, Completed[str] | Stopped[str])
    if result.status == "completed":
        assert_type(result.output, str)
    assert_type(result.messages, Sequence[Message])
    assert_type(result.usage, Usage)
    assert_type(result.cost, Decimal | None)
    assert_type(result.run_id, str)
    assert_type(result.footprint, Footprint)


async def a_stream_gives_events_and_a_result(agent: Agent[MyDeps, str]) -> None:
    async with agent.stream("Hi.", deps=MyDeps(5)) as run:
        assert_type(run, AgentStream[str])
        async for event in run:
            assert_type(event, Event)
            match event:
                case ToolEnded(tool=tool, outcome=outcome):
                    assert_type(tool, str)
                    print(outcome)
                case _:
                    pass
    assert_type(run.result, Completed[str] | Paused | Stopped[str])
    with agent.stream_sync("Hi.") as sync:
        for event in sync:
            assert_type(event, Event)
    assert_type(sync.result, Completed[str] | Paused | Stopped[str])


async def what_a_run_takes(agent: Agent[MyDeps, str], previous: Result[str]) -> None:
    await agent.run(["What is this?", Image(url="https://example.org/x.png")])
    await agent.run(Message.user("Hi."), identity=MemoryIdentity("acme"), timeout=5.0, fresh=True)
    await agent.run("Go on.", messages=previous.messages)
    await agent.run(5)  # type: ignore[arg-type]
    await agent.run("Hi.", tmieout=5)  # type: ignore[call-arg]


async def what_resume_takes(agent: Agent[MyDeps, str], paused: Paused) -> None:
    answers: Mapping[str, Any] = {ask.id: True for ask in paused.asks}
    result = await agent.resume(paused.checkpoint, answers=answers, by="bob", deps=MyDeps(5))
    assert_type(result, Completed[str] | Paused | Stopped[str])
    assert_type(Checkpoint.from_json("{}"), Checkpoint)


async def what_a_replay_gives(agent: Agent[MyDeps, str], footprint: Footprint) -> None:
    assert_type(await agent.replay(footprint), Run)
    assert_type(await agent.fork(footprint, at="call_model#0", set={"system": "x"}, effects="live"), Run)
    await agent.fork(footprint, at="call_model#0", set={}, effects="maybe")  # type: ignore[arg-type]


def a_listener_knows_its_event(agent: Agent[MyDeps, str]) -> None:
    def ended(event: RunEnded) -> None:
        print(event.usage)

    agent.on(RunEnded, ended)
    agent.on("tool.*", lambda event: print(event))
    agent.on(ToolEnded, ended)  # type: ignore[arg-type]
    agent.attach(5)  # type: ignore[arg-type]
