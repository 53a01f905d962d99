"""What the tests of runs within runs share: an agent that others ask, and the one that asks it."""

from __future__ import annotations

from typing import Any

from agentfootprint import Agent
from agentfootprint.messages import LLMResponse, ToolCall, Usage
from agentfootprint.providers import MockProvider

call = MockProvider.call


def billing(*replies: Any, **options: Any) -> Agent[Any, Any]:
    """The agent that is asked."""
    options.setdefault("name", "billing")
    return Agent(MockProvider(replies=list(replies)), **options)


def desk(*inner: Agent[Any, Any], replies: list[Any] | None = None, **options: Any) -> Agent[Any, Any]:
    """The agent that asks others: by default each once, in one turn, and then answers."""
    if replies is None:
        replies = [[call(each.name, input=f"Well, {each.name}?") for each in inner], "That is all."]
    tools = [each.as_tool(description=f"Asks {each.name}.") for each in inner]
    options.setdefault("name", "desk")
    return Agent(MockProvider(replies=replies), tools=[*tools, *options.pop("tools", ())], **options)


def says(text: str, tokens: tuple[int, int] = (1, 1)) -> LLMResponse:
    """An answer of so many tokens in and out."""
    return LLMResponse(text, usage=Usage(*tokens), model="mock", provider="mock")


def asks(*calls: ToolCall, tokens: tuple[int, int] = (1, 1)) -> LLMResponse:
    """An answer that asks for tools."""
    return LLMResponse(tool_calls=list(calls), usage=Usage(*tokens), model="mock", provider="mock")


def asks_for(*names: str, tokens: tuple[int, int] = (1, 1)) -> LLMResponse:
    """An answer that asks these agents."""
    calls = [ToolCall(f"c{at}", name, {"input": "Well?"}) for at, name in enumerate(names)]
    return asks(*calls, tokens=tokens)
