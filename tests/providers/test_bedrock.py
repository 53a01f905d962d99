"""Bedrock: signatures, binary streams, what Converse is particular about, and clients of boto3."""

from __future__ import annotations

import asyncio
import base64
import traceback
from typing import Any

import boto3
import botocore.config
import botocore.session
import pytest

from agentfootprint.errors import (
    ConfigurationError,
    ContextWindowExceeded,
    InvalidRequest,
    Overloaded,
    ProviderError,
    RateLimited,
    StreamTruncated,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from agentfootprint.messages import (
    File,
    Image,
    LLMChunk,
    LLMRequest,
    LLMResponse,
    Message,
    Opaque,
    Reasoning,
    Text,
    ToolCall,
    ToolSpec,
    Usage,
)
from agentfootprint.providers import BedrockProvider
from tests.providers.amazon import Binary, converse, converse_events
from tests.providers.dialects import BEDROCK
from tests.providers.server import ScriptedServer, beats, breaks, says, stays_silent, streams

SECRET = "sentinel/0123456789"
MODEL = "us.anthropic.claude-test-v1:0"
REQUEST = LLMRequest((Message.user("Where is order Ä-1?"),), system="Be brief.")
LOOK = ToolSpec("look", "Looks.", {"type": "object", "properties": {"order": {"type": "string"}}})
CALLS = [("c1", "look", {"order": "Ä-1"}), ("c2", "look", {"order": "B-2"})]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def signed(url: str) -> BedrockProvider:
    return BedrockProvider(MODEL, region="eu-west-1", endpoint_url=url)


def through_boto3(url: str) -> BedrockProvider:
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=20)
    client = boto3.session.Session().client(
        "bedrock-runtime", region_name="eu-west-1", endpoint_url=url, config=config
    )
    return BedrockProvider(MODEL, client=client)


both_transports = pytest.mark.parametrize("make", [signed, through_boto3])


async def ask(provider: BedrockProvider, streamed: bool, request: LLMRequest = REQUEST) -> LLMResponse:
    if not streamed:
        return await provider.complete(request)
    chunks: list[LLMChunk] = [chunk async for chunk in provider.stream(request)]
    response = chunks[-1].response
    assert response is not None
    assert "".join(chunk.text for chunk in chunks) == response.text
    return response


both_ways = pytest.mark.parametrize("streamed", [False, True])


@both_transports
@both_ways
async def test_text_and_parallel_calls_come_with_their_usage(make: Any, streamed: bool) -> None:
    script = (
        streams(BEDROCK.stream("One moment.", CALLS))
        if streamed
        else says(BEDROCK.answer("One moment.", CALLS))
    )
    async with ScriptedServer([script]) as server, make(server.url) as provider:
        response = await ask(provider, streamed)
    assert response.text == "One moment."
    assert response.tool_calls == tuple(ToolCall(*call) for call in CALLS)
    assert (response.stop_reason, response.model) == ("tool_calls", MODEL)
    assert response.usage == Usage(130, 5, 100, 20)
    [exchange] = server.seen
    assert exchange.path == f"/model/us.anthropic.claude-test-v1%3A0/converse{'-stream' if streamed else ''}"
    assert exchange.body == {
        "messages": [{"role": "user", "content": [{"text": "Where is order Ä-1?"}]}],
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
    }
    assert "/eu-west-1/bedrock/aws4_request" in exchange.headers["authorization"]


@both_transports
@both_ways
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "ThrottlingException", RateLimited),
        (503, "ServiceUnavailableException", Overloaded),
        (500, "InternalServerException", Unavailable),
        (424, "ModelErrorException", Unavailable),
        (408, "ModelTimeoutException", TimedOut),
        (403, "AccessDeniedException", Unauthorized),
        (400, "ValidationException", InvalidRequest),
    ],
)
async def test_the_api_s_exceptions_are_told_by_our_names(
    make: Any, streamed: bool, status: int, code: str, kind: type[ProviderError]
) -> None:
    script = says(
        {"message": "because"}, status, x_amzn_errortype=f"{code}:http://internal/", x_amzn_requestid="r-1"
    )
    async with ScriptedServer([script]) as server, make(server.url) as provider:
        with pytest.raises(kind, match="because") as caught:
            await ask(provider, streamed)
    assert type(caught.value) is kind
    assert caught.value.details["request_id"] == "r-1"
    assert len(server.seen) == 1


