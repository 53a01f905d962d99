"""OpenAI's embedding models, and those of every server that speaks the same API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..retry import RetryPolicy
from ..vendors.http_client import ApiKey, HTTPClient, Reply
from ..vendors.openai import headers, hint, server
from .base import Purpose
from .remote import RETRY, RemoteEmbedder, Vector, dimensions_of
from .texts import Limits, TooLong

if TYPE_CHECKING:
    import httpx2

__all__ = ["OpenAIEmbedder"]

# The dimensions of a model, its own first; a range: it was trained so that vectors can be cut short.
_MODELS: Mapping[str, Sequence[int] | range] = {
    "text-embedding-3-small": range(1536, 0, -1),
    "text-embedding-3-large": range(3072, 0, -1),
    "text-embedding-ada-002": (1536,),
}

TEXTS, TOKENS, TOKENS_EACH = 2048, 300_000, 8192
"""The limits of a request (https://platform.openai.com/docs/api-reference/embeddings/create)."""


class OpenAIEmbedder(RemoteEmbedder):
    """Vectors from OpenAI's embeddings API, or from another server of the same, such as Ollama, vLLM or
    llama.cpp (`pip install 'agentfootprint[http]'`). The API knows no purpose: both get the same vectors.

    Args:
        dimensions: default: the model's own. Models of the third generation make shorter vectors too; for a
            model that is not OpenAI's say how many its vectors have.
        api_key: the key, or a (possibly async) function that gives it for each request; default: the
            environment's OPENAI_API_KEY. A server on this machine needs none.
        base_url: default OPENAI_BASE_URL or the vendor's.
        client: an `httpx2.AsyncClient` of one's own, which is then left open.
        retry: for each request alone; None: one attempt.
        too_long: "refuse" a text over the model's limit, or "split" it: its pieces are embedded, and their
            average, weighted by length, stands for it.
        max_tokens: what the model reads of one text, for "split"; there is no tokenizer here, so that texts
            are split from an upper estimate on. Default 8192, OpenAI's.
        concurrency: requests at once.
        extra_body: joins every request.
        name: shown in errors and part of the fingerprint. Models of the same name on different servers need
            different ones, or their vectors are taken for each other's.

    Raises:
        MissingExtra, ConfigurationError: httpx2 is not installed; there is no key; the dimensions are unknown
            or none of the model's.
    """

    def __init__(
        self,
        model: str = "text-embedding-3-small",
        *,
        dimensions: int | None = None,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        client: httpx2.AsyncClient | None = None,
        retry: RetryPolicy | None = RETRY,
        too_long: TooLong = "refuse",
        max_tokens: int = TOKENS_EACH,
        concurrency: int = 4,
        extra_body: Mapping[str, Any] | None = None,
        name: str = "openai",
    ) -> None:
        known = _MODELS.get(model)
        if known is None and dimensions is None:
            raise ConfigurationError(
                f"OpenAIEmbedder does not know {model!r}: say with dimensions= how many its vectors have"
            )
        size = dimensions_of("OpenAIEmbedder", model, dimensions, known or (dimensions or 0,))
        asked = size if isinstance(known, range) and size != known[0] else None
        url, key = server(base_url, api_key, "OpenAIEmbedder")
        transport = HTTPClient(name, url, headers, key, client, hint(url))
        super().__init__(
            name,
            model,
            size,
            _OpenAIWire(model, asked, max_tokens, extra_body),
            transport,
            retry=retry,
            too_long=too_long,
            concurrency=concurrency,
        )


class _OpenAIWire:
    path = "/embeddings"

    def __init__(
        self, model: str, dimensions: int | None, max_tokens: int, extra: Mapping[str, Any] | None
    ) -> None:
        self.limits = Limits(texts=TEXTS, tokens=TOKENS, tokens_each=max_tokens)
        # A quarter of what the numbers take as text, and nothing is lost in writing them.
        self._fields: dict[str, Any] = {"model": model, "encoding_format": "base64"}
        if dimensions is not None:
            self._fields["dimensions"] = dimensions
        self._fields |= extra or {}

    def body(self, texts: Sequence[str], purpose: Purpose) -> Mapping[str, Any]:
        return {**self._fields, "input": list(texts)}

    def vectors(self, data: Mapping[str, Any]) -> Sequence[Vector]:
        found = {each.get("index", at): each["embedding"] for at, each in enumerate(data["data"])}
        return [found[at] for at in range(len(data["data"]))]

    def tokens(self, reply: Reply) -> int | None:
        usage = reply.data.get("usage")
        found = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return found if isinstance(found, int) else None
