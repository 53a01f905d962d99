"""OpenAI's models, and every server that speaks one of its APIs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from ..errors import ConfigurationError, MissingExtra
from ..messages import LLMRequest
from ..vendors.http_client import ApiKey, HTTPClient
from ..vendors.openai import headers, hint, is_vendors_own, server
from .base import Capability
from .openai_chat import ChatWire
from .openai_parts import VENDOR
from .openai_responses import ResponsesWire
from .wire import Transport, WireProvider

if TYPE_CHECKING:
    import httpx2
    import openai

__all__ = ["HTTPOpenAIProvider", "OpenAIProvider"]

Api: TypeAlias = Literal["responses", "chat"]

_COMMON: frozenset[Capability] = frozenset(("tools", "images", "documents", "structured_output"))


class _OpenAI(WireProvider):
    _wire: ResponsesWire | ChatWire

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        if isinstance(self._wire, ChatWire):
            return _COMMON
        return _COMMON | {"reasoning", "prompt_cache", "token_counting"}

    def __init__(self, name: str, model: str, wire: ResponsesWire | ChatWire, transport: Transport) -> None:
        super().__init__(name, model, wire, transport)
        if isinstance(wire, ResponsesWire):
            # An ability is there or it is not: only over Responses is this a `CountsTokens`.
            vars(self)["count_tokens"] = partial(self._count, wire)

    async def _count(self, wire: ResponsesWire, request: LLMRequest) -> int:
        return await self._counted("/responses/input_tokens", wire.counted(request, self.model))


class HTTPOpenAIProvider(_OpenAI):
    """OpenAI's APIs over HTTP, without the vendor's SDK (`pip install 'agentfootprint[http]'`).

    Over Responses it is a `CountsTokens` too; Chat Completions cannot count.

    Args:
        model: such as `"gpt-5.1"`, or what the server at `base_url` calls its model.
        api: `"responses"` or `"chat"`; default: responses, and chat when `base_url` is another server's,
            such as Ollama's, vLLM's, llama.cpp's, Groq's or OpenRouter's.
        api_key: the key, or a (possibly async) function that gives it for each request; default: the
            environment's OPENAI_API_KEY. A server on this machine needs none.
        base_url: default OPENAI_BASE_URL or the vendor's.
        client: an `httpx2.AsyncClient` of one's own, which is then left open.
        extra_body: joins every request, such as `{"reasoning": {"effort": "low"}}`.
        name: shown in events and errors; default `"openai"`.

    Raises:
        MissingExtra, ConfigurationError: httpx2 is not installed; there is no key.
    """

    def __init__(
        self,
        model: str,
        *,
        api: Api | None = None,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        client: httpx2.AsyncClient | None = None,
        extra_body: Mapping[str, Any] | None = None,
        name: str = "openai",
    ) -> None:
        url, key = server(base_url, api_key, "HTTPOpenAIProvider")
        transport = HTTPClient(name, url, headers, key, client, hint(url))
        super().__init__(name, model, _wire(api, url, name, extra_body), transport)


class OpenAIProvider(_OpenAI):
    """OpenAI's APIs through the vendor's SDK (`pip install 'agentfootprint[openai]'`).

    The SDK's own retries are off, so that `with_retry` sees every attempt. `client` is an
    `openai.AsyncOpenAI` of one's own; the rest is as in `HTTPOpenAIProvider`.
    """

    def __init__(
        self,
        model: str,
        *,
        api: Api | None = None,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        client: openai.AsyncOpenAI | None = None,
        extra_body: Mapping[str, Any] | None = None,
        name: str = "openai",
    ) -> None:
        try:
            import openai
        except ImportError:
            raise MissingExtra("OpenAIProvider", "openai") from None
        from .sdk import SDKTransport

        url, key = (
            (str(client.base_url), None)
            if client is not None
            else server(base_url, api_key, "OpenAIProvider")
        )

        def make() -> openai.AsyncOpenAI:
            return openai.AsyncOpenAI(api_key="set with each request", base_url=url, max_retries=0)

        transport: Transport = SDKTransport(name, url, make, key, client, hint(url))
        super().__init__(name, model, _wire(api, url, name, extra_body), transport)


def _wire(api: Api | None, url: str, name: str, extra: Mapping[str, Any] | None) -> ResponsesWire | ChatWire:
    vendors_own = is_vendors_own(url)
    # What one server encrypted or signed means nothing to another that speaks the same API.
    vendor = VENDOR if vendors_own else urlsplit(url).hostname or url
    if api is None:
        api = "responses" if vendors_own else "chat"
    if api == "responses":
        return ResponsesWire(name, extra, vendor)
    if api == "chat":
        return ChatWire(name, "max_completion_tokens" if vendors_own else "max_tokens", extra, vendor)
    raise ConfigurationError(f"api must be 'responses' or 'chat', not {api!r}")