@both_transports
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", RateLimited),
        ("modelStreamErrorException", Unavailable),
        ("validationException", InvalidRequest),
    ],
)
async def test_an_exception_within_a_stream_is_that_error(make: Any, name: str, kind: Any) -> None:
    events = [*BEDROCK.stream("A whole answer.")[:3], Binary({name: {"message": "because"}})]
    async with ScriptedServer([streams(events)]) as server, make(server.url) as provider:
        with pytest.raises(kind, match="because"):
            await ask(provider, True)


@both_transports
@pytest.mark.parametrize("then", [None, breaks])
async def test_a_stream_that_is_cut_is_no_answer(make: Any, then: Any) -> None:
    events = BEDROCK.stream("A whole answer.")[:3]
    async with ScriptedServer([streams(events, 1000, then)]) as server, make(server.url) as provider:
        with pytest.raises(StreamTruncated):
            await ask(provider, True)


@both_transports
async def test_a_reader_that_leaves_closes_the_connection_at_once(make: Any) -> None:
    events = BEDROCK.stream("A whole answer.")[:4]
    async with ScriptedServer([streams(events, 1000, beats)]) as server, make(server.url) as provider:
        chunks: Any = provider.stream(REQUEST)
        await anext(chunks)
        await chunks.aclose()
        await server.seen[0].closed(5)


@both_transports
async def test_a_reader_that_is_cancelled_in_a_stall_closes_the_connection_at_once(make: Any) -> None:
    events = BEDROCK.stream("A whole answer.")[:4]
    async with ScriptedServer([streams(events, 1000, stays_silent)]) as server, make(server.url) as provider:
        begun = asyncio.Event()

        async def read() -> None:
            async for _ in provider.stream(REQUEST):
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.seen[0].closed(5)


@both_transports
async def test_blobs_and_reasoning_travel_both_ways_as_they_came(make: Any) -> None:
    sealed = base64.b64encode(b"\x00sealed\xff").decode()
    picture = base64.b64encode(b"\x89PNG\r\n").decode()
    answer = converse("", [("c1", "look", {"order": "A"})], "")
    answer["output"]["message"]["content"][:0] = [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln=="}}},
        {"reasoningContent": {"redactedContent": sealed}},
    ]
    async with (
        ScriptedServer([says(answer), says(converse("Seen.", [], ""))]) as server,
        make(server.url) as provider,
    ):
        asked = Message.user(
            ["Look.", Image(data=picture, media_type="image/jpg"), File(data=picture, name="a_b.pdf")]
        )
        first = await provider.complete(LLMRequest((asked,), tools=(LOOK,)))
        result = Message.tool(
            "c1", "look", ["There.", Image(data=picture, media_type="image/png")], is_error=True
        )
        await provider.complete(LLMRequest((asked, first.message, result), tools=(LOOK,)))
    assert first.parts[:2] == (
        Reasoning("Hm.", "c2ln==", None, "bedrock"),
        Reasoning("", None, sealed, "bedrock"),
    )
    user, assistant, told = server.seen[1].body["messages"]
    assert user["content"] == [
        {"text": "Look."},
        {"image": {"format": "jpeg", "source": {"bytes": picture}}},
        {"document": {"format": "pdf", "name": "a b pdf", "source": {"bytes": picture}}},
    ]
    assert assistant["content"] == answer["output"]["message"]["content"]
    [block] = told["content"]
    assert block["toolResult"]["status"] == "error"
    assert block["toolResult"]["content"][1] == {"image": {"format": "png", "source": {"bytes": picture}}}


