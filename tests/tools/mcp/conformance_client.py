"""What the conformance suite runs: an agent that calls every tool of the server at an address, and a person
who agrees to whatever is asked."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Any

from agentfootprint import Agent, Paused
from agentfootprint.providers import MockProvider
from agentfootprint.tools import MCPClient, RunContext


def filled(schema: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {"integer": 5, "number": 5, "boolean": True, "array": [], "object": {}}
    properties = schema.get("properties", {})
    return {name: kinds.get(properties[name].get("type"), "text") for name in schema.get("required", ())}


async def main(url: str, scenario: str) -> None:
    async with MCPClient.http(url, tool_timeout=20) as mcp:
        tools = await mcp.tools(RunContext(None, None, "conformance"))
        if scenario == "initialize":
            return
        calls = [MockProvider.call(each.name, **filled(each.spec.schema)) for each in tools]
        async with Agent(MockProvider(replies=[calls, "done"]), tools=[mcp]) as agent:
            result = await agent.run("Go.")
            while isinstance(result, Paused):
                result = await agent.resume(result.checkpoint, answers={ask.id: {} for ask in result.asks})
            for message in result.messages:
                print(message.role, message.text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[-1], os.environ.get("MCP_CONFORMANCE_SCENARIO", "")))
