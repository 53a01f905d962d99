"""How Amazon Bedrock is reached: over signed HTTP, with a key, or through a boto3 client."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, MissingExtra
from .guard import is_local
from .http_client import ApiKey, Framing, HTTPClient, Secret

if TYPE_CHECKING:
    from .aws import BotoTransport, Signature

__all__ = ["bedrock_transport"]

TOKEN = "AWS_BEARER_TOKEN_BEDROCK"
ENDPOINTS = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL")


def bedrock_transport(
    what: str,
    name: str,
    model: str,
    *,
    region: str | None,
    endpoint_url: str | None,
    client: Any,
    api_key: ApiKey | None,
) -> HTTPClient | BotoTransport:
    """What carries requests for a model; `what` says in errors who needs it.

    Raises:
        MissingExtra, ConfigurationError: boto3 is not installed; no region is known.
    """
    try:
        from . import aws
    except ImportError:
        raise MissingExtra(what, "bedrock") from None
    if client is not None:
        return aws.BotoTransport(name, model, client)
    key = api_key if api_key is not None else os.environ.get(TOKEN)
    url, signature = _place(what, region, endpoint_url, signed=not key)
    framing = Framing("application/vnd.amazon.eventstream", aws.EventStream)
    return HTTPClient(name, url, _headers, key, None, "", framing, signature)


def _place(
    what: str, region: str | None, endpoint_url: str | None, *, signed: bool
) -> tuple[str, Signature | None]:
    """The address of the API, and what signs requests to it."""
    from . import aws

    url = endpoint_url or next((found for name in ENDPOINTS if (found := os.environ.get(name))), None)
    own = url is not None and is_local(url)
    region = (
        region or os.environ.get("AWS_REGION") or aws.configured_region() or ("us-east-1" if own else None)
    )
    if region is None:
        raise ConfigurationError(f"{what} needs a region: pass region= or set AWS_REGION, such as us-east-1")
    if url is None:
        url = aws.endpoint(region)
    # Where nothing need be signed no credentials are looked for: a machine's role is asked for by network.
    names = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE")
    if not signed or (own and not any(os.environ.get(name) for name in names)):
        return url, None
    return url, aws.Signature(region)


def _headers(secret: str) -> Mapping[str, str]:
    headers = {"content-type": "application/json"}
    return {**headers, "authorization": Secret(f"Bearer {secret}")} if secret else headers