async def test_streamed_reasoning_comes_whole_with_its_signature() -> None:
    sealed = base64.b64encode(b"\x00sealed\xff").decode()
    deltas: list[tuple[int, dict[str, Any]]] = [
        (0, {"reasoningContent": {"text": "Let me "}}),
        (0, {"reasoningContent": {"text": "see."}}),
        (0, {"reasoningContent": {"signature": "c2ln=="}}),
        (1, {"reasoningContent": {"redactedContent": sealed}}),
    ]
    events = [
        Binary({"contentBlockDelta": {"contentBlockIndex": at, "delta": delta}}) for at, delta in deltas
    ]
    events.append(Binary({"contentBlockDelta": {"contentBlockIndex": 2, "delta": {"text": "Yes."}}}))
    events += BEDROCK.stream("")[-2:]
    async with ScriptedServer([streams(events)]) as server, signed(server.url) as provider:
        response = await ask(provider, True)
    assert response.parts == (
        Reasoning("Let me see.", "c2ln==", None, "bedrock"),
        Reasoning("", None, sealed, "bedrock"),
        Text("Yes."),
    )


async def test_without_tools_earlier_calls_are_told_in_words() -> None:
    """The API refuses blocks of tools in a request that offers none, such as a last answer without them."""
    history = (
        Message.user("Where?"),
        Message.assistant([ToolCall("c1", "look", {"order": "A"})]),
        Message.tool("c1", "look", "shipped"),
    )
    async with ScriptedServer([says(converse("Shipped.", [], ""))]) as server, signed(server.url) as provider:
        await provider.complete(LLMRequest(history))
    sent = server.seen[0].body["messages"]
    assert "toolUse" not in str(sent)
    assert "toolResult" not in str(sent)
    assert '{"order":"A"}' in sent[1]["content"][0]["text"]
    assert "shipped" in sent[2]["content"][0]["text"]


async def test_only_what_is_bedrock_s_own_goes_back_to_it() -> None:
    history = (
        Message.user("Well?"),
        Message.assistant(
            [
                Reasoning("Hm.", "sig", None, "anthropic"),
                Opaque("openai", {"type": "web_search_call"}),
                Opaque("bedrock", {"guardContent": {"text": {"text": "x"}}}),
                Text(" "),
                "So.",
            ]
        ),
        Message.user("And?"),
    )
    async with ScriptedServer([says(converse("Ok.", [], ""))]) as server, signed(server.url) as provider:
        await provider.complete(LLMRequest(history))
    assert server.seen[0].body["messages"][1]["content"] == [
        {"guardContent": {"text": {"text": "x"}}},
        {"text": "So."},
    ]


async def test_what_the_model_wrote_wrongly_is_an_error_and_a_filtered_answer_says_so() -> None:
    malformed = {**converse("Hal", [], ""), "stopReason": "malformed_tool_use"}
    guarded = {**converse("Hal", [], ""), "stopReason": "guardrail_intervened"}
    async with ScriptedServer([says(malformed), says(guarded)]) as server, signed(server.url) as provider:
        with pytest.raises(Unavailable, match="malformed_tool_use"):
            await provider.complete(REQUEST)
        assert (await provider.complete(REQUEST)).stop_reason == "content_filter"


async def test_what_lies_in_the_web_is_refused_by_name() -> None:
    async with ScriptedServer([says({})]) as server, signed(server.url) as provider:
        with pytest.raises(InvalidRequest, match="data= in base64"):
            await provider.complete(LLMRequest((Message.user([Image(url="https://example.org/a.png")]),)))
    assert server.seen == []


