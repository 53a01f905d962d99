"""Anthropic's models, through the vendor's SDK or over plain HTTP: one codec, two transports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra
from ..messages import LLMRequest
from ..vendors.http_client import ApiKey, HTTPClient, key_of
from .anthropic_wire import AnthropicWire
from .base import Capability
from .wire import Transport, WireProvider

if TYPE_CHECKING:
    import anthropic
    import httpx2

__all__ = ["AnthropicProvider", "HTTPAnthropicProvider"]

BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
VARIABLE = "ANTHROPIC_API_KEY"


class _Anthropic(WireProvider):
    capabilities: frozenset[Capability] = frozenset(
        (
            "tools",
            "images",
            "documents",
            "structured_output",
            "reasoning",
            "prompt_cache",
            "token_counting",
        )
    )

    _wire: AnthropicWire

    async def count_tokens(self, request: LLMRequest) -> int:
        """The input tokens of a request, counted by the vendor; nothing is generated or charged."""
        body = self._wire.counted(request, self.model)
        return await self._counted("/v1/messages/count_tokens", body)


class HTTPAnthropicProvider(_Anthropic):
    """Anthropic's Messages API over HTTP, without the vendor's SDK (`pip install 'agentfootprint[http]'`).

    Args:
        model: such as `"claude-sonnet-4-5"`.
        api_key: the key, or a (possibly async) function that gives it for each request; default: the
            environment's ANTHROPIC_API_KEY.
        base_url: another server of the same API; default ANTHROPIC_BASE_URL or the vendor's.
        client: an `httpx2.AsyncClient` of one's own, which is then left open.
        max_tokens: asked for when the request does not limit the answer; the API wants a number.
        cache: mark prompts for the vendor's cache.
        extra_body: joins every request, such as `{"thinking": {"type": "enabled", "budget_tokens": 2000}}`.
        name: shown in events and errors.

    Raises:
        MissingExtra, ConfigurationError: httpx2 is not installed; there is no key.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        client: httpx2.AsyncClient | None = None,
        max_tokens: int = 4096,
        cache: bool = True,
        extra_body: Mapping[str, Any] | None = None,
        name: str = "anthropic",
    ) -> None:
        key = key_of(api_key, VARIABLE, type(self).__name__)
        url = base_url or os.environ.get("ANTHROPIC_BASE_URL") or BASE_URL
        transport = HTTPClient(name, url, _headers, key, client)
        super().__init__(name, model, AnthropicWire(name, max_tokens, cache, extra_body), transport)


class AnthropicProvider(_Anthropic):
    """Anthropic's Messages API through the vendor's SDK (`pip install 'agentfootprint[anthropic]'`).

    The SDK brings its ways to authenticate; its own retries are off, so that `with_retry` sees every
    attempt. `client` is an `anthropic.AsyncAnthropic` of one's own; the rest is as in
    `HTTPAnthropicProvider`.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        client: anthropic.AsyncAnthropic | None = None,
        max_tokens: int = 4096,
        cache: bool = True,
        extra_body: Mapping[str, Any] | None = None,
        name: str = "anthropic",
    ) -> None:
        try:
            import anthropic
        except ImportError:
            raise MissingExtra("AnthropicProvider", "anthropic") from None
        from .sdk import SDKTransport

        url = base_url or os.environ.get("ANTHROPIC_BASE_URL") or BASE_URL
        key = None if client is not None else key_of(api_key, VARIABLE, "AnthropicProvider")

        def make() -> anthropic.AsyncAnthropic:
            return anthropic.AsyncAnthropic(api_key="set with each request", base_url=url, max_retries=0)

        transport: Transport = SDKTransport(name, url, make, key, client)
        super().__init__(name, model, AnthropicWire(name, max_tokens, cache, extra_body), transport)


def _headers(secret: str) -> Mapping[str, str]:
    return {"x-api-key": secret, "anthropic-version": VERSION, "content-type": "application/json"}
