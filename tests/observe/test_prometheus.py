"""Runs as Prometheus metrics, judged by Prometheus's own tool."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint import events as e
from agentfootprint.cost import CostBudget, Price, PriceList
from agentfootprint.embedders import MockEmbedder
from agentfootprint.errors import ConfigurationError, Overloaded, ProviderError
from agentfootprint.memory import InMemoryStore, Memory, Window
from agentfootprint.messages import LLMResponse, Usage
from agentfootprint.observe import prometheus_observability
from agentfootprint.observe.prometheus.recorder import PrometheusRecorder
from agentfootprint.providers import MockProvider
from agentfootprint.resilience import with_circuit_breaker, with_fallback, with_retry
from agentfootprint.retrieval import RAG
from agentfootprint.state import InMemoryState

from ..servers.programs import program
from .samples import SAMPLES

call = MockProvider.call
SECRET = "sk-SENTINEL-4711"


@tool
async def lookup(order_id: str) -> str:
    """Looks an order up."""
    return f"shipped {SECRET}"


def prometheus(**options: Any) -> PrometheusRecorder:
    return prometheus_observability(CollectorRegistry(), **options)


async def value(recorder: PrometheusRecorder, name: str, **labels: str) -> float | None:
    await recorder.flush()
    return recorder.registry.get_sample_value(f"agentfootprint_{name}", labels)


async def test_a_run_is_counted_and_measured() -> None:
    recorder = prometheus()
    memory = Memory("customer", scope="principal", strategy=Window(5), store=InMemoryStore())
    provider = MockProvider(replies=[call("lookup", order_id=SECRET), "Yes"], name="openai", model="gpt-5.1")
    agent = Agent(provider, tools=[lookup], name="support", memory=[memory], recorders=[recorder])
    await agent.run(f"Where? {SECRET}", identity=MemoryIdentity("acme", "alice"))
    model = {"provider": "openai", "model": "gpt-5.1"}
    assert await value(recorder, "runs_total", agent="support", status="completed") == 1
    assert await value(recorder, "runs_active", agent="support") == 0
    assert await value(recorder, "iterations_total", agent="support") == 2
    assert await value(recorder, "run_iterations_sum", agent="support") == 2
    assert await value(recorder, "model_calls_total", **model, error="") == 2
    assert await value(recorder, "model_duration_seconds_count", **model) == 2
    assert (await value(recorder, "tokens_total", **model, type="input") or 0) > 0
    assert await value(recorder, "tool_calls_total", tool="lookup", outcome="ok") == 1
    assert await value(recorder, "tool_duration_seconds_count", tool="lookup") == 1
    for operation in ("recall", "remember"):
        which = {"memory": "customer", "operation": operation}
        assert await value(recorder, "memory_operations_total", **which, status="ok") == 1
        assert await value(recorder, "memory_duration_seconds_count", **which) == 1
    told = recorder.exposition().decode()
    assert SECRET not in told
    assert "acme" not in told
    assert "alice" not in told


async def test_a_streamed_answer_measures_its_first_piece() -> None:
    recorder = prometheus()
    async with Agent(MockProvider(reply="Hello"), recorders=[recorder]).stream("Hi") as run:
        async for _ in run:
            pass
    assert await value(recorder, "model_first_token_seconds_count", provider="mock", model="mock") == 1


async def test_retries_fallbacks_and_breakers_are_seen() -> None:
    recorder = prometheus()
    failing = MockProvider(respond=lambda _: MockProvider.fail(Overloaded("busy")), name="first", model="m")
    breaker = with_circuit_breaker(failing, failure_threshold=2, cooldown=60)
    stack = with_fallback(
        with_retry(breaker, max_attempts=2, initial_delay=0.001, max_delay=0.002),
        MockProvider(reply="Yes", name="second", model="m"),
    )
    agent = Agent(stack, recorders=[recorder])
    await agent.run("Hi")
    assert await value(recorder, "retries_total", provider="first", model="m", error="overloaded") == 1
    fell = {"provider": "first", "model": "m", "to_provider": "second", "to_model": "m"}
    assert await value(recorder, "fallbacks_total", **fell) == 1
    (circuit,) = {
        sample.labels["circuit"]
        for metric in recorder.registry.collect()
        for sample in metric.samples
        if sample.name == "agentfootprint_circuit_state"
    }
    assert await value(recorder, "circuit_state", circuit=circuit) == 2
    assert await value(recorder, "circuit_transitions_total", circuit=circuit, to="open") == 1


PROMISED = {
    "runs": ("runs_total", "agent status"),
    "iterations": ("iterations_total", "agent"),
    "tokens": ("tokens_total", "provider model type"),
    "cost": ("cost_usd_total", "kind provider model"),
    "first-token latency": ("model_first_token_seconds_count", "provider model"),
    "total latency": ("model_duration_seconds_count", "provider model"),
    "latency of runs": ("run_duration_seconds_count", "agent status"),
    "tool latency": ("tool_duration_seconds_count", "tool"),
    "store latency of memories": ("memory_duration_seconds_count", "memory operation"),
    "store latency of conversations": ("conversation_save_duration_seconds_count", "status"),
    "store latency of corpora": ("retrieval_duration_seconds_count", "corpus"),
    "breaker state": ("circuit_state", "circuit"),
    "retries": ("retries_total", "provider model error"),
    "budget use": ("budget_used_ratio_count", "agent budget"),
}
"""What an operator is promised: the metric, and its labels, all bounded."""


async def test_what_an_operator_is_promised_is_in_the_exposition_of_real_runs() -> None:
    recorder = prometheus()
    corpus = RAG("handbook", store=InMemoryStore(), embedder=MockEmbedder())
    memory = Memory("customer", scope="principal", strategy=Window(5), store=InMemoryStore())
    busy = MockProvider.fail(Overloaded("busy"))
    replies: list[Any] = [busy, call("lookup", order_id="A-1"), "Yes"]
    provider = with_retry(MockProvider(replies=replies), max_attempts=2, initial_delay=0)
    agent = Agent(
        provider,
        tools=[lookup],
        memory=[memory, corpus],
        state=InMemoryState(),
        pricing_table=PriceList({"mock": Price(input=1, output=1)}),
        cost_budget=CostBudget(usd=1, per_tenant_daily_usd=10),
        recorders=[recorder],
    )
    async with agent.stream("Where?", identity=MemoryIdentity("acme", "alice", "t-1")) as run:
        async for _ in run:
            pass
    dead = with_circuit_breaker(MockProvider(reply=busy), failure_threshold=1)
    with pytest.raises(ProviderError):
        await Agent(dead, recorders=[recorder]).run("Hi")
    await recorder.flush()
    families = list(text_string_to_metric_families(recorder.exposition().decode()))
    seen = {sample.name: sample for family in families for sample in family.samples if sample.value}
    for what, (name, labels) in PROMISED.items():
        sample = seen.get(f"agentfootprint_{name}")
        assert sample is not None, what
        assert set(sample.labels) == set(labels.split()), what


async def test_the_share_of_a_budget_that_is_used_is_measured_when_a_run_ends() -> None:
    recorder = prometheus(tenant_label=True)
    answer = LLMResponse("Yes", usage=Usage(0, 500_000), model="mock", provider="mock")
    agent = Agent(
        MockProvider(reply=answer),
        name="priced",
        max_tokens=500_000,
        state=InMemoryState(),
        pricing_table=PriceList({"mock": Price(input=0, output=1)}),
        cost_budget=CostBudget(usd=1, per_tenant_daily_usd=2),
        recorders=[recorder],
    )
    for _ in range(2):
        await agent.run("Hi", identity=MemoryIdentity("acme"), fresh=True)
    of = {"agent": "priced", "tenant": "acme"}
    for budget, total in (("run", 0.5 + 0.5), ("window", 0.25 + 0.5)):
        assert await value(recorder, "budget_used_ratio_count", **of, budget=budget) == 2
        assert await value(recorder, "budget_used_ratio_sum", **of, budget=budget) == total
    without = prometheus()
    await agent.replace(cost_budget=None, recorders=[without]).run("Hi", identity=MemoryIdentity("acme"))
    assert "budget_used_ratio_count" not in without.exposition().decode()


async def test_cost_and_the_budget_are_seen() -> None:
    recorder = prometheus()
    prices = PriceList({"mock": Price(input=1, output=1)})
    agent = Agent(MockProvider(reply="Yes"), recorders=[recorder], name="priced", pricing_table=prices)
    await agent.run("Hi")
    which = {"kind": "model", "provider": "mock", "model": "mock"}
    assert (await value(recorder, "cost_usd_total", **which) or 0) > 0
    assert await value(recorder, "run_cost_usd_count", agent="priced") == 1
    poor = agent.replace(cost_budget=CostBudget(usd="0.0000001"))
    await poor.run("Hi")
    assert await value(recorder, "limits_reached_total", limit="cost_budget") == 1


async def test_a_run_that_fails_or_is_left_is_counted_as_such() -> None:
    recorder = prometheus()
    failing = Agent(MockProvider(replies=[MockProvider.fail(Overloaded("busy"))]), recorders=[recorder])
    with pytest.raises(ProviderError):
        await failing.run("Hi")
    gate = asyncio.Event()

    @tool
    async def wait() -> str:
        """Waits."""
        await gate.wait()
        return "never"

    slow = Agent(MockProvider(reply=call("wait")), tools=[wait], recorders=[recorder])
    async with slow.stream("Hi") as run:
        async for event in run:
            if isinstance(event, e.ToolStarted):
                break
    assert await value(recorder, "runs_total", agent="agent", status="failed") == 1
    assert await value(recorder, "runs_total", agent="agent", status="cancelled") == 1
    assert await value(recorder, "runs_active", agent="agent") == 0
    assert await value(recorder, "model_calls_total", provider="mock", model="mock", error="overloaded") == 1


async def test_tenants_are_told_only_when_asked_for_and_only_so_many() -> None:
    recorder = prometheus(tenant_label=True, max_tenants=3)
    agent = Agent(MockProvider(reply="Yes"), name="support", recorders=[recorder])
    for number in range(5):
        await agent.run("Hi", identity=MemoryIdentity(f"tenant-{number}"))
    await agent.run("Hi")
    ended = {"agent": "support", "status": "completed"}
    for tenant, count in (("tenant-0", 1), ("tenant-2", 1), ("other", 2), ("", 1)):
        assert await value(recorder, "runs_total", **ended, tenant=tenant) == count
    assert await value(recorder, "runs_total", **ended, tenant="tenant-3") is None


async def test_no_label_grows_without_end() -> None:
    recorder = prometheus()
    for number in range(1000):
        recorder.on_event(e.ToolEnded("run", 1.0, "s", f"made-up-{number}", "c", "unknown_tool", "", 0.1))
        recorder.on_event(e.ToolEnded("run", 1.0, "s", f"tool-{number}", "c", "ok", "", 0.1))
    assert await value(recorder, "tool_calls_total", tool="unknown", outcome="unknown_tool") == 1000
    assert await value(recorder, "tool_calls_total", tool="other", outcome="ok") == 801
    assert len(recorder.exposition().splitlines()) < 5000


async def test_promtool_finds_nothing_to_say_about_the_metrics() -> None:
    recorder = prometheus(tenant_label=True, tier="everything")
    for sample in SAMPLES:
        recorder.on_event(sample)
    await recorder.flush()
    assert recorder.faults.failures == 0
    checked = await asyncio.to_thread(
        subprocess.run,
        [program("promtool"), "check", "metrics"],
        input=recorder.exposition(),
        capture_output=True,
        timeout=60,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_recorders_share_a_registry_and_agree_on_its_labels() -> None:
    registry = CollectorRegistry()
    first, second = prometheus_observability(registry), prometheus_observability(registry)
    for recorder in (first, second):
        await Agent(MockProvider(reply="Yes"), recorders=[recorder]).run("Hi")
        await recorder.flush()
    assert await value(first, "runs_total", agent="agent", status="completed") == 2
    with pytest.raises(ConfigurationError, match="tenant_label"):
        prometheus_observability(registry, tenant_label=True)


async def test_what_is_lost_is_a_metric_too() -> None:
    recorder = prometheus()
    await recorder.aclose()
    recorder.on_event(SAMPLES[0])
    assert recorder.registry.get_sample_value("agentfootprint_telemetry_dropped_events_total") == 1


@pytest.mark.parametrize("wrong", [{"max_tenants": 0}, {"tier": "loud"}])
def test_what_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        prometheus(**wrong)