async def test_a_schema_and_limits_are_asked_for_in_the_api_s_words() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    async with ScriptedServer([says(converse("{}", [], ""))]) as server, signed(server.url) as provider:
        await provider.complete(LLMRequest((Message.user("?"),), None, (LOOK,), schema, 77, 0.5))
    body = server.seen[0].body
    assert body["inferenceConfig"] == {"maxTokens": 77, "temperature": 0.5}
    [tool] = body["toolConfig"]["tools"]
    assert tool["toolSpec"] == {"name": "look", "description": "Looks.", "inputSchema": {"json": LOOK.schema}}
    form = body["outputConfig"]["textFormat"]
    assert form["type"] == "json_schema"
    assert (
        form["structure"]["jsonSchema"]["schema"]
        == '{"type":"object","properties":{"city":{"type":"string"}}}'
    )


@both_transports
async def test_tokens_are_counted_by_the_vendor(make: Any) -> None:
    async with ScriptedServer([says({"inputTokens": 42})]) as server, make(server.url) as provider:
        assert await provider.count_tokens(REQUEST) == 42
        assert {"token_counting", "prompt_cache"} <= provider.capabilities
    [exchange] = server.seen
    assert exchange.path.endswith("/count-tokens")
    assert exchange.body["input"]["converse"]["messages"]


@both_transports
async def test_a_conversation_that_is_too_long_is_told_as_that(make: Any) -> None:
    script = says(
        {"message": "Input is too long for requested model."}, 400, x_amzn_errortype="ValidationException"
    )
    async with ScriptedServer([script]) as server, make(server.url) as provider:
        with pytest.raises(ContextWindowExceeded):
            await provider.complete(REQUEST)


# ── places and secrets ──────────────────────────────────────────────────────────────────────────


def test_a_region_is_needed_and_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(ConfigurationError, match="AWS_REGION"):
        BedrockProvider(MODEL)
    for region, host in (
        ("eu-west-1", "bedrock-runtime.eu-west-1.amazonaws.com"),
        ("cn-north-1", "bedrock-runtime.cn-north-1.amazonaws.com.cn"),
    ):
        monkeypatch.setenv("AWS_REGION", region)
        provider: Any = BedrockProvider(MODEL)
        assert provider._transport.base_url == f"https://{host}"


async def test_a_server_of_this_machine_needs_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    script = says(converse("Hi.", [], ""))
    async with (
        ScriptedServer([script]) as server,
        BedrockProvider("nova", endpoint_url=server.url) as provider,
    ):
        assert (await provider.complete(REQUEST)).text == "Hi."
    assert "authorization" not in server.seen[0].headers
    assert server.seen[0].body["system"] == [{"text": "Be brief."}], "no cache where none is known"


async def test_missing_credentials_are_told_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    # Looking for them would ask the network for the role of this machine.
    monkeypatch.setattr(botocore.session.Session, "get_credentials", lambda self: None)
    async with ScriptedServer([says({})]) as server, signed(server.url) as provider:
        with pytest.raises(Unauthorized, match="AWS_ACCESS_KEY_ID"):
            await provider.complete(REQUEST)
    assert server.seen == []


@both_transports
@both_ways
async def test_credentials_are_nowhere_to_be_seen(
    make: Any, streamed: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("DEBUG")
    told = ""
    async with ScriptedServer([says({}, 403), breaks]) as server, make(server.url) as provider:
        for _ in range(2):
            with pytest.raises(ProviderError) as caught:
                await ask(provider, streamed)
            told += "".join(traceback.format_exception(caught.value)) + repr(caught.value.details)
        told += repr(provider)
    assert SECRET not in told
    assert SECRET not in caplog.text
    assert SECRET not in str(server.seen[0].headers)


async def test_events_of_a_future_version_are_passed_over() -> None:
    events = converse_events("Hi.", [], "", lambda text: [text], lambda calls: [])
    events.insert(1, Binary({"somethingNew": {"x": 1}}))
    async with ScriptedServer([streams(events)]) as server, signed(server.url) as provider:
        assert (await ask(provider, True)).text == "Hi."
