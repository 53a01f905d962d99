"""The spans of an agent within a run stand below the call that asked it."""

from __future__ import annotations

from agentfootprint import tool
from tests.observe.otel.seen import Telemetry, context_of, id_of, parent_of

from .support import billing, call, desk


@tool
async def look_up(order: str) -> str:
    """Looks an order up."""
    return f"{order}: paid"


async def test_the_run_within_is_a_span_below_the_call_also_with_others_beside_it() -> None:
    telemetry = Telemetry()
    one = billing(call("look_up", order="A-1"), "One.", tools=[look_up])
    two = billing(call("look_up", order="A-2"), "Two.", tools=[look_up], name="stock")
    agent = desk(one, two)
    for each in (one, two, agent):
        each.enable.observability(telemetry.recorder)
    await agent.run("Well?")
    spans = await telemetry.spans()
    names = {id_of(span): span.name for span in spans}
    above = {
        span.name: names.get(parent_of(span) or 0) for span in spans if span.name.startswith("invoke_agent")
    }
    assert above == {
        "invoke_agent desk": None,
        "invoke_agent billing": "execute_tool billing",
        "invoke_agent stock": "execute_tool stock",
    }
    assert len({context_of(span).trace_id for span in spans}) == 1
