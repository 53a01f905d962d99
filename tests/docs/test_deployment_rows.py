"""The checklist from laptop to production: a test for each thing it names, and for each thing not to do."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import agentfootprint
from agentfootprint import (
    Agent,
    Checkpoint,
    MemoryIdentity,
    OutputFallback,
    Stopped,
    StopReason,
    is_paused,
    tool,
)
from agentfootprint import embedders as embedders_room
from agentfootprint import memory as memory_room
from agentfootprint import providers as providers_room
from agentfootprint import state as state_room
from agentfootprint.cost import CostBudget, Price, PriceList
from agentfootprint.embedders import MockEmbedder
from agentfootprint.errors import CircuitOpen, IdentityRequired, MissingExtra, Overloaded
from agentfootprint.events import CostTicked, Event
from agentfootprint.memory import InMemoryStore, Memory, MemoryStore, SQLiteStore, TopK, Window
from agentfootprint.messages import LLMResponse, Usage
from agentfootprint.observe import chat_bubble_live_status, console_observability
from agentfootprint.providers import LLMProvider, MockProvider, create_provider
from agentfootprint.resilience import fallback_provider, with_circuit_breaker, with_fallback, with_retry
from agentfootprint.security import PermissionPolicy
from agentfootprint.state import InMemoryState, SQLiteState
from agentfootprint.tools import MockMCPClient

ALICE = MemoryIdentity("acme", "alice", "t-1")
BOB = MemoryIdentity("globex", "alice", "t-1")


@tool
async def look(order: str) -> str:
    """Looks an order up."""
    return f"{order} has shipped"


@tool(approval=True)
async def pay(amount: int) -> str:
    """Pays."""
    return f"paid {amount}"


def scripted() -> MockProvider:
    asks = MockProvider.call("look", order="A-1")
    return MockProvider(respond=lambda request: "Shipped." if request.messages[-1].role == "tool" else asks)


def app(store: MemoryStore, state: Any, **options: Any) -> Agent[Any, str]:
    memory = Memory("m", scope="principal", strategy=Window(3), store=store)
    return Agent(scripted(), tools=[look], memory=[memory], state=state, **options)


async def told(agent: Agent[Any, str]) -> tuple[Any, ...]:
    seen: list[Event] = []
    handle = agent.on("*", seen.append)
    result = await agent.run("Where is A-1?", identity=ALICE)
    handle.detach()
    sentences = [line.partition(" (")[0] for line in result.footprint.narrative().splitlines()]
    steps = [step.id for step in result.footprint.steps]
    return result.output, steps, sentences, [event.type for event in seen]


# ── mocks first, one line to swap ───────────────────────────────────────────────────────────────


def test_the_model_has_a_mock_and_real_ones_by_name() -> None:
    for name in (
        "AnthropicProvider",
        "OpenAIProvider",
        "BedrockProvider",
        "HTTPAnthropicProvider",
        "HTTPOpenAIProvider",
    ):
        assert inspect.isclass(getattr(providers_room, name))
    made = create_provider("openai:gpt-5.1", api_key="k")
    assert isinstance(made, LLMProvider)
    assert isinstance(MockProvider(reply="hi"), LLMProvider)


def test_the_embedder_has_a_mock_and_real_ones() -> None:
    for name in ("OpenAIEmbedder", "CohereEmbedder", "BedrockEmbedder", "LocalEmbedder"):
        assert inspect.isclass(getattr(embedders_room, name))


def test_the_memory_store_has_one_in_memory_and_real_ones() -> None:
    for name in (
        "RedisStore",
        "AgentCoreStore",
        "PostgresStore",
        "DynamoDBStore",
        "PineconeStore",
        "SQLiteStore",
    ):
        assert inspect.isclass(getattr(memory_room, name))


async def test_the_tool_server_has_a_mock_with_the_same_interface() -> None:
    from agentfootprint.tools import MCPClient

    def hello() -> str:
        """Says hello."""
        return "hello"

    agent: Agent[Any, str] = Agent(
        MockProvider(replies=[MockProvider.call("hello"), "Done."]), tools=[MockMCPClient([hello])]
    )
    assert (await agent.run("?")).output == "Done."
    public = {name for name in dir(MCPClient) if not name.startswith("_")} - {"stdio", "http", "in_memory"}
    assert public <= set(dir(MockMCPClient))


async def test_one_app_tells_the_same_of_itself_on_mocks_and_on_real_parts(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "m.db") as store, SQLiteState(tmp_path / "m.db") as state:
        assert await told(app(InMemoryStore(), InMemoryState())) == await told(app(store, state))


# ── the checklist ───────────────────────────────────────────────────────────────────────────────


async def test_identity_is_in_every_call_and_another_tenant_reads_no_data(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "m.db") as store:
        agent = app(store, None)
        await agent.run("Where is A-1?", identity=ALICE)
        [memory] = agent.memories
        assert (await memory.recall(BOB, "A-1")).entries == ()
        assert len((await memory.recall(ALICE, "A-1")).entries) == 1


async def test_a_run_without_identity_on_a_durable_store_is_refused(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "m.db") as store:
        with pytest.raises(IdentityRequired, match="MemoryIdentity"):
            await app(store, None).run("?")
    assert (await app(InMemoryStore(), None).run("?")).output == "Shipped."


CORE_ALONE = """
import sys

