"""Embedding models in Amazon Bedrock, Amazon's and Cohere's, through InvokeModel
(https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ..errors import ConfigurationError
from ..retry import RetryPolicy
from ..vendors.bedrock import bedrock_transport
from ..vendors.http_client import ApiKey, Reply
from . import cohere_wire
from .base import Purpose
from .remote import RETRY, RemoteEmbedder, Vector, dimensions_of
from .texts import Limits, TooLong

__all__ = ["BedrockEmbedder"]


@dataclass(frozen=True, slots=True)
class _Model:
    """The dimensions of a model, its own first, and its limits."""

    dimensions: Sequence[int]
    limits: Limits


_COHERE_V3 = _Model((1024,), Limits(texts=cohere_wire.TEXTS, tokens_each=512, characters_each=2048))

_MODELS: Mapping[str, _Model] = {
    "amazon.titan-embed-text-v2": _Model(
        (1024, 512, 256), Limits(texts=1, tokens_each=8192, characters_each=50_000)
    ),
    "cohere.embed-english-v3": _COHERE_V3,
    "cohere.embed-multilingual-v3": _COHERE_V3,
    "cohere.embed-v4": _Model(
        (1536, 256, 512, 1024), Limits(texts=cohere_wire.TEXTS, tokens=128_000, tokens_each=128_000)
    ),
}


class BedrockEmbedder(RemoteEmbedder):
    """Vectors from Titan Text Embeddings V2 and Cohere Embed in Amazon Bedrock
    (`pip install 'agentfootprint[bedrock]'`). Cohere's models tell documents and queries apart, Titan does
    not; Titan takes one text a request.

    The fingerprint names the model without region and version: an inference profile makes the same vectors.

    Args:
        model: a model id or inference profile of a known model, such as `"us.cohere.embed-v4:0"`.
        dimensions: default: the model's own; of Titan also 512 and 256, of `cohere.embed-v4` 256, 512 and
            1024.
        region: default AWS_REGION, AWS_DEFAULT_REGION or the profile's.
        endpoint_url: another server of the same API; default AWS_ENDPOINT_URL_BEDROCK_RUNTIME,
            AWS_ENDPOINT_URL or the region's. One on this machine needs neither region nor credentials.
        client: a boto3 client of `bedrock-runtime` of one's own, which then makes the calls, in threads. Make
            it with `Config(retries={"total_max_attempts": 1})`, so that `retry` sees every attempt. A call
            that is cancelled leaves its thread waiting.
        api_key: a Bedrock API key, or a (possibly async) function that gives it for each request; default
            AWS_BEARER_TOKEN_BEDROCK. With one nothing is signed.
        retry: for each request alone; None: one attempt.
        too_long: "refuse" a text over the model's limit, or "split" it from an upper estimate on: its pieces
            are embedded, and their average, weighted by length, stands for it.
        concurrency: requests at once.
        name: shown in errors and part of the fingerprint.

    Raises:
        MissingExtra, ConfigurationError: boto3 is not installed; no region is known; the model is not known,
            or not with these dimensions.
        Unauthorized (when asked): no credentials were found.
    """

    def __init__(
        self,
        model: str = "amazon.titan-embed-text-v2:0",
        *,
        dimensions: int | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        client: Any = None,
        api_key: ApiKey | None = None,
        retry: RetryPolicy | None = RETRY,
        too_long: TooLong = "refuse",
        concurrency: int = 8,
        name: str = "bedrock",
    ) -> None:
        space = next((known for known in _MODELS if known in model), None)
        if space is None:
            raise ConfigurationError(
                f"BedrockEmbedder does not know {model!r}: it knows {', '.join(_MODELS)}, also as "
                "inference profiles"
            )
        known = _MODELS[space]
        size = dimensions_of("BedrockEmbedder", model, dimensions, known.dimensions)
        asked = size if len(known.dimensions) > 1 else None
        kind = _TitanWire if space.startswith("amazon.") else _CohereWire
        transport = bedrock_transport(
            "BedrockEmbedder",
            name,
            model,
            region=region,
            endpoint_url=endpoint_url,
            client=client,
            api_key=api_key,
        )
        super().__init__(
            name,
            model,
            size,
            kind(f"/model/{quote(model, safe='')}/invoke", known.limits, asked),
            transport,
            retry=retry,
            too_long=too_long,
            concurrency=concurrency,
            space=space,
        )


class _Wire:
    def __init__(self, path: str, limits: Limits, dimensions: int | None) -> None:
        self.path = path
        self.limits = limits
        self._dimensions = dimensions


class _TitanWire(_Wire):
    def body(self, texts: Sequence[str], purpose: Purpose) -> Mapping[str, Any]:
        (text,) = texts
        return {"inputText": text, "dimensions": self._dimensions, "normalize": True}

    def vectors(self, data: Mapping[str, Any]) -> Sequence[Vector]:
        return [data["embedding"]]

    def tokens(self, reply: Reply) -> int | None:
        found = reply.data.get("inputTextTokenCount")
        return found if isinstance(found, int) else None


class _CohereWire(_Wire):
    def body(self, texts: Sequence[str], purpose: Purpose) -> Mapping[str, Any]:
        return cohere_wire.asked(texts, purpose, self._dimensions)

    def vectors(self, data: Mapping[str, Any]) -> Sequence[Vector]:
        return cohere_wire.vectors(data)

    def tokens(self, reply: Reply) -> int | None:
        found = reply.headers.get("x-amzn-bedrock-input-token-count", "")
        return int(found) if found.isdecimal() and found.isascii() else None
