"""The first thing a newcomer runs: no key, no server, nothing installed but the core."""

from agentfootprint import Agent, tool
from agentfootprint.providers import MockProvider


@tool
async def lookup_order(order_id: str) -> str:
    """Status and amount of an order, by its id."""
    return f"Order {order_id}: shipped, $299"


agent = Agent(
    provider=MockProvider(replies=[MockProvider.call("lookup_order", order_id="A-1"), "It has shipped."]),
    system="You are a support agent.",
    tools=[lookup_order],
)
result = agent.run_sync("Where is order A-1?")
assert "lookup_order" in result.footprint.narrative()
assert "shipped" in str(result.footprint.why("output"))
print(result.output)
