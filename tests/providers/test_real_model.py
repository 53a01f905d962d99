"""A real language model, small and on this machine, behind every provider that speaks a wire of its server.

Whether it is right is not looked at: with 135 million parameters it knows little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentfootprint import Agent, Completed
from agentfootprint.demo.local_model import NAME
from agentfootprint.messages import LLMChunk, LLMRequest, LLMResponse, Message, ToolSpec
from agentfootprint.providers import (
    AnthropicProvider,
    HTTPAnthropicProvider,
    HTTPOpenAIProvider,
    MockProvider,
    OpenAIProvider,
)
from tests.servers.local_model import local_model_url

pytestmark = [pytest.mark.slow, pytest.mark.one_python]

QUESTION = LLMRequest(
    (Message.user("Name a color."),), system="You answer in one short sentence.", max_tokens=60, temperature=0
)


class City(BaseModel):
    """Bounded: what has no end, a model of this size does not end."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=20)
    population: int = Field(ge=0, le=99_999_999)
    capital: bool


CITY = City.model_json_schema()
ABOUT_PARIS = LLMRequest(
    (Message.user("Tell me about Paris."),), system="You answer with JSON.", max_tokens=120, temperature=0
)


@dataclass(frozen=True)
class Kind:
    """A provider's class, and what it is told besides the server's address."""

    name: str
    make: Callable[..., Any]
    path: str = ""
    key: str | None = None

    def __call__(self, **options: Any) -> Any:
        key = {"api_key": self.key} if self.key else {}
        return self.make(NAME, base_url=local_model_url() + self.path, **key, **options)


CHAT = [
    Kind("http-chat", HTTPOpenAIProvider, "/v1"),
    Kind("chat", OpenAIProvider, "/v1"),
]
MESSAGES = [
    Kind("http-anthropic", HTTPAnthropicProvider, key="none"),
    Kind("anthropic", AnthropicProvider, key="none"),
]

on_every_provider = pytest.mark.parametrize("kind", CHAT + MESSAGES, ids=lambda kind: kind.name)
plain_and_streamed = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


async def read(provider: Any, request: LLMRequest) -> tuple[LLMResponse, list[LLMChunk]]:
    chunks = [chunk async for chunk in provider.stream(request)]
    assert [chunk.response is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    response = chunks[-1].response
    assert response is not None
    return response, chunks[:-1]


async def ask(provider: Any, request: LLMRequest, streamed: bool) -> LLMResponse:
    if streamed:
        return (await read(provider, request))[0]
    response: LLMResponse = await provider.complete(request)
    return response


@on_every_provider
async def test_it_answers(kind: Kind) -> None:
    async with kind() as provider:
        response = await provider.complete(QUESTION)
    assert response.text.strip()
    assert (response.stop_reason, response.provider, response.model) == ("end", provider.name, NAME)
    assert response.usage is not None
    assert response.usage.input_tokens > 10
    assert 0 < response.usage.output_tokens < 60


@on_every_provider
async def test_it_streams_what_it_answers(kind: Kind) -> None:
    async with kind() as provider:
        response, chunks = await read(provider, QUESTION)
    assert response.text.strip()
    assert "".join(chunk.text for chunk in chunks) == response.text
    assert len(chunks) > 1
    assert response.stop_reason == "end"
    assert response.usage is not None
    assert response.usage.input_tokens > 10
    assert len(chunks) // 2 < response.usage.output_tokens < 60


@on_every_provider
@plain_and_streamed
async def test_an_answer_ends_at_the_limit_of_tokens_and_says_so(kind: Kind, streamed: bool) -> None:
    request = replace(QUESTION, messages=(Message.user("Tell a long story."),), max_tokens=7)
    async with kind() as provider:
        response = await ask(provider, request, streamed)
    assert response.stop_reason == "max_tokens"
    assert response.usage is not None
    assert response.usage.output_tokens == 7


@pytest.mark.parametrize("kind", CHAT, ids=lambda kind: kind.name)
@plain_and_streamed
async def test_an_answer_keeps_to_the_schema_it_is_asked_for(kind: Kind, streamed: bool) -> None:
    # Without the schema the same question gets other JSON: it is the schema that does it, not the words.
    question = replace(ABOUT_PARIS, max_tokens=30)
    async with kind() as provider:
        unbound = await ask(provider, question, streamed)
        response = await ask(provider, replace(ABOUT_PARIS, output_schema=CITY), streamed)
    with pytest.raises(ValidationError):
        City.model_validate_json(unbound.text)
    assert response.stop_reason == "end"
    assert City.model_validate_json(response.text).name


# The Messages API of llama.cpp passes on no `output_config`, `response_format` or `json_schema`: an output
# schema does not bind the answer there. What does is what Anthropic's own API had before: a tool with the
# schema, that the model must call. The server lets a model speak before it calls and call again after that,
# and one of this size would do nothing else: so its turn is begun for it, and ends with the first call.
BEGUN = (*ABOUT_PARIS.messages, Message.assistant("<tool_call>\n"))
MUST_CALL = {"tool_choice": {"type": "any"}, "stop_sequences": ["</tool_call>"]}


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.name)
@plain_and_streamed
async def test_a_tool_that_must_be_called_gets_arguments_of_its_schema(kind: Kind, streamed: bool) -> None:
    tools = (ToolSpec("describe_city", "Describes a city.", CITY),)
    request = replace(ABOUT_PARIS, messages=BEGUN, tools=tools)
    async with kind(extra_body=MUST_CALL) as provider:
        response = await ask(provider, request, streamed)
    assert response.stop_reason == "tool_calls"
    (call,) = response.tool_calls
    assert (call.name, call.raw) == ("describe_city", None)
    assert City.model_validate(dict(call.arguments)).name


async def test_the_messages_api_counts_tokens_before_they_are_read() -> None:
    async with MESSAGES[0]() as provider:
        counted = await provider.count_tokens(QUESTION)
        usage = (await provider.complete(QUESTION)).usage
    assert counted == usage.input_tokens


@on_every_provider
@plain_and_streamed
async def test_an_agent_runs_on_it_as_on_the_mock(kind: Kind, streamed: bool) -> None:
    async def run(provider: Any) -> tuple[list[str], list[str], str]:
        agent = Agent(provider, system=QUESTION.system or "", max_tokens=60, temperature=0)
        kinds: list[str] = []
        agent.on("*", lambda event: kinds.append(event.type))
        if streamed:
            async with agent.stream("Name a color.") as live:
                async for _ in live:
                    pass
            result = live.result
        else:
            result = await agent.run("Name a color.")
        assert isinstance(result, Completed)
        # How many pieces an answer comes in is up to the model.
        collapsed = [each for at, each in enumerate(kinds) if not at or kinds[at - 1] != each]
        return collapsed, [f"{step.id} {step.status}" for step in result.footprint.steps], result.output

    async with kind() as provider:
        events, steps, output = await run(provider)
    assert output.strip()
    assert (events, steps, output) == await run(MockProvider(reply=output))


@on_every_provider
async def test_a_conversation_goes_on(kind: Kind) -> None:
    async with kind() as provider:
        agent = Agent(provider, system=QUESTION.system or "", max_tokens=60, temperature=0)
        first = await agent.run("Name a color.")
        second = await agent.run("Name another.", messages=first.messages)
    assert isinstance(second, Completed)
    assert second.output.strip()
    assert second.usage.input_tokens > first.usage.input_tokens
