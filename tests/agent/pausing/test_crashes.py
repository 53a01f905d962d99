"""Runs that break off: the error carries what happened and a checkpoint that goes on from there."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, ToolContext, ask_human, tool
from agentfootprint.errors import (
    AgentFootprintError,
    AnswerRequired,
    CheckpointUsed,
    FlowInvalid,
    Overloaded,
    RateLimited,
    StepFailed,
    StoreUnavailable,
    Unauthorized,
)
from agentfootprint.messages import LLMRequest
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState

from .support import ALICE, assert_whole, call, cancelled, go_on, must_pause, output_of, plain, results_of


class Desk:
    """A model that calls `work` a few times and then answers; it fails where it is told to."""

    def __init__(self, iterations: int = 3, **options: Any) -> None:
        self.iterations = iterations
        self.fails: dict[int, Any] = {}
        self.asked: list[int] = []
        self.done: Counter[int] = Counter()
        self.options = options
        self.provider = MockProvider(respond=self._respond)

    def _respond(self, request: LLMRequest) -> Any:
        assert_whole(request.messages)
        turn = sum(message.role == "assistant" for message in request.messages)
        if (error := self.fails.pop(turn, None)) is not None:
            return MockProvider.fail(error)
        self.asked.append(turn)
        if turn == self.iterations:
            return "done"
        return [call("work", n=10 * turn), call("work", n=10 * turn + 1)]

    def agent(self, **options: Any) -> Agent[Any, Any]:
        @tool
        async def work(n: int) -> str:
            self.done[n] += 1
            return f"did {n}"

        return Agent(self.provider, tools=[work], **{**self.options, **options})


async def failing(work: Any, kind: type[AgentFootprintError]) -> Any:
    with pytest.raises(kind) as failed:
        await work
    assert failed.value.footprint is not None
    return failed.value


async def smooth() -> Any:
    return await Desk().agent().run("Go")


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
async def test_a_model_that_fails_in_any_iteration_is_asked_again_and_nothing_else_is(turn: int) -> None:
    desk = Desk()
    desk.fails = {turn: Overloaded("busy")}
    agent = desk.agent()
    error = await failing(agent.run("Go"), Overloaded)
    assert f"call_model#{turn} failed with Overloaded" in error.footprint.narrative()
    assert error.footprint.status == "failed"
    assert error.checkpoint.asks == []
    result = await go_on(agent, error.checkpoint)
    assert output_of(result) == "done"
    assert desk.asked == [0, 1, 2, 3]
    assert (len(desk.done), set(desk.done.values())) == (6, {1})
    assert plain(result.messages) == plain((await smooth()).messages)


async def test_a_run_may_break_off_again_and_again() -> None:
    desk = Desk()
    desk.fails = {0: Overloaded("first"), 1: RateLimited("second"), 3: Unauthorized("third")}
    agent = desk.agent()
    work: Any = agent.run("Go")
    for kind in (Overloaded, RateLimited, Unauthorized):
        error = await failing(work, kind)
        work = go_on(agent, error.checkpoint)
    assert output_of(await work) == "done"
    assert desk.asked == [0, 1, 2, 3]
    assert set(desk.done.values()) == {1}


async def test_the_checkpoint_of_a_broken_off_run_goes_on_once() -> None:
    desk = Desk()
    desk.fails = {1: Overloaded("busy")}
    agent = desk.agent()
    error = await failing(agent.run("Go"), Overloaded)
    assert output_of(await go_on(agent, error.checkpoint)) == "done"
    with pytest.raises(CheckpointUsed):
        await go_on(agent, error.checkpoint)


async def test_a_broken_off_run_goes_on_with_its_totals_identity_and_record() -> None:
    desk = Desk(state=InMemoryState())
    desk.fails = {2: Overloaded("busy")}
    error = await failing(desk.agent().run("Go", identity=ALICE), Overloaded)
    before = error.checkpoint
    assert before.identity == ALICE
    result = await go_on(desk.agent(), before, identity=ALICE)
    whole = await smooth()
    assert result.usage == whole.usage
    assert before.usage.input_tokens < result.usage.input_tokens
    assert result.run_id == before.run_id
    told = result.footprint.narrative()
    assert told.count("The user asked") == 1
    assert told.count("The model asked for") == 3


async def test_a_streamed_run_that_breaks_off_goes_on() -> None:
    desk = Desk()
    desk.fails = {1: Overloaded("busy")}
    agent = desk.agent()

    async def read() -> None:
        async with agent.stream("Go") as run:
            async for _ in run:
                pass

    error = await failing(read(), Overloaded)
    assert output_of(await go_on(agent, error.checkpoint)) == "done"
    assert set(desk.done.values()) == {1}


# ── in resumed runs ─────────────────────────────────────────────────────────────────────────────


async def test_a_resumed_run_that_breaks_off_goes_on_without_asking_or_paying_again() -> None:
    paid: list[str] = []

    @tool(approval=True)
    async def pay() -> str:
        note = await ask_human("Note?")
        paid.append(str(note))
        return "paid"

    provider = MockProvider(
        replies=[call("pay"), MockProvider.fail(Overloaded), MockProvider.fail(RateLimited), "done"]
    )
    agent: Agent[Any, Any] = Agent(provider, tools=[pay])
    second = must_pause(await go_on(agent, must_pause(await agent.run("Go")), True, by="bob"))
    error = await failing(go_on(agent, second, "thanks", by="bob"), Overloaded)
    error = await failing(go_on(agent, error.checkpoint), RateLimited)
    result = await go_on(agent, error.checkpoint)
    assert (output_of(result), paid) == ("done", ["thanks"])
    assert len(provider.requests) == 4
    for request in provider.requests:
        assert_whole(request.messages)
    assert result.footprint.narrative().count("Answered by bob") == 2


async def test_a_sibling_that_waits_for_a_person_still_waits_after_the_run_broke_off() -> None:
    done: list[str] = []

    @tool
    async def greedy() -> str:
        try:
            answer = await ask_human("Sure?")
        except BaseException:
            return "swallowed"
        done.append("greedy")
        return str(answer)

    @tool(approval=True)
    async def guarded() -> str:
        done.append("guarded")
        return "guarded"

    agent: Agent[Any, Any] = Agent(
        MockProvider(replies=[[call("guarded"), call("greedy")], "done"]), tools=[greedy, guarded]
    )
    error = await failing(agent.run("Go"), FlowInvalid)
    asks = {ask.tool: ask.id for ask in error.checkpoint.asks}
    assert set(asks) == {"guarded", "greedy"}
    with pytest.raises(AnswerRequired):
        await go_on(agent, error.checkpoint)
    answers = {asks["guarded"]: True, asks["greedy"]: "sure"}
    result = await go_on(agent, error.checkpoint, answers=answers)
    assert (output_of(result), sorted(done)) == ("done", ["greedy", "guarded"])
    assert results_of(result.messages) == {"guarded": "guarded", "greedy": "sure"}
    assert_whole(result.messages)


@pytest.mark.parametrize("idempotent", [False, True])
async def test_a_call_that_was_cut_off_is_made_again_only_when_that_does_no_harm(idempotent: bool) -> None:
    begun: list[str] = []
    running = asyncio.Event()
    for_ever = asyncio.Event()

    @tool(idempotent=idempotent)
    async def pay(ctx: ToolContext[Any]) -> str:
        begun.append(ctx.call_id)
        running.set()
        if len(begun) == 1:
            await for_ever.wait()
        return "paid"

    @tool
    async def careless() -> str:
        await running.wait()
        try:
            return str(await ask_human("Sure?"))
        except BaseException:
            return "never mind"

    agent: Agent[Any, Any] = Agent(
        MockProvider(replies=[[call("pay"), call("careless")], "done"]), tools=[pay, careless]
    )
    error = await failing(agent.run("Go"), FlowInvalid)
    assert begun == ["call_1"]
    result = await go_on(agent, error.checkpoint, "yes")
    paid, careless_said = [m for m in result.messages if m.role == "tool"]
    assert careless_said.text == "yes"
    if idempotent:
        assert (paid.text, begun) == ("paid", ["call_1", "call_1"])
    else:
        assert paid.is_error
        assert "whether it took effect is not known" in paid.text
        assert begun == ["call_1"]
    await agent.replay(result.footprint)


# ── a user's own code ───────────────────────────────────────────────────────────────────────────


class Halt(BaseException):
    """Something that is no Exception, as frameworks use it to leave."""


async def test_code_outside_of_a_tool_that_raises_is_a_failed_step() -> None:
    tries: list[int] = []

    def system(run: Any) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("no template")
        return "Be kind."

    agent: Agent[Any, Any] = Agent(MockProvider(reply="done"), system=system)
    error = await failing(agent.run("Go"), StepFailed)
    assert isinstance(error.__cause__, ValueError)
    assert "no template" in error.footprint.narrative()
    assert output_of(await go_on(agent, error.checkpoint)) == "done"


@pytest.mark.parametrize("plain_def", [False, True])
async def test_a_tool_that_raises_what_is_no_exception_ends_the_run_and_frees_its_conversation(
    plain_def: bool,
) -> None:
    raises = [True]

    async def leaving() -> str:
        if raises:
            raise Halt("out")
        return "stayed"

    def leaving_plainly() -> str:
        if raises:
            raise Halt("out")
        return "stayed"

    leave = tool(name="leave")(leaving_plainly) if plain_def else tool(name="leave")(leaving)
    agent: Agent[Any, Any] = Agent(
        MockProvider(replies=[call("leave"), call("leave"), "done"]), tools=[leave], state=InMemoryState()
    )
    with pytest.raises(Halt):
        await agent.run("Go", identity=ALICE)
    raises.clear()
    assert output_of(await agent.run("Again", identity=ALICE)) == "done"


@pytest.mark.parametrize("plain_def", [False, True])
async def test_a_tool_whose_own_work_was_cancelled_has_an_error_result(plain_def: bool) -> None:
    async def waiting() -> str:
        work = asyncio.ensure_future(asyncio.sleep(60))
        work.cancel()
        await work
        return "waited"

    def waiting_plainly() -> str:
        raise asyncio.CancelledError

    wait = tool(name="wait")(waiting_plainly) if plain_def else tool(name="wait")(waiting)

    @tool
    async def work() -> str:
        return "worked"

    agent: Agent[Any, Any] = Agent(
        MockProvider(replies=[[call("wait"), call("work")], call("wait"), "done"]), tools=[wait, work]
    )
    result = await agent.run("Go")
    assert output_of(result) == "done"
    told = [(m.text, m.is_error) for m in result.messages if m.role == "tool"]
    failed = ("wait failed with CancelledError.", True)
    assert told == [failed, ("worked", False), failed]


# ── stores that are gone ────────────────────────────────────────────────────────────────────────


class Unplugged(InMemoryState):
    """A store that fails once it is unplugged."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.unplugged = False

    async def compare_and_set(self, *args: Any, **options: Any) -> Any:
        if self.unplugged:
            raise self.error
        return await super().compare_and_set(*args, **options)

    async def append(self, *args: Any, **options: Any) -> Any:
        if self.unplugged:
            raise self.error
        return await super().append(*args, **options)


