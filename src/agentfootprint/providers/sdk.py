"""A vendor's SDK as a transport: its authentication and address, our reading of what comes back.

Anthropic's and OpenAI's SDKs are made alike. Both take a stream that was cut off for a whole answer and let
the HTTP library's errors through, so the raw response is read here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from ..errors import ProviderError, Unauthorized, Unavailable
from ..flow.codec import mended
from ..loops import PerLoop
from ..vendors.failures import failure_of
from ..vendors.guard import check_call
from ..vendors.http_client import (
    ApiKey,
    Reply,
    Secret,
    alone,
    answered,
    broken,
    events_of,
    hidden,
    keeping,
    secret_of,
)

__all__ = ["SDKTransport"]

_RAW = {"X-Stainless-Raw-Response": "stream"}


class SDKTransport:
    """Posts through an SDK's client, one for each event loop; a given client is used as it is.

    `make` builds a client; each request brings its own key.
    """

    def __init__(
        self,
        provider: str,
        base_url: str,
        make: Callable[[], Any],
        api_key: ApiKey | None,
        client: Any = None,
        hint: str = "",
    ) -> None:
        self.provider = provider
        self.base_url = base_url if client is None else str(client.base_url)
        self._key = api_key
        self._given = client
        self._hint = hint
        self._clients: PerLoop[Any] = PerLoop(make, lambda each: each.close())

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        async with self._sent(path, body) as (response, secret):
            return await answered(self.provider, self.base_url, response, secret)

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        async with self._sent(path, body) as (response, secret):
            events = events_of(self.provider, self.base_url, response, secret)
            try:
                async for event in events:
                    yield event, response.headers
            finally:
                await events.aclose()

    @asynccontextmanager
    async def _sent(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[tuple[Any, str], None]:
        check_call(self.base_url)
        secret = Secret() if self._key is None else await secret_of(self._key)
        headers = _RAW | keeping(self.base_url)
        if self._given is not None:
            client = self._given
            if isinstance(own := getattr(client, "api_key", None), str):
                secret = Secret(own)
        else:
            client = self._clients.get()
            headers |= _signed(client, secret)
        raw = await alone(_post(client, path, body, headers), self._failed_with(secret))
        response = getattr(raw, "http_response", raw)
        try:
            yield response, secret
        finally:
            await response.aclose()

    @property
    def account(self) -> Hashable:
        return self._key if self._given is None else id(self._given)

    async def aclose(self) -> None:
        """Closes the client of the running loop; those of others are closed as their loops end, and one that
        was given stays open."""
        await self._clients.aclose()

    def _failed_with(self, secret: str) -> Callable[[Exception], ProviderError]:
        return lambda error: self._failed(error, secret)

    def _failed(self, error: Exception, secret: str) -> ProviderError:
        response = getattr(error, "response", None)
        if response is not None:
            content = getattr(response, "_content", b"") or json.dumps(getattr(error, "body", None)).encode()
            return failure_of(self.provider, response.status_code, response.headers, hidden(content, secret))
        cause = error.__cause__ or error
        if isinstance(cause, Exception) and type(cause).__module__.startswith(("httpx", "httpcore")):
            return broken(self.provider, self.base_url, cause, begun=False, hint=self._hint)
        if isinstance(error, TypeError) and "auth" in str(error).lower():
            return Unauthorized(f"{self.provider}: the SDK found no key", provider=self.provider)
        return Unavailable(
            f"{self.provider}: the SDK failed ({type(error).__name__})", provider=self.provider
        )


def _signed(client: Any, secret: str) -> dict[str, str]:
    """The headers by which the SDK shows a key. They go along with the one request: the SDK waits before it
    reads the client's own key, and another request may have set another one by then."""
    client.api_key = secret
    return {name: Secret(each) for name, each in client.auth_headers.items() if isinstance(each, str)}


async def _post(client: Any, path: str, body: Mapping[str, Any], headers: dict[str, str]) -> Any:
    import httpx2

    options = {"headers": headers, "timeout": 600}
    try:
        return await client.post(path, cast_to=httpx2.Response, body=dict(body), options=options)
    except UnicodeEncodeError:
        # Halves of characters, which users and models do write, have no UTF-8 form.
        body = json.loads(mended(json.dumps(body, ensure_ascii=False)))
    return await client.post(path, cast_to=httpx2.Response, body=body, options=options)
