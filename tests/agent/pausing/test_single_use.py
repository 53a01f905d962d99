"""A checkpoint goes on once: in one process, among several, after a crash, with and without a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, tool
from agentfootprint.agent import resuming
from agentfootprint.errors import (
    CheckpointUsed,
    ConversationBusy,
    Overloaded,
    StoreUnavailable,
)
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState, Record, SQLiteState, StateKey
from agentfootprint.testing.clock import ManualClock

from .support import ALICE, Other, call, go_on, output_of, run_other, through_text

RENEWED = resuming.RECLAIM_SECONDS


class Desk:
    """Guarded tools, and agents that share a state store."""

    def __init__(self, state: Any = None, *, idempotent: bool = False, **options: Any) -> None:
        self.paid: list[str] = []
        self.state: Any = InMemoryState() if state is None else state
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.idempotent = idempotent
        self.options = options

    def agent(self, *replies: Any, **options: Any) -> Agent[Any, Any]:
        @tool(approval=True, idempotent=self.idempotent)
        async def refund() -> str:
            self.paid.append("refund")
            self.entered.set()
            if self.gate is not None:
                await self.gate.wait()
            return "refunded"

        @tool
        async def mail() -> str:
            self.paid.append("mail")
            return "sent"

        provider = MockProvider(replies=replies or ["done"])
        given: dict[str, Any] = {"tools": [refund, mail], "state": self.state, **self.options, **options}
        return Agent(provider, **given)

    async def paused(self, **options: Any) -> Checkpoint:
        return through_text(await self.agent(call("refund")).run("Refund", identity=ALICE, **options))

    def status_of(self, checkpoint: Checkpoint) -> Any:
        return StateKey(checkpoint.identity, "checkpoint", checkpoint.digest)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The time as claims see it."""
    clock = ManualClock()
    monkeypatch.setattr(resuming, "time", SimpleNamespace(time=clock))
    return clock


