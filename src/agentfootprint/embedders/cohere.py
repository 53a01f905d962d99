"""Cohere's embedding models, over version 2 of its API (https://docs.cohere.com/reference/embed)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..retry import RetryPolicy
from ..vendors.guard import is_local
from ..vendors.http_client import ApiKey, HTTPClient, Reply, Secret, key_of
from . import cohere_wire
from .base import Purpose
from .remote import RETRY, RemoteEmbedder, Vector, dimensions_of
from .texts import Limits, TooLong

if TYPE_CHECKING:
    import httpx2

__all__ = ["CohereEmbedder"]

BASE_URL = "https://api.cohere.com"
VARIABLE = "CO_API_KEY"

# The dimensions of a model, its own first, and the tokens it reads of one text.
_MODELS: Mapping[str, tuple[Sequence[int], int]] = {
    "embed-v4.0": ((1536, 256, 512, 1024), 128_000),
    "embed-english-v3.0": ((1024,), 512),
    "embed-multilingual-v3.0": ((1024,), 512),
    "embed-english-light-v3.0": ((384,), 512),
    "embed-multilingual-light-v3.0": ((384,), 512),
}


class CohereEmbedder(RemoteEmbedder):
    """Vectors from Cohere (`pip install 'agentfootprint[http]'`). Documents and queries get different ones,
    made to be compared with each other.

    Args:
        dimensions: default: the model's own; of `embed-v4.0` also 256, 512 and 1024. For a model that is not
            known here say how many its vectors have.
        api_key: the key, or a (possibly async) function that gives it for each request; default: the
            environment's CO_API_KEY. A server on this machine needs none.
        base_url: default CO_API_URL or the vendor's.
        client: an `httpx2.AsyncClient` of one's own, which is then left open.
        retry: for each request alone; None: one attempt.
        too_long: "refuse" a text over the model's limit (nothing is cut off silently), or "split" it from an
            upper estimate on: its pieces are embedded, and their average, weighted by length, stands for it.
        concurrency: requests at once.
        name: shown in errors and part of the fingerprint.

    Raises:
        MissingExtra, ConfigurationError: httpx2 is not installed; there is no key; the dimensions are unknown
            or none of the model's.
    """

    def __init__(
        self,
        model: str = "embed-v4.0",
        *,
        dimensions: int | None = None,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        client: httpx2.AsyncClient | None = None,
        retry: RetryPolicy | None = RETRY,
        too_long: TooLong = "refuse",
        concurrency: int = 4,
        name: str = "cohere",
    ) -> None:
        known, tokens = _MODELS.get(model, ((), 512))
        if not known and dimensions is None:
            raise ConfigurationError(
                f"CohereEmbedder does not know {model!r}: say with dimensions= how many its vectors have"
            )
        size = dimensions_of("CohereEmbedder", model, dimensions, known or (dimensions or 0,))
        url = base_url or os.environ.get("CO_API_URL") or BASE_URL
        key: ApiKey = (
            os.environ.get(VARIABLE) or "none"
            if api_key is None and is_local(url)
            else key_of(api_key, VARIABLE, "CohereEmbedder")
        )
        super().__init__(
            name,
            model,
            size,
            _CohereWire(model, size if len(known) > 1 else None, tokens),
            HTTPClient(name, url, _headers, key, client),
            retry=retry,
            too_long=too_long,
            concurrency=concurrency,
        )


class _CohereWire:
    path = "/v2/embed"

    def __init__(self, model: str, dimensions: int | None, tokens: int) -> None:
        self.limits = Limits(texts=cohere_wire.TEXTS, tokens=128_000, tokens_each=tokens)
        self._model = model
        self._dimensions = dimensions

    def body(self, texts: Sequence[str], purpose: Purpose) -> Mapping[str, Any]:
        return {"model": self._model, **cohere_wire.asked(texts, purpose, self._dimensions)}

    def vectors(self, data: Mapping[str, Any]) -> Sequence[Vector]:
        return cohere_wire.vectors(data)

    def tokens(self, reply: Reply) -> int | None:
        found: Any = reply.data
        for name in ("meta", "billed_units", "input_tokens"):
            found = found.get(name) if isinstance(found, dict) else None
        # Written as a number with a fraction now and then.
        return int(found) if isinstance(found, (int, float)) else None


def _headers(secret: str) -> Mapping[str, str]:
    return {"authorization": Secret(f"Bearer {secret}"), "content-type": "application/json"}
