"""Each vendor's embeddings API as a server of this machine answers it."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from agentfootprint.embedders import BedrockEmbedder, CohereEmbedder, Embedding, MockEmbedder, OpenAIEmbedder
from agentfootprint.embedders.remote import RemoteEmbedder
from agentfootprint.retry import RetryPolicy
from tests.providers.dialects import KEY
from tests.providers.server import Exchange, Script, says

MOCK = MockEmbedder(256)

QUICK = RetryPolicy(max_attempts=3, initial_delay=0.001)


def cosine(one: Any, other: Any) -> float:
    product: float = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.hypot(*one) / math.hypot(*other)


def vector(text: str) -> list[float]:
    return MOCK._vector(text)


@dataclass(frozen=True)
class Api:
    """`make` gives an embedder of 256 dimensions for a server; `answer` is what the API says to vectors."""

    name: str
    make: Callable[..., RemoteEmbedder]
    answer: Callable[[Sequence[Any]], Any]
    texts: Callable[[Mapping[str, Any]], list[str]]
    path: str
    most: int
    headers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def serves(self) -> Script:
        """Answers each text with the vector that the mock makes of it."""

        async def script(exchange: Exchange) -> None:
            answer = self.answer([vector(text) for text in self.texts(exchange.body)])
            await says(answer, **self.headers)(exchange)

        return script


def packed(numbers: Sequence[float]) -> str:
    return base64.b64encode(Embedding.of(numbers, f"x@{len(numbers)}").data).decode()


def openai_answer(vectors: Sequence[Any]) -> Any:
    # The last one first: the API promises an index, not an order.
    data = [{"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(vectors)]
    return {"object": "list", "data": data[::-1], "model": "m", "usage": {"prompt_tokens": 7}}


def cohere_answer(vectors: Sequence[Any]) -> Any:
    meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 7}}
    return {"id": "x", "embeddings": {"float": list(vectors)}, "texts": [], "meta": meta}


def titan_answer(vectors: Sequence[Any]) -> Any:
    return {"embedding": vectors[0] if vectors else [], "inputTextTokenCount": 7}


def bedrock(model: str, url: str, **more: Any) -> BedrockEmbedder:
    given = {"dimensions": 256, "api_key": KEY, "endpoint_url": url, "region": "eu-west-1", **more}
    return BedrockEmbedder(model, **given)


OPENAI = Api(
    "openai",
    lambda url, **more: OpenAIEmbedder(
        **{"dimensions": 256, "api_key": KEY, "base_url": f"{url}/v1", **more}
    ),
    openai_answer,
    lambda body: list(body["input"]),
    "/v1/embeddings",
    2048,
)

COHERE = Api(
    "cohere",
    lambda url, **more: CohereEmbedder(**{"dimensions": 256, "api_key": KEY, "base_url": url, **more}),
    cohere_answer,
    lambda body: list(body["texts"]),
    "/v2/embed",
    96,
)

TITAN = Api(
    "bedrock-titan",
    lambda url, **more: bedrock("amazon.titan-embed-text-v2:0", url, **more),
    titan_answer,
    lambda body: [body["inputText"]],
    "/model/amazon.titan-embed-text-v2%3A0/invoke",
    1,
)

BEDROCK_COHERE = Api(
    "bedrock-cohere",
    lambda url, **more: bedrock("us.cohere.embed-v4:0", url, **more),
    lambda vectors: {"embeddings": {"float": list(vectors)}, "response_type": "embeddings_by_type"},
    lambda body: list(body["texts"]),
    "/model/us.cohere.embed-v4%3A0/invoke",
    96,
    {"x_amzn_bedrock_input_token_count": "7"},
)

APIS = (OPENAI, COHERE, TITAN, BEDROCK_COHERE)

every_api = pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