# ── in one process ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fresh", [False, True], ids=["in a conversation", "alone"])
async def test_of_many_at_once_exactly_one_goes_on(fresh: bool) -> None:
    desk = Desk()
    checkpoint = await desk.paused(fresh=fresh)
    tries = [go_on(desk.agent(), checkpoint, True) for _ in range(10)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    refused = [one for one in results if isinstance(one, CheckpointUsed)]
    assert (len(refused), desk.paid) == (9, ["refund"])


async def test_a_second_resume_leaves_the_first_and_its_conversation_alone() -> None:
    desk = Desk()
    desk.gate = asyncio.Event()
    checkpoint = await desk.paused()
    first = asyncio.ensure_future(go_on(desk.agent(), checkpoint, True))
    await desk.entered.wait()
    for _ in range(2):
        with pytest.raises(CheckpointUsed, match="outcome of its calls is unknown"):
            await go_on(desk.agent(), checkpoint, True)
    with pytest.raises(ConversationBusy):
        await desk.agent().run("Hello?", identity=ALICE)
    desk.gate.set()
    assert output_of(await first) == "done"
    with pytest.raises(CheckpointUsed, match="came to its end"):
        await go_on(desk.agent(), checkpoint, True)
    after = await desk.agent().run("And now?", identity=ALICE)
    assert [m.text for m in after.messages if m.role == "user"] == ["Refund", "And now?"]
    assert desk.paid == ["refund"]


async def test_a_busy_conversation_gives_the_checkpoint_back() -> None:
    desk = Desk()
    checkpoint = await desk.paused()
    conversation = desk.agent()._conversation(ALICE, fresh=False)
    assert conversation is not None
    turn = await conversation.begin("another", abandon=True)
    with pytest.raises(ConversationBusy):
        await go_on(desk.agent(), checkpoint, True)
    await turn.end()
    assert desk.paid == []
    assert output_of(await go_on(desk.agent(), checkpoint, True)) == "done"


async def test_without_a_store_the_copies_of_an_agent_share_their_claims() -> None:
    desk = Desk()
    agent = desk.agent(call("refund"), "done", state=None)
    checkpoint = through_text(await agent.run("Refund"))
    copy = agent.replace(max_iterations=5)
    assert output_of(await copy.resume(checkpoint, answer=True)) == "done"
    with pytest.raises(CheckpointUsed):
        await agent.resume(checkpoint, answer=True)
    assert desk.paid == ["refund"]


async def test_the_next_pause_has_a_checkpoint_of_its_own_and_ends_the_first() -> None:
    desk = Desk()
    first = await desk.paused()
    second = through_text(await go_on(desk.agent(call("refund")), first, True))
    assert second.digest != first.digest
    for _ in range(2):
        with pytest.raises(CheckpointUsed, match="came to its end"):
            await go_on(desk.agent(), first, True)
    assert output_of(await go_on(desk.agent(), second, True)) == "done"
    assert desk.paid == ["refund", "refund"]


async def test_a_resumed_run_that_fails_goes_on_from_its_own_checkpoint_only(clock: ManualClock) -> None:
    desk = Desk(idempotent=True)
    first = await desk.paused()
    with pytest.raises(Overloaded) as failed:
        await go_on(desk.agent(MockProvider.fail(Overloaded)), first, True)
    assert failed.value.checkpoint is not None
    clock.advance(10 * RENEWED)
    with pytest.raises(CheckpointUsed, match="came to its end"):
        await go_on(desk.agent(), first, True)
    assert output_of(await go_on(desk.agent(), failed.value.checkpoint)) == "done"
    assert desk.paid == ["refund"]


async def test_a_question_that_was_given_up_cannot_be_answered_later() -> None:
    desk = Desk()
    checkpoint = await desk.paused()
    assert output_of(await desk.agent().run("Never mind", identity=ALICE, abandon_paused=True)) == "done"
    with pytest.raises(CheckpointUsed, match="given up"):
        await go_on(desk.agent(), checkpoint, True)
    assert desk.paid == []


# ── order ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_claim_is_taken_before_the_effect() -> None:
    desk = Desk()
    checkpoint = await desk.paused()
    desk.gate = asyncio.Event()
    running = asyncio.ensure_future(go_on(desk.agent(), checkpoint, True, by="bob"))
    await desk.entered.wait()
    record = await desk.state.get(desk.status_of(checkpoint))
    assert (record.value["status"], record.value["by"]) == ("claimed", "bob")
    desk.gate.set()
    await running
    record = await desk.state.get(desk.status_of(checkpoint))
    assert record.value["status"] == "done"


class Failing(InMemoryState):
    """A store that fails for one status of a checkpoint, and says when one was claimed."""

    def __init__(self) -> None:
        super().__init__()
        self.claimed = asyncio.Event()
        self.fails_for: str | None = None
        self.error: Callable[[], Exception] = lambda: StoreUnavailable("the disk is full")

    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: Any, *, ttl: float | None = None
    ) -> Record | None:
        if key.kind == "checkpoint" and value["status"] == self.fails_for:
            raise self.error()
        written = await super().compare_and_set(key, expected, value, ttl=ttl)
        if key.kind == "checkpoint" and value["status"] == "claimed":
            self.claimed.set()
        return written


async def test_a_claim_that_cannot_be_written_runs_nothing() -> None:
    desk = Desk(Failing())
    checkpoint = await desk.paused()
    desk.state.fails_for = "claimed"
    with pytest.raises(StoreUnavailable):
        await go_on(desk.agent(), checkpoint, True)
    assert desk.paid == []
    desk.state.fails_for = None
    assert output_of(await go_on(desk.agent(), checkpoint, True)) == "done"


