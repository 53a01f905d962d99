"""What the tests of questions share: an agent whose only tool asks."""

from __future__ import annotations

from typing import Any

from agentfootprint import Agent
from agentfootprint.providers import MockProvider

from .support import call


def agent_of(tool_: Any, *replies: Any, **options: Any) -> Agent[Any, Any]:
    script = [call(tool_.name, **options.pop("arguments", {})), *(replies or ("done",))]
    return Agent(MockProvider(replies=script), tools=[tool_], **options)


def asked_of(agent: Agent[Any, Any]) -> Any:
    provider = agent.provider
    assert isinstance(provider, MockProvider)
    return provider.requests
