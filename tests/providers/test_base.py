from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentfootprint.errors import StreamTruncated
from agentfootprint.messages import LLMChunk, LLMRequest, LLMResponse, Message
from agentfootprint.providers import (
    LLMProvider,
    MockProvider,
    capabilities_of,
    complete_from_stream,
    stream_from_complete,
)
from agentfootprint.providers.base import leaves

REQUEST = LLMRequest((Message.user("hi"),))


class OnlyStreams:
    name = "half"
    model = "half-1"

    def __init__(self, *chunks: LLMChunk) -> None:
        self.chunks = chunks

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        for chunk in self.chunks:
            yield chunk

    async def complete(self, request: LLMRequest) -> LLMResponse:
        return await complete_from_stream(self, request)


def test_the_mock_is_a_provider() -> None:
    assert isinstance(MockProvider(reply=""), LLMProvider)


async def test_complete_is_the_last_chunk_of_the_stream() -> None:
    response = LLMResponse("hello")
    assert await OnlyStreams(LLMChunk("hello"), LLMChunk(response=response)).complete(REQUEST) is response


async def test_a_stream_without_its_last_chunk_is_no_answer() -> None:
    with pytest.raises(StreamTruncated, match="half") as caught:
        await OnlyStreams(LLMChunk("hel")).complete(REQUEST)
    assert caught.value.provider == "half"
    assert caught.value.retryable


async def test_a_stream_made_from_complete_ends_with_the_same_response() -> None:
    provider = MockProvider(reply=["let me see", MockProvider.call("find", city="Bern")])
    chunks = [chunk async for chunk in stream_from_complete(provider, REQUEST)]
    response = chunks[-1].response
    assert response is not None
    assert response.tool_calls[0].arguments == {"city": "Bern"}
    assert "".join(chunk.text for chunk in chunks) == response.text == "let me see"
    delta = chunks[1].tool_call_delta
    assert delta is not None
    assert (delta.index, delta.id, delta.name) == (0, "call_1", "find")
    assert [chunk.response for chunk in chunks[:-1]] == [None, None]


def test_who_says_nothing_of_its_abilities_promises_none() -> None:
    assert capabilities_of(OnlyStreams()) == frozenset()
    assert "tools" in capabilities_of(MockProvider(reply=""))


def test_the_leaves_of_a_chain_are_those_asked_in_the_end_in_their_order() -> None:
    class Over:
        name = model = "over"

        def __init__(self, inner: object) -> None:
            self.inner = inner

    class OneOf:
        name = model = "one of"

        def __init__(self, *providers: object) -> None:
            self.providers = providers

    a, b, c = (MockProvider(reply="", name=name) for name in "abc")
    chain: Any = Over(OneOf(Over(a), OneOf(b, c)))
    assert leaves(chain) == (a, b, c)
    assert leaves(a) == (a,)


def test_attributes_of_a_provider_that_are_no_providers_are_its_own() -> None:
    mine: Any = MockProvider(reply="x")
    mine.inner = object()
    assert leaves(mine) == (mine,)
    mine.providers = {"tokyo": "https://tokyo.example"}
    assert leaves(mine) == (mine,)