@pytest.mark.parametrize("error", [StoreUnavailable("down"), OSError("unplugged")])
async def test_a_cancelled_run_is_cancelled_also_when_its_store_is_gone(error: Exception) -> None:
    thinking = asyncio.Event()

    async def respond(request: LLMRequest) -> str:
        thinking.set()
        await asyncio.sleep(3600)
        return "never"

    state = Unplugged(error)
    agent: Agent[Any, Any] = Agent(MockProvider(respond=respond), state=state)
    running = asyncio.ensure_future(agent.run("Go", identity=ALICE))
    await thinking.wait()
    state.unplugged = True
    await cancelled(running)


@pytest.mark.parametrize("error", [StoreUnavailable("down"), OSError("unplugged")])
async def test_a_run_whose_checkpoint_cannot_be_kept_still_tells_its_own_error(error: Exception) -> None:
    state = Unplugged(error)

    def respond(request: LLMRequest) -> Any:
        state.unplugged = True
        return MockProvider.fail(Overloaded("busy"))

    agent: Agent[Any, Any] = Agent(MockProvider(respond=respond), state=state)
    failed = await failing(agent.run("Go", identity=ALICE), Overloaded)
    assert failed.checkpoint is None


async def test_the_checkpoint_of_a_broken_off_run_travels_as_text() -> None:
    desk = Desk(checkpoint_key="secret", state=InMemoryState())
    desk.fails = {1: Overloaded("busy")}
    error = await failing(desk.agent().run("Go"), Overloaded)
    text = error.checkpoint.to_json()
    elsewhere = Desk(checkpoint_key="secret", state=InMemoryState())
    assert output_of(await elsewhere.agent().resume(Checkpoint.from_json(text))) == "done"
    assert elsewhere.asked == [1, 2, 3]