@pytest.mark.parametrize("error", [lambda: StoreUnavailable("full"), lambda: OSError("unplugged")])
async def test_an_end_that_cannot_be_noted_does_not_cost_the_answer(error: Any) -> None:
    desk = Desk(Failing())
    checkpoint = await desk.paused()
    desk.state.fails_for, desk.state.error = "done", error
    assert output_of(await go_on(desk.agent(), checkpoint, True)) == "done"
    desk.state.fails_for = None
    with pytest.raises(CheckpointUsed, match="outcome of its calls is unknown"):
        await go_on(desk.agent(), checkpoint, True)
    assert desk.paid == ["refund"]


async def test_a_pause_that_cannot_be_recorded_is_an_error_not_a_lost_question() -> None:
    desk = Desk(Failing())
    desk.state.fails_for = "open"
    with pytest.raises(StoreUnavailable):
        await desk.paused()


# ── after a crash ───────────────────────────────────────────────────────────────────────────────


async def die(desk: Desk, checkpoint: Checkpoint) -> None:
    """A process takes the checkpoint and is never heard of again."""
    claims = resuming.Claims(desk.state, None)
    record = await claims.check(checkpoint, "agent", None)
    await claims.take(checkpoint, record, None, lambda name: False)


async def test_after_a_crash_the_outcome_is_unknown_and_nothing_is_repeated(clock: ManualClock) -> None:
    desk = Desk()
    checkpoint = await desk.paused()
    await die(desk, checkpoint)
    for _ in range(3):
        with pytest.raises(CheckpointUsed, match="Look before you repeat them"):
            await go_on(desk.agent(), checkpoint, True)
        clock.advance(100 * RENEWED)
    assert desk.paid == []


async def test_after_a_crash_an_idempotent_call_may_be_made_again_once_the_claim_is_stale(
    clock: ManualClock,
) -> None:
    desk = Desk(idempotent=True)
    checkpoint = await desk.paused()
    await die(desk, checkpoint)
    clock.advance(RENEWED - 1)
    with pytest.raises(CheckpointUsed):
        await go_on(desk.agent(), checkpoint, True)
    clock.advance(1)
    tries = [go_on(desk.agent(), checkpoint, True) for _ in range(5)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, CheckpointUsed) for one in results) == 4
    assert desk.paid == ["refund"]


async def test_a_run_that_is_alive_keeps_its_claim_however_long_it_takes(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resuming, "RECLAIM_SECONDS", 0.03)
    desk = Desk(Failing(), idempotent=True)
    desk.gate = asyncio.Event()
    checkpoint = await desk.paused()
    running = asyncio.ensure_future(go_on(desk.agent(), checkpoint, True))
    await desk.entered.wait()
    clock.advance(1000)
    key = desk.status_of(checkpoint)
    desk.state.claimed.clear()
    await desk.state.claimed.wait()
    assert (await desk.state.get(key)).value["at"] == clock()
    with pytest.raises(CheckpointUsed):
        await go_on(desk.agent(), checkpoint, True)
    desk.gate.set()
    assert output_of(await running) == "done"
    assert desk.paid == ["refund"]


# ── with a key ──────────────────────────────────────────────────────────────────────────────────


async def test_with_a_key_a_checkpoint_goes_on_without_its_store_once_per_store() -> None:
    desk = Desk(checkpoint_key=b"secret")
    checkpoint = await desk.paused()
    elsewhere = InMemoryState()
    tries = [go_on(desk.agent(state=elsewhere), checkpoint, True) for _ in range(5)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, CheckpointUsed) for one in results) == 4
    with pytest.raises(CheckpointUsed):
        await go_on(desk.agent(state=elsewhere), checkpoint, True)
    assert desk.paid == ["refund"]
    assert output_of(await go_on(desk.agent(), checkpoint, True)) == "done"
    assert desk.paid == ["refund", "refund"], "each store knows only its own claims"


async def test_a_key_may_be_text_or_bytes() -> None:
    desk = Desk()
    text = desk.agent(call("refund"), checkpoint_key="secret")
    checkpoint = through_text(await text.run("Refund"))
    assert output_of(await go_on(desk.agent(checkpoint_key=b"secret"), checkpoint, True)) == "done"


