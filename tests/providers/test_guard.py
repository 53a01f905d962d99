"""No test asks a real model by accident."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint.errors import ConfigurationError
from agentfootprint.messages import LLMRequest, Message
from agentfootprint.providers import (
    AnthropicProvider,
    HTTPAnthropicProvider,
    HTTPOpenAIProvider,
    OpenAIProvider,
    allow_real_calls,
    forbid_real_calls,
)
from agentfootprint.vendors.guard import check_call

REQUEST = LLMRequest((Message.user("hi"),))


@pytest.mark.parametrize(
    "kind", [AnthropicProvider, HTTPAnthropicProvider, HTTPOpenAIProvider, OpenAIProvider]
)
async def test_a_real_vendor_is_refused_while_the_plugin_is_on(kind: Any) -> None:
    async with kind("some-model", api_key="sk-none") as provider:
        with pytest.raises(ConfigurationError, match="real model"):
            await provider.complete(REQUEST)
        with pytest.raises(ConfigurationError, match="real model"):
            async for _ in provider.stream(REQUEST):
                pass


def test_it_can_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFOOTPRINT_NO_REAL_CALLS", "1")
    allow_real_calls()
    check_call("https://api.openai.com/v1")
    forbid_real_calls()
    with pytest.raises(ConfigurationError, match=r"api\.openai\.com"):
        check_call("https://api.openai.com/v1")
    for local in ("http://127.0.0.1:8000", "http://localhost:1234/v1", "http://[::1]:80"):
        check_call(local)


def test_a_missing_key_is_told_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="ANTHROPIC_API_KEY"):
        HTTPAnthropicProvider("claude")
    HTTPOpenAIProvider("llama", base_url="http://127.0.0.1:11434/v1")


async def test_a_local_server_that_is_not_there_is_told_with_how_to_start_it() -> None:
    for port, word in ((11434, "ollama serve"), (8080, "llama-server"), (9, "start the server")):
        async with HTTPOpenAIProvider("llama", base_url=f"http://127.0.0.1:{port}/v1") as provider:
            with pytest.raises(Exception, match=word):
                await provider.complete(REQUEST)
