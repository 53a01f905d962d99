"""Runs as metrics: the conventions' instruments, with labels that cannot grow without end."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agentfootprint import Agent, tool
from agentfootprint.cost import CostBudget, Price, PriceList
from agentfootprint.errors import Overloaded, ProviderError
from agentfootprint.events import CostTicked, ModelEnded, ToolEnded
from agentfootprint.messages import LLMResponse, Usage
from agentfootprint.observe import otel_observability
from agentfootprint.providers import MockProvider

from .seen import Telemetry, attributes

call = MockProvider.call


@tool
async def lookup(order_id: str) -> str:
    """Looks an order up."""
    return "shipped"


async def told(*replies: Any, **options: Any) -> Telemetry:
    telemetry = Telemetry()
    provider = MockProvider(replies=list(replies), name="bedrock", model="claude")
    agent = Agent(provider, tools=[lookup], name="support", recorders=[telemetry.recorder], **options)
    await agent.run("Where?")
    return telemetry


async def test_a_run_is_measured_by_the_conventions() -> None:
    telemetry = await told(call("lookup", order_id="1"), "Yes")
    (duration,) = await telemetry.points("gen_ai.client.operation.duration")
    assert duration.count == 2
    assert duration.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.request.model": "claude",
        "gen_ai.response.model": "claude",
    }
    assert duration.explicit_bounds[0] == 0.01
    tokens = await telemetry.points("gen_ai.client.token.usage")
    assert {point.attributes["gen_ai.token.type"] for point in tokens} == {"input", "output"}
    (ran,) = await telemetry.points("gen_ai.invoke_agent.duration")
    assert ran.attributes["gen_ai.agent.name"] == "support"
    assert ran.attributes["agentfootprint.run.status"] == "completed"
    (models,) = await telemetry.points("gen_ai.invoke_agent.inference_calls")
    (tools,) = await telemetry.points("gen_ai.invoke_agent.tool_calls")
    assert (models.sum, tools.sum) == (2, 1)
    (called,) = await telemetry.points("gen_ai.execute_tool.duration")
    assert called.attributes["gen_ai.tool.name"] == "lookup"


async def test_a_failure_is_measured_with_its_code() -> None:
    telemetry = Telemetry()
    agent = Agent(MockProvider(replies=[MockProvider.fail(Overloaded("busy"))]), name="support")
    agent.attach(telemetry.recorder)
    with pytest.raises(ProviderError):
        await agent.run("Hi")
    for metric in ("gen_ai.client.operation.duration", "gen_ai.invoke_agent.duration"):
        (point,) = await telemetry.points(metric)
        assert point.attributes["error.type"] == "overloaded"


async def test_a_streamed_answer_measures_its_first_chunk() -> None:
    telemetry = Telemetry()
    agent = Agent(MockProvider(reply="Hello"), recorders=[telemetry.recorder])
    async with agent.stream("Hi") as run:
        async for _ in run:
            pass
    (point,) = await telemetry.points("gen_ai.client.operation.time_to_first_chunk")
    assert point.count == 1


async def test_what_is_paid_is_counted_where_it_is_known() -> None:
    telemetry = Telemetry()
    for cost in (None, "0.0004", "0.0006"):
        event = CostTicked("run", 1.0, "call_model#0", "model", "openai", "m", Usage(1, 2), cost, None)
        telemetry.recorder.on_event(event)
    (point,) = await telemetry.points("agentfootprint.cost")
    assert Decimal(str(point.value)) == Decimal("0.001")


async def test_the_share_of_a_budget_that_is_used_is_told_with_the_run() -> None:
    answer = LLMResponse("Yes", usage=Usage(0, 250_000), model="claude", provider="bedrock")
    telemetry = await told(
        answer,
        max_tokens=500_000,
        pricing_table=PriceList({"claude": Price(input=0, output=1)}),
        cost_budget=CostBudget(usd=1),
    )
    (point,) = await telemetry.points("agentfootprint.budget.used")
    assert (point.sum, point.attributes["agentfootprint.budget"]) == (0.25, "run")
    assert attributes(await telemetry.one("invoke_agent support"))["agentfootprint.budget.run.used"] == 0.25


async def test_names_from_outside_do_not_make_series_without_end() -> None:
    telemetry = Telemetry()
    for number in range(1000):
        step = f"call_tools#{number}"
        made_up = ToolEnded("run", 1.0, step, f"made-up-{number}", "c", "unknown_tool", "", 0.1)
        many = ToolEnded("run", 1.0, step, f"tool-{number}", "c", "ok", "", 0.1)
        model = ModelEnded("run", 1.0, step, "openai", f"m-{number}", None, "end", 0, 0, None, 0.1)
        for event in (made_up, many, model):
            telemetry.recorder.on_event(event)
    tools = await telemetry.points("gen_ai.execute_tool.duration")
    assert len(tools) <= 202
    assert {"_OTHER", "other"} <= {point.attributes["gen_ai.tool.name"] for point in tools}
    assert len(await telemetry.points("gen_ai.client.operation.duration")) <= 201


async def test_without_providers_nothing_is_told_and_nothing_breaks() -> None:
    agent = Agent(MockProvider(replies=[call("lookup", order_id="1"), "Yes"]), tools=[lookup])
    handle = agent.attach(otel_observability())
    assert (await agent.run("Hi")).output == "Yes"
    await agent.aclose()
    assert (handle.failures, handle.dropped) == (0, 0)
