"""Real traffic of vendors is read as it was meant, also when no frame comes whole."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint import errors
from agentfootprint.messages import LLMRequest, LLMResponse, Message, ToolCall
from tests.providers.recordings import Recorded, Recording, recordings
from tests.providers.server import ScriptedServer

REQUEST = LLMRequest((Message.user("Where is order A-1?"),))

RECORDINGS = list(recordings())


async def answer_of(provider: Any, streamed: bool) -> LLMResponse:
    if not streamed:
        response: LLMResponse = await provider.complete(REQUEST)
        return response
    chunks = [chunk async for chunk in provider.stream(REQUEST)]
    whole = chunks[-1].response
    assert isinstance(whole, LLMResponse)
    assert "".join(chunk.text for chunk in chunks) == whole.text
    deltas = [chunk.tool_call_delta for chunk in chunks if chunk.tool_call_delta is not None]
    assert [(each.id, each.name) for each in deltas if each.name] == [
        (c.id, c.name) for c in whole.tool_calls
    ]
    return whole


def check(recorded: Recorded, response: LLMResponse) -> None:
    assert response.parts
    if recorded.expected is None:
        return
    usage = response.usage
    assert usage is not None
    assert {
        "text": response.text,
        "calls": [[call.id, call.name, call.arguments] for call in response.tool_calls],
        "stop": response.stop_reason,
        "tokens": [usage.input_tokens, usage.output_tokens],
    } == recorded.expected


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda each: each.name)
async def test_recorded_answers_are_read_as_they_were_meant(recording: Recording) -> None:
    async with ScriptedServer(recording.scripts) as server, recording.make(server.url) as provider:
        for recorded in recording.answers:
            failed = None
            try:
                response = await answer_of(provider, recorded.streamed)
            except errors.ProviderError as error:
                failed = type(error).__name__
            else:
                check(recorded, response)
            if recorded.expected is not None:
                assert failed == recorded.expected.get("error")
            elif failed is not None:
                assert recorded.status >= 400 or b"error" in recorded.body.lower()
    assert len(server.seen) == len(recording.answers)


async def test_what_the_vendor_did_itself_goes_back_to_it_unchanged() -> None:
    [recording] = [each for each in RECORDINGS if each.name == "anthropic-thinking-and-server-tools-http"]
    async with ScriptedServer(recording.scripts) as server, recording.make(server.url) as provider:
        first = await answer_of(provider, True)
        results = [Message.tool(call.id, call.name, "shipped") for call in first.tool_calls]
        with pytest.raises(errors.Overloaded):
            await provider.complete(LLMRequest((*REQUEST.messages, first.message, *results)))
    sent = server.seen[1].body["messages"][1]["content"]
    assert [block["type"] for block in sent] == [
        "thinking",
        "server_tool_use",
        "tool_search_tool_result",
        "text",
        "tool_use",
        "tool_use",
    ]
    assert sent[0]["signature"] == "c2lnbmF0dXJlLW9mLXRoaW5raW5n/+=="
    assert sent[1]["input"] == {"query": "order status"}
    assert isinstance(first.tool_calls[0], ToolCall)


def test_there_are_recordings_of_every_wire() -> None:
    hosts = {each.name.partition("-")[0] for each in RECORDINGS}
    assert {"anthropic", "bedrock", "groq", "openai", "openrouter"} <= hosts
