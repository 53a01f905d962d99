"""What embedders over HTTP ask, in which requests, and what becomes of answers and failures."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import boto3
import botocore.config
import pytest

from agentfootprint.embedders import (
    BedrockEmbedder,
    CohereEmbedder,
    EmbeddingUsage,
    MeasuringEmbedder,
    OpenAIEmbedder,
    metered,
)
from agentfootprint.embedders.texts import average
from agentfootprint.errors import (
    ConfigurationError,
    ContextWindowExceeded,
    InputInvalid,
    InvalidRequest,
    Overloaded,
    ProviderError,
    RateLimited,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from agentfootprint.messages import Usage
from tests.providers.dialects import KEY
from tests.providers.server import ScriptedServer, breaks, says

from .apis import (
    BEDROCK_COHERE,
    COHERE,
    OPENAI,
    QUICK,
    TITAN,
    Api,
    cosine,
    every_api,
    packed,
    vector,
)

# ── requests ────────────────────────────────────────────────────────────────────────────────────


async def test_openai_is_asked_in_base64_and_for_a_size_only_if_it_is_not_the_model_s_own() -> None:
    async with ScriptedServer([OPENAI.serves]) as server:
        async with OPENAI.make(server.url) as embedder:
            await embedder.embed(["one", "Ä"], purpose="query")
        async with OPENAI.make(server.url, dimensions=None) as embedder:
            with pytest.raises(ConfigurationError, match=r"256 dimensions.*made for 1536"):
                await embedder.embed(["one"])
    shortened, whole = server.seen
    assert shortened.path == "/v1/embeddings"
    assert shortened.headers["authorization"] == f"Bearer {KEY}"
    assert shortened.body == {
        "model": "text-embedding-3-small",
        "encoding_format": "base64",
        "dimensions": 256,
        "input": ["one", "Ä"],
    }
    assert "dimensions" not in whole.body


async def test_a_server_of_the_same_api_is_told_no_size() -> None:
    async with ScriptedServer([OPENAI.serves]) as server:
        url = f"{server.url}/v1"
        embedder = OpenAIEmbedder(
            "nomic", dimensions=256, base_url=url, name="ollama", extra_body={"user": "u"}
        )
        async with embedder:
            [embedding] = await embedder.embed(["one"])
    assert server.seen[0].body == {
        "model": "nomic",
        "encoding_format": "base64",
        "input": ["one"],
        "user": "u",
    }
    assert embedding.fingerprint == "ollama:nomic@256"


@pytest.mark.parametrize(("purpose", "told"), [("document", "search_document"), ("query", "search_query")])
@pytest.mark.parametrize("api", [COHERE, BEDROCK_COHERE], ids=lambda api: api.name)
async def test_cohere_is_told_the_purpose_and_to_cut_nothing_off(api: Api, purpose: Any, told: str) -> None:
    async with ScriptedServer([api.serves]) as server, api.make(server.url) as embedder:
        await embedder.embed(["one"], purpose=purpose)
    body = server.seen[0].body
    assert body.pop("model", "embed-v4.0") == "embed-v4.0"
    assert body == {
        "texts": ["one"],
        "input_type": told,
        "embedding_types": ["float"],
        "truncate": "NONE",
        "output_dimension": 256,
    }


async def test_titan_takes_one_text_a_request() -> None:
    async with ScriptedServer([TITAN.serves]) as server, TITAN.make(server.url) as embedder:
        await embedder.embed(["one", "two"])
    assert sorted(each.body["inputText"] for each in server.seen) == ["one", "two"]
    assert server.seen[0].body.keys() == {"inputText", "dimensions", "normalize"}
    assert {each.path for each in server.seen} == {TITAN.path}


def through_boto3(url: str) -> BedrockEmbedder:
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=20)
    session = boto3.session.Session("AKIDEXAMPLE", "secret")
    client = session.client("bedrock-runtime", "eu-west-1", endpoint_url=url, config=config)
    return BedrockEmbedder(dimensions=256, client=client, retry=None)


async def test_bedrock_through_a_client_of_one_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    scripts = [TITAN.serves, says({"message": "slow"}, 429, x_amzn_errortype="ThrottlingException"), says([])]
    async with ScriptedServer(scripts) as server, through_boto3(server.url) as embedder:
        [embedding] = await embedder.embed(["half \ud83d"])
        with pytest.raises(RateLimited):
            await embedder.embed(["one"])
        with pytest.raises(Unavailable, match="no JSON object"):
            await embedder.embed(["one"])
    assert embedding.fingerprint == "bedrock:amazon.titan-embed-text-v2@256"
    assert server.seen[0].body["inputText"] == "half \ufffd"
    assert "/eu-west-1/bedrock/aws4_request" in server.seen[0].headers["authorization"]


async def test_bedrock_signs_where_there_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with (
        ScriptedServer([TITAN.serves]) as server,
        TITAN.make(server.url, api_key=None, region="eu-west-1") as embedder,
    ):
        await embedder.embed(["one"])
    assert "/eu-west-1/bedrock/aws4_request" in server.seen[0].headers["authorization"]


def test_what_no_model_has_is_refused_when_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "CO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    wrong: list[tuple[Any, str]] = [
        (lambda: OpenAIEmbedder(dimensions=2000, api_key="k"), "has 1 to 1536 dimensions, not 2000"),
        (lambda: OpenAIEmbedder("text-embedding-ada-002", dimensions=8, api_key="k"), "1536 dimensions"),
        (lambda: OpenAIEmbedder("nomic", api_key="k"), "dimensions="),
        (lambda: CohereEmbedder(dimensions=100, api_key="k"), "1536 or 256"),
        (lambda: CohereEmbedder("other", api_key="k"), "dimensions="),
        (lambda: BedrockEmbedder("cohere.command", region="eu-west-1"), "does not know"),
        (lambda: BedrockEmbedder(dimensions=384, region="eu-west-1"), "1024 or 512 or 256"),
        (lambda: OpenAIEmbedder(api_key="k", concurrency=0), "concurrency"),
        (lambda: OpenAIEmbedder(api_key="k", too_long="cut"), "too_long"),  # type: ignore[arg-type]
        (lambda: OpenAIEmbedder(), "OPENAI_API_KEY"),
        (lambda: CohereEmbedder(), "CO_API_KEY"),
    ]
    for make, told in wrong:
        with pytest.raises(ConfigurationError, match=told):
            make()


@every_api
async def test_nobody_asks_a_real_vendor_by_accident(api: Api) -> None:
    async with api.make("https://vendor.example") as embedder:
        with pytest.raises(ConfigurationError, match="real model"):
            await embedder.embed(["one"])


# ── answers ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("api", [OPENAI, COHERE, BEDROCK_COHERE], ids=lambda api: api.name)
async def test_vectors_come_as_numbers_or_in_base64(api: Api) -> None:
    numbers = [vector("a"), vector("b")]
    scripts = [says(api.answer(numbers)), says(api.answer([packed(each) for each in numbers]))]
    async with ScriptedServer(scripts) as server, api.make(server.url) as embedder:
        assert await embedder.embed(["a", "b"]) == await embedder.embed(["a", "b"])


async def test_an_older_cohere_in_bedrock_answers_with_one_type() -> None:
    async with (
        ScriptedServer([says({"embeddings": [vector("a")]})]) as server,
        BEDROCK_COHERE.make(server.url) as embedder,
    ):
        [embedding] = await embedder.embed(["a"])
    assert embedding.vector.tolist() == pytest.approx(vector("a"), abs=1e-6)


ZERO, NAN = [0.0] * 256, base64.b64encode(b"\x00\x00\xc0\x7f" * 256).decode()


@every_api
@pytest.mark.parametrize("bad", [ZERO, NAN, "%%%", ["x"] * 256, None, 7, {}], ids=str)
async def test_what_is_no_vector_is_an_error_by_name(api: Api, bad: Any) -> None:
    async with (
        ScriptedServer([says(api.answer([bad]))]) as server,
        api.make(server.url, retry=None) as embedder,
    ):
        with pytest.raises((Unavailable, ConfigurationError)):
            await embedder.embed(["a"])


@every_api
@pytest.mark.parametrize("answer", [{}, {"data": 7}, {"embeddings": [], "data": []}, {"data": [{}]}], ids=str)
async def test_an_answer_of_another_form_is_unavailable(api: Api, answer: Any) -> None:
    async with ScriptedServer([says(answer)]) as server, api.make(server.url, retry=None) as embedder:
        with pytest.raises(Unavailable):
            await embedder.embed(["a"])


@pytest.mark.parametrize("api", [OPENAI, COHERE, BEDROCK_COHERE], ids=lambda api: api.name)
@pytest.mark.parametrize("count", [0, 1, 3])
async def test_more_or_fewer_vectors_than_texts_are_an_error(api: Api, count: int) -> None:
    answer = says(api.answer([vector("a")] * count))
    async with ScriptedServer([answer]) as server, api.make(server.url, retry=None) as embedder:
        with pytest.raises(Unavailable, match=f"asked for 2 vectors and answered with {count}"):
            await embedder.embed(["a", "b"])


async def test_an_index_that_comes_twice_is_an_error() -> None:
    answer = OPENAI.answer([vector("a"), vector("b")])
    for each in answer["data"]:
        each["index"] = 0
    async with ScriptedServer([says(answer)]) as server, OPENAI.make(server.url, retry=None) as embedder:
        with pytest.raises(Unavailable, match="not of the form"):
            await embedder.embed(["a", "b"])


@every_api
async def test_vectors_of_another_size_are_told_and_not_asked_for_again(api: Api) -> None:
    async with ScriptedServer([says(api.answer([[1.0] * 8]))]) as server, api.make(server.url) as embedder:
        with pytest.raises(ConfigurationError, match="vectors of 8 dimensions"):
            await embedder.embed(["a"])
    assert len(server.seen) == 1


@every_api
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (408, TimedOut),
        (429, RateLimited),
        (500, Unavailable),
        (503, Overloaded),
    ],
)
async def test_a_vendor_s_errors_have_the_names_that_providers_use(
    api: Api, status: int, kind: type[ProviderError]
) -> None:
    answer = says({"message": "because"}, status)
    async with ScriptedServer([answer]) as server, api.make(server.url, retry=None) as embedder:
        with pytest.raises(kind, match="because") as caught:
            await embedder.embed(["a"])
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.provider) == (status, api.name.partition("-")[0])


# ── long and empty texts ────────────────────────────────────────────────────────────────────────


@every_api
@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["a", ""], r"texts\[1\] is empty"),
        ([" \n"], r"texts\[0\] is empty"),
        (["a", 7], r"texts\[1\] is no text but int"),
        ("one text", "a list of texts"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_and_nothing_asked(api: Api, texts: Any, told: str) -> None:
    async with ScriptedServer([api.serves]) as server, api.make(server.url) as embedder:
        with pytest.raises(InputInvalid, match=told):
            await embedder.embed(texts)
        with pytest.raises(InputInvalid, match="purpose"):
            await embedder.embed(["a"], purpose="storage")  # type: ignore[arg-type]
    assert server.seen == []


async def test_a_text_over_a_limit_of_characters_is_refused_by_its_place() -> None:
    async with ScriptedServer([TITAN.serves]) as server, TITAN.make(server.url) as embedder:
        with pytest.raises(ContextWindowExceeded, match=r"texts\[1\] has 50001 characters.*too_long='split'"):
            await embedder.embed(["a", "b" * 50_001])
    assert server.seen == []


@pytest.mark.parametrize(
    "told",
    [
        "This model's maximum context length is 8192 tokens, however you requested 9000 tokens",
        "Invalid 'input[0]': maximum input length is 8192 tokens.",
        "400 Bad Request: Too many input tokens. Max input tokens: 8192, request input token count: 9000",
    ],
)
@every_api
async def test_a_text_over_a_limit_of_tokens_is_the_vendor_s_to_refuse(api: Api, told: str) -> None:
    async with ScriptedServer([says({"message": told}, 400)]) as server, api.make(server.url) as embedder:
        with pytest.raises(ContextWindowExceeded) as caught:
            await embedder.embed(["word " * 5000])
    assert "the longest text of the request has 25000 characters" in caught.value.__notes__[0]
    assert len(server.seen) == 1


@every_api
async def test_a_long_text_is_embedded_in_pieces_if_so_wished(api: Api) -> None:
    cats, dogs = "Cats purr softly. " * 12_000, "Dogs bark. " * 6_000
    async with ScriptedServer([api.serves]) as server, api.make(server.url, too_long="split") as embedder:
        one, long, other = await embedder.embed(["Cats purr.", cats + dogs, "Bananas grow."])
        pieces = [text for each in server.seen for text in api.texts(each.body)]
        assert "".join(text for text in pieces if "Cats p" in text)
    assert math.hypot(*long.vector) == pytest.approx(1, abs=1e-5)
    assert cosine(long.vector, one.vector) > 0.3 > cosine(long.vector, other.vector)
    assert all(text.strip().endswith((".", "softly")) for text in pieces), "texts are cut between sentences"
    assert sorted("".join(pieces)) == sorted("Cats purr." + cats + dogs + "Bananas grow.")


async def test_pieces_count_by_their_length() -> None:
    async with OPENAI.make("http://127.0.0.1:9") as embedder:
        made = [embedder._embedding([*pair, *[0.0] * 254]) for pair in ([2.0, 0.0], [0.0, 1.0], [-1.0, 0.0])]
    x, y, minus_x = made
    assert average([("aaa", x), ("a", y)]).vector[:2].tolist() == pytest.approx([3 / 10**0.5, 1 / 10**0.5])
    assert average([("aa", x), ("aa", minus_x)]) == x, "what has no average is what its longest piece is"
    assert average([("aa", y)]) is y


# ── usage ───────────────────────────────────────────────────────────────────────────────────────


@every_api
async def test_what_was_used_is_told_to_who_counts(api: Api) -> None:
    told: list[EmbeddingUsage] = []
    outer: list[EmbeddingUsage] = []
    async with ScriptedServer([api.serves]) as server, api.make(server.url) as embedder:
        with metered(outer.append), metered(told.append):
            await embedder.embed(["a"])
        await embedder.embed(["a"])
    assert told == outer == [EmbeddingUsage(embedder.name, embedder.model, 1, Usage(7))]


@every_api
async def test_an_attempt_of_unknown_cost_is_told_and_one_that_was_declined_is_not(api: Api) -> None:
    told: list[EmbeddingUsage] = []
    scripts = [breaks, says({"message": "busy"}, 429), says(api.answer([vector("a")]))]
    async with ScriptedServer(scripts) as server, api.make(server.url, retry=QUICK) as embedder:
        with metered(told.append):
            await embedder.embed(["a"])
    assert len(server.seen) == 3
    assert told[0].usage is None
    assert len(told) == 2


async def test_a_meter_that_fails_costs_no_vectors(caplog: pytest.LogCaptureFixture) -> None:
    def fails(used: EmbeddingUsage) -> None:
        raise RuntimeError("cannot count")

    async with ScriptedServer([OPENAI.serves]) as server, OPENAI.make(server.url) as embedder:
        with metered(fails):
            assert len(await embedder.embed(["a"])) == 1
    assert "a meter of embedding usage failed" in caplog.text


async def test_a_vendor_that_does_not_count_leaves_usage_unknown() -> None:
    told: list[EmbeddingUsage] = []
    for api in (OPENAI, COHERE):
        answer = json.loads(json.dumps(api.answer([vector("a")])))
        answer.pop("usage", None)
        answer.pop("meta", None)
        async with ScriptedServer([says(answer)]) as server, api.make(server.url) as embedder:
            with metered(told.append):
                await embedder.embed(["a"])
    assert [each.usage for each in told] == [None, None]


def test_an_embedder_says_what_is_short_enough_for_it() -> None:
    for embedder in (OpenAIEmbedder(api_key="k"), CohereEmbedder(api_key="k")):
        assert isinstance(embedder, MeasuringEmbedder)
        assert embedder.fits("a few words")
        assert not embedder.fits("word " * 200_000)