EXTRAS = "anthropic openai boto3 redis psycopg pinecone mcp numpy opentelemetry structlog".split()


class No:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in EXTRAS:
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, No())
from agentfootprint import Agent
from agentfootprint.errors import MissingExtra
from agentfootprint.memory import RedisStore
from agentfootprint.providers import AnthropicProvider, MockProvider

print(Agent(MockProvider(reply="hi")).run_sync("?").output)
for make in (lambda: AnthropicProvider("m", api_key="k"), lambda: RedisStore("redis://x")):
    try:
        make()
    except MissingExtra as error:
        print(error)
"""


def test_the_core_alone_runs_on_mocks_and_what_is_missing_is_named() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", CORE_ALONE], capture_output=True, text=True, check=True, timeout=60
    )
    hi, anthropic, redis = shown.stdout.strip().splitlines()
    assert hi == "hi"
    assert "agentfootprint[anthropic]" in anthropic
    assert "agentfootprint[redis]" in redis
    assert issubclass(MissingExtra, ImportError)


def test_keys_come_from_the_environment_and_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sentinel")
    made = create_provider("openai:gpt-5.1")
    assert "sentinel" not in repr(made)
    assert "sentinel" not in repr(Agent(made))


async def test_somebody_watches_by_one_line_each() -> None:
    lines: list[str] = []
    agent = app(InMemoryStore(), None)
    agent.enable.live_status(chat_bubble_live_status(on_line=lines.append))
    agent.enable.observability(console_observability())
    attached: list[Event] = []

    class Recorder:
        def on_event(self, event: Event) -> None:
            attached.append(event)

    agent.attach(Recorder())
    await agent.run("Where is A-1?", identity=ALICE)
    await agent.aclose()
    assert lines
    assert attached


@pytest.mark.parametrize("streamed", [False, True])
async def test_resilience_wraps_the_provider_and_holds_while_streaming(streamed: bool) -> None:
    busy = MockProvider.fail(Overloaded("busy"))
    primary = MockProvider(replies=[busy, busy])
    second = MockProvider(replies=[busy, "well"])
    agent: Agent[Any, str] = Agent(
        with_retry(with_fallback(primary, second), max_attempts=5, initial_delay=0)
    )
    if streamed:
        async with agent.stream("?") as run:
            async for _ in run:
                pass
        assert run.result.output == "well"
    else:
        assert (await agent.run("?")).output == "well"
    chain = fallback_provider(*(MockProvider(reply=reply) for reply in (busy, busy, "third")))
    assert (await Agent(chain).run("?")).output == "third"


async def test_a_pause_is_stored_as_text_and_goes_on_elsewhere_once() -> None:
    state = InMemoryState()
    first: Agent[Any, str] = Agent(
        MockProvider(replies=[MockProvider.call("pay", amount=5)]), tools=[pay], state=state
    )
    paused = await first.run("Pay.", identity=ALICE)
    assert is_paused(paused)
    text = json.loads(json.dumps(paused.checkpoint.to_json()))
    other: Agent[Any, str] = Agent(MockProvider(reply="Done."), tools=[pay], state=state)
    tries = [other.resume(Checkpoint.from_json(text), answer=True) for _ in range(3)]
    ended = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in ended) == 1


# ── several instances ───────────────────────────────────────────────────────────────────────────


async def test_instances_share_a_breaker(tmp_path: Path) -> None:
    async with SQLiteState(tmp_path / "s.db") as here, SQLiteState(tmp_path / "s.db") as there:
        down = MockProvider(reply=MockProvider.fail(Overloaded("down")))
        one = with_circuit_breaker(down, failure_threshold=2, state=here)
        other = with_circuit_breaker(MockProvider(reply="up"), failure_threshold=2, state=there)
        for _ in range(2):
            with pytest.raises(Overloaded):
                await Agent(one).run("?")
        with pytest.raises(CircuitOpen):
            await Agent(other).run("?")


async def test_instances_share_memory(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "m.db") as here, SQLiteStore(tmp_path / "m.db") as there:
        await app(here, None).run("Where is A-1?", identity=ALICE)
        [memory] = app(there, None).memories
        assert len((await memory.recall(ALICE, "?")).entries) == 1


# ── what is there now ───────────────────────────────────────────────────────────────────────────


async def test_a_cost_budget_ticks_and_halts() -> None:
    ticks: list[Event] = []
    answer = LLMResponse("x", usage=Usage(10, 10), model="mock", provider="mock")
    agent: Agent[Any, str] = Agent(
        MockProvider(reply=answer),
        pricing_table=PriceList({"mock": Price(input=1, output=1)}),
        cost_budget=CostBudget(usd="0.000001"),
    )
    agent.on(CostTicked, ticks.append)
    stopped = await agent.run("?")
    assert isinstance(stopped, Stopped)
    assert stopped.reason is StopReason.COST_BUDGET
    assert (await agent.replace(cost_budget=None).run("?")).output == "x"
    assert len(ticks) == 1


async def test_an_output_fallback_recovers() -> None:
    agent: Agent[Any, int] = Agent(
        MockProvider(reply="no"), output=int, output_fallback=OutputFallback(recover=lambda problem: 7)
    )
    assert (await agent.run("?")).output == 7


async def test_a_permission_policy_gates_tools() -> None:
    policy = PermissionPolicy.from_roles({"reader": []}, role="reader")
    result = await app(InMemoryStore(), None, permissions=policy).run("?", identity=ALICE)
    assert "not permitted" in str([message.text for message in result.messages])


def test_state_is_shared_by_stores_for_every_place() -> None:
    for name in ("RedisState", "PostgresState", "DynamoDBState", "SQLiteState", "InMemoryState"):
        assert inspect.isclass(getattr(state_room, name))


# ── what not to do, and what is safe all the same ───────────────────────────────────────────────


async def test_one_agent_object_serves_requests_and_tenants_at_once_and_mixes_nothing() -> None:
    embedder = MockEmbedder()
    memory = Memory(
        "m", scope="principal", strategy=TopK(5, embedder=embedder, min_score=-1), store=InMemoryStore()
    )
    model = MockProvider(respond=lambda request: f"you said {request.messages[-1].text}")
    agent: Agent[Any, str] = Agent(model, memory=[memory], state=InMemoryState())
    tenants = [MemoryIdentity(f"tenant-{n}", "alice", "t-1") for n in range(20)]
    for _ in range(2):
        await asyncio.gather(*(agent.run(f"secret of {each.tenant}", identity=each) for each in tenants))
    for request in model.requests:
        words = {word for message in request.messages for word in message.text.split()}
        mine = request.messages[-1].text.split()[-1]
        assert {word for word in words if word.startswith("tenant-")} == {mine}


def test_tests_need_no_key() -> None:
    assert Agent(MockProvider(reply="hi")).run_sync("?").output == "hi"
    assert agentfootprint.__version__