# ── processes ───────────────────────────────────────────────────────────────────────────────────

APP = """
import asyncio, os, signal, sys
from pathlib import Path
from agentfootprint import Agent, Checkpoint, MemoryIdentity, tool
from agentfootprint.errors import ResumeRefused
from agentfootprint.providers import MockProvider
from agentfootprint.state import SQLiteState

HERE = Path(__file__).parent
DIES = "--die" in sys.argv

def agent_of(state, **options):
    @tool(approval=True, idempotent="--idempotent" in sys.argv)
    async def refund(amount: int) -> str:
        with open(HERE / "paid", "a") as file:
            file.write(f"{amount}\\n")
        if DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0.05)
        return f"refunded {amount}"

    provider = MockProvider(
        respond=lambda asked: MockProvider.call("refund", amount=40)
        if asked.messages[-1].role == "user" else "done"
    )
    return Agent(provider, tools=[refund], state=state, **options)

async def main():
    state = SQLiteState(HERE / "state.db")
    agent = agent_of(state)
    if sys.argv[1] == "pause":
        identity = MemoryIdentity("acme", "alice", "t-1")
        paused = await agent.run("Refund", identity=identity)
        print(paused.checkpoint.to_json())
        return
    while not (HERE / "go").exists():
        await asyncio.sleep(0.002)
    checkpoint = Checkpoint.from_json((HERE / "checkpoint").read_text())
    try:
        print((await agent.resume(checkpoint, answer=True)).output)
    except ResumeRefused as error:
        print(error.code)
    await state.aclose()

asyncio.run(main())
"""


async def paused_app(folder: Path, *options: str) -> None:
    (folder / "app.py").write_text(APP)
    (folder / "checkpoint").write_text(await run_other(folder, "app.py", "pause", *options))


async def test_of_several_processes_exactly_one_goes_on(tmp_path: Path) -> None:
    await paused_app(tmp_path)
    others = [await Other.start(tmp_path, "app.py", "resume") for _ in range(3)]
    (tmp_path / "go").touch()
    said = sorted([await other.output() for other in others])
    assert said == ["checkpoint_used", "checkpoint_used", "done"]
    assert (tmp_path / "paid").read_text() == "40\n"


@pytest.mark.parametrize("idempotent", [False, True])
async def test_a_process_killed_inside_the_approved_tool_leaves_an_unknown_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, idempotent: bool
) -> None:
    option = ["--idempotent"] if idempotent else []
    await paused_app(tmp_path, *option)
    (tmp_path / "go").touch()
    await (await Other.start(tmp_path, "app.py", "resume", "--die", *option)).killed()
    assert (tmp_path / "paid").read_text() == "40\n"
    assert await run_other(tmp_path, "app.py", "resume", *option) == "checkpoint_used"
    assert (tmp_path / "paid").read_text() == "40\n"

    # Much later, in a third process: this one.
    clock = ManualClock()
    clock.advance(RENEWED + 1)
    from agentfootprint.agent import conversation

    for module in (resuming, conversation):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock, monotonic=clock))
    paid: list[int] = []

    @tool(approval=True, idempotent=idempotent)
    async def refund(amount: int) -> str:
        paid.append(amount)
        return "refunded once more"

    async with SQLiteState(tmp_path / "state.db") as state:
        agent: Agent[Any, Any] = Agent(MockProvider(reply="done"), tools=[refund], state=state)
        checkpoint = Checkpoint.from_json((tmp_path / "checkpoint").read_text())
        if idempotent:
            assert output_of(await agent.resume(checkpoint, answer=True)) == "done"
            assert paid == [40]
        else:
            with pytest.raises(CheckpointUsed, match="outcome of its calls is unknown"):
                await agent.resume(checkpoint, answer=True)
            assert paid == []
