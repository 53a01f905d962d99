"""A provider by its name, and from the environment."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint.errors import ConfigurationError, Unavailable
from agentfootprint.messages import LLMRequest, Message
from agentfootprint.providers import (
    AnthropicProvider,
    BedrockProvider,
    HTTPAnthropicProvider,
    HTTPOpenAIProvider,
    MockProvider,
    OpenAIProvider,
    create_provider,
    provider_from_env,
)
from agentfootprint.providers.create import COMPATIBLE

REQUEST = LLMRequest((Message.user("Well?"),))


@pytest.mark.parametrize(
    ("name", "kind", "model"),
    [
        ("anthropic:claude-sonnet-4-5", AnthropicProvider, "claude-sonnet-4-5"),
        ("http-anthropic:claude-sonnet-4-5", HTTPAnthropicProvider, "claude-sonnet-4-5"),
        ("openai:gpt-5.1", OpenAIProvider, "gpt-5.1"),
        ("http-openai:gpt-5.1", HTTPOpenAIProvider, "gpt-5.1"),
        ("bedrock:us.amazon.nova-micro-v1:0", BedrockProvider, "us.amazon.nova-micro-v1:0"),
        ("groq:openai/gpt-oss-120b", HTTPOpenAIProvider, "openai/gpt-oss-120b"),
        ("ollama:llama3.2:3b", HTTPOpenAIProvider, "llama3.2:3b"),
    ],
)
def test_a_name_is_a_vendor_and_its_model(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: type, model: str
) -> None:
    for variable in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GROQ_API_KEY"):
        monkeypatch.setenv(variable, "sk-none")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    provider = create_provider(name)
    assert type(provider) is kind
    assert provider.model == model


@pytest.mark.parametrize("vendor", [name for name, server in COMPATIBLE.items() if server.key])
def test_a_server_elsewhere_has_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch, vendor: str) -> None:
    server = COMPATIBLE[vendor]
    assert server.key is not None
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-them")
    monkeypatch.delenv(server.key, raising=False)
    with pytest.raises(ConfigurationError, match=server.key):
        create_provider(f"{vendor}:model")
    provider: Any = create_provider(f"{vendor}:model", api_key="sk-theirs")
    assert (provider.name, provider._transport.base_url) == (vendor, server.base_url)
    assert provider._transport._key == "sk-theirs"


async def test_a_server_of_this_machine_needs_none_and_is_told_how_to_start() -> None:
    provider: Any = create_provider("ollama:llama3.2", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(Unavailable, match="start the server"):
        await provider.complete(REQUEST)
    await provider.aclose()


async def test_a_mock_says_what_stands_behind_the_colon() -> None:
    assert (await create_provider("mock:Hello: you").complete(REQUEST)).text == "Hello: you"
    assert isinstance(create_provider("mock"), MockProvider)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gpt-5.1", "vendor:model"),
        ("anthropic", "anthropic:MODEL"),
        ("anthropic:", "anthropic:MODEL"),
        ("antropic:claude", "Did you mean 'anthropic'"),
        ("", "vendor:model"),
    ],
)
def test_what_is_no_name_is_told_with_what_to_write(name: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        create_provider(name)


async def test_the_environment_chooses_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTFOOTPRINT_MODEL", raising=False)
    with pytest.raises(ConfigurationError, match="AGENTFOOTPRINT_MODEL"):
        provider_from_env()
    assert (await provider_from_env(default="mock:Hi.").complete(REQUEST)).text == "Hi."
    monkeypatch.setenv("AGENTFOOTPRINT_MODEL", "mock:Hello.")
    assert (await provider_from_env(default="mock:Hi.").complete(REQUEST)).text == "Hello."
    monkeypatch.setenv("AGENTFOOTPRINT_MODEL", "nobody:model")
    with pytest.raises(ConfigurationError) as caught:
        provider_from_env()
    assert "AGENTFOOTPRINT_MODEL" in "".join(caught.value.__notes__)
    monkeypatch.setenv("SMALL_MODEL", "mock:Small.")
    assert (await provider_from_env("SMALL_MODEL").complete(REQUEST)).text == "Small."
