"""Tokens of a request counted by the vendor, where it offers that; elsewhere there is no such ability."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint.errors import ProviderError, RateLimited, Unavailable
from agentfootprint.messages import Image, LLMRequest, Message, ToolSpec
from agentfootprint.providers import CountsTokens, HTTPOpenAIProvider, LLMProvider, capabilities_of
from tests.providers.dialects import DIALECTS, KEY, Dialect
from tests.providers.server import ScriptedServer, says
from tests.providers.test_wires import every_dialect

COUNTING = [dialect for dialect in DIALECTS if "chat" not in dialect.name]
every_counting = pytest.mark.parametrize("dialect", COUNTING, ids=lambda each: each.name)

REQUEST = LLMRequest(
    (Message.user(["Where?", Image(url="https://x.example/a.png")]),),
    "Be brief.",
    (ToolSpec("look", "Looks.", {"type": "object", "properties": {}}),),
    {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
    77,
    0.5,
)


@every_dialect
def test_the_ability_is_there_or_not_and_the_capabilities_say_the_same(dialect: Dialect) -> None:
    provider: LLMProvider = dialect.make("http://127.0.0.1:1")
    counts = isinstance(provider, CountsTokens)
    assert counts is ("token_counting" in capabilities_of(provider)) is ("chat" not in dialect.name)
    assert hasattr(provider, "count_tokens") is counts


@every_counting
async def test_what_the_model_would_read_is_counted_and_nothing_else_is_asked(dialect: Dialect) -> None:
    answer = dialect.answer("Hi.")
    async with (
        ScriptedServer([says({"input_tokens": 421, "object": "x"}), says(answer)]) as server,
        dialect.make(server.url) as provider,
    ):
        assert await provider.count_tokens(REQUEST) == 421
        await provider.complete(REQUEST)
    counted, asked = (exchange.body for exchange in server.seen)
    path = "/v1/messages/count_tokens" if "anthropic" in dialect.name else "/v1/responses/input_tokens"
    assert server.seen[0].path == path
    assert counted == {key: value for key, value in asked.items() if key in counted}
    left_out = asked.keys() - counted.keys()
    assert left_out == ({"max_tokens", "temperature"} if "anthropic" in dialect.name else LEFT_OUT)
    assert server.seen[0].headers.keys() >= {"content-type"}
    assert KEY in str(server.seen[0].headers)


LEFT_OUT = {"max_output_tokens", "temperature", "store", "include"}


async def test_fields_of_the_callers_own_are_counted_where_they_matter() -> None:
    extra = {"reasoning": {"effort": "low"}, "tools": [{"type": "web_search"}], "user": "u-1"}
    async with (
        ScriptedServer([says({"input_tokens": 1})]) as server,
        HTTPOpenAIProvider(
            "m", api="responses", api_key=KEY, base_url=server.url, extra_body=extra
        ) as provider,
    ):
        assert isinstance(provider, CountsTokens)
        await provider.count_tokens(REQUEST)
    body = server.seen[0].body
    assert body["reasoning"] == {"effort": "low"}
    assert [each["type"] for each in body["tools"]] == ["function", "web_search"]
    assert "user" not in body


FAILURES: list[tuple[Any, int, type[ProviderError]]] = [
    ({"error": {"message": "slow down"}}, 429, RateLimited),
    ({"tokens": 3}, 200, Unavailable),
    ({"input_tokens": None}, 200, Unavailable),
    (b"<html>", 200, Unavailable),
]


@every_counting
@pytest.mark.parametrize(("answer", "status", "kind"), FAILURES)
async def test_a_count_that_fails_is_an_error_by_its_name(
    dialect: Dialect, answer: Any, status: int, kind: type[ProviderError]
) -> None:
    async with ScriptedServer([says(answer, status)]) as server, dialect.make(server.url) as provider:
        with pytest.raises(kind) as caught:
            await provider.count_tokens(REQUEST)
    assert type(caught.value) is kind
