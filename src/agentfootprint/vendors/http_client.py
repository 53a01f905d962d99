"""HTTP to a vendor's server: one client for each event loop, every failure by its name."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

from ..errors import ConfigurationError, MissingExtra, ProviderError, StreamTruncated, TimedOut, Unavailable
from ..flow.codec import mended
from ..loops import PerLoop
from .failures import failure_in, failure_of
from .guard import check_call, is_local
from .parsing import parsed
from .sse import ServerSentEvent, ServerSentEvents

if TYPE_CHECKING:
    import ssl

    import httpx2

__all__ = [
    "ApiKey",
    "Framing",
    "HTTPClient",
    "Reply",
    "Secret",
    "alone",
    "answered",
    "broken",
    "events_of",
    "hidden",
    "keeping",
    "key_of",
    "secret_of",
]

T = TypeVar("T")

ApiKey: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A key, or a (possibly async) function that gives it for each request, so that it can be rotated."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 600.0

KEEP_SECONDS = 4.0
"""How long an idle connection is kept: many servers close theirs after five, and one that is closed just as
it is used again costs an attempt."""

EXPLANATION_SECONDS = 5.0
"""How long the body of an error is waited for."""


def keeping(base_url: str) -> dict[str, str]:
    """The headers that say whether the connection is kept. One to this machine costs nothing to make, and
    some of the servers there, llama.cpp's, close it after a stream without having said so."""
    return {"connection": "close"} if is_local(base_url) else {}


def key_of(given: ApiKey | None, variable: str, provider: str) -> ApiKey:
    """The key given, or the environment's.

    Raises:
        ConfigurationError: there is none; the message names the variable.
    """
    found = given if given is not None else os.environ.get(variable)
    if not found:
        raise ConfigurationError(
            f"{provider} needs a key: set {variable} in the environment, or pass api_key="
        )
    return found


@dataclass(frozen=True, slots=True)
class Reply:
    data: Any
    headers: Mapping[str, str]


class Reader(Protocol):
    """Takes a stream apart."""

    def feed(self, piece: bytes) -> Iterable[ServerSentEvent]:
        """The events that are whole with this piece. Raises when it is none of a stream."""
        ...


@dataclass(frozen=True, slots=True)
class Framing:
    """How events are told apart in a stream of this media type."""

    media_type: str
    reader: Callable[[], Reader]


SSE = Framing("text/event-stream", ServerSentEvents)


class HTTPClient:
    """Posts JSON to one server and reads JSON or a stream of events.

    A connection pool belongs to the event loop it was made in; each loop gets its own. `hint` is added to
    the message when nothing listens at the address; `auth` signs requests that a header alone cannot.
    """

    def __init__(
        self,
        provider: str,
        base_url: str,
        headers: Callable[[str], Mapping[str, str]],
        api_key: ApiKey | None,
        client: httpx2.AsyncClient | None = None,
        hint: str = "",
        framing: Framing = SSE,
        auth: httpx2.Auth | None = None,
    ) -> None:
        try:
            import httpx2
        except ImportError:
            raise MissingExtra(f"{provider} over plain HTTP", "http") from None
        self._framing = framing
        self._auth: Any = auth if auth is not None else httpx2.USE_CLIENT_DEFAULT
        self.provider = provider
        self.base_url = base_url.rstrip("/")
        self._headers = headers
        self._key = api_key
        self._given = client
        self._hint = hint
        self._clients = PerLoop(_client_for(httpx2, self.base_url), lambda each: each.aclose())

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """The JSON that the server answers with.

        Raises:
            ProviderError: of the kind that fits; a 200 that is no JSON object is `Unavailable`.
        """
        check_call(self.base_url)
        secret = await self._secret()
        response = await self._sent(path, body, self._headers(secret))
        try:
            return await answered(self.provider, self.base_url, response, secret)
        finally:
            await response.aclose()

    async def stream(
        self, path: str, body: Mapping[str, Any]
    ) -> AsyncGenerator[tuple[ServerSentEvent, Mapping[str, str]], None]:
        """The events of the server's answer, each with the response's headers. Closing the generator
        closes the connection."""
        check_call(self.base_url)
        secret = await self._secret()
        headers = {**self._headers(secret), "accept": self._framing.media_type}
        response = await self._sent(path, body, headers)
        events = events_of(self.provider, self.base_url, response, secret, self._framing)
        try:
            async for event in events:
                yield event, response.headers
        finally:
            await events.aclose()
            await response.aclose()

    async def _sent(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> httpx2.Response:
        """The head of the answer; whoever has it closes it."""
        client = self._client()
        headers = {**headers, **keeping(self.base_url)}
        request = client.build_request("POST", self.base_url + path, content=_bytes(body), headers=headers)
        return await alone(client.send(request, stream=True, auth=self._auth), self._broken)

    @property
    def account(self) -> Hashable:
        return self._key if self._given is None else id(self._given)

    async def aclose(self) -> None:
        """Closes the pool of the running loop; those of others are closed as their loops end."""
        await self._clients.aclose()

    def _client(self) -> httpx2.AsyncClient:
        return self._given if self._given is not None else self._clients.get()

    async def _secret(self) -> Secret:
        return Secret() if self._key is None else await secret_of(self._key)

    def _broken(self, error: Exception) -> ProviderError:
        return broken(self.provider, self.base_url, error, begun=False, hint=self._hint)


def _client_for(httpx: ModuleType, base_url: str) -> Callable[[], httpx2.AsyncClient]:
    def make() -> httpx2.AsyncClient:
        made: httpx2.AsyncClient = httpx.AsyncClient(
            verify=tls(),
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(
                max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEEP_SECONDS
            ),
            trust_env=not is_local(base_url),
        )
        return made

    return make


@functools.cache
def tls() -> ssl.SSLContext:
    """The certificates this machine trusts: read once, not for each provider while its event loop waits."""
    import httpx2

    return httpx2.create_ssl_context()


async def alone(work: Awaitable[T], failed: Callable[[Exception], ProviderError]) -> T:
    """What the work gives, or the error that stands for its failure, with nothing behind it: the HTTP
    library's errors hold the request, and so the key."""
    try:
        return await work
    except Exception as error:
        told = failed(error)
    raise told


class Secret(str):
    """A text that is not shown where variables are, such as in tracebacks with their locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[key]'"


async def secret_of(key: ApiKey) -> Secret:
    """The key for one request."""
    if isinstance(key, str):
        return Secret(key)
    made = key()
    return Secret(await made if inspect.isawaitable(made) else made)


async def answered(provider: str, base_url: str, response: Any, secret: str) -> Reply:
    """The JSON object of a response.

    Raises:
        ProviderError: its status is an error, or it breaks off, or it holds something else.
    """
    if response.status_code >= 300:
        try:
            async with asyncio.timeout(EXPLANATION_SECONDS):
                why = await response.aread()
        except Exception:
            why = b""  # The status says enough, and its headers may say when to come back.
        raise failure_of(provider, response.status_code, response.headers, hidden(why, secret))
    try:
        content = await response.aread()
    except Exception as error:
        failed = broken(provider, base_url, error, begun=False)
    else:
        return Reply(_object(provider, response, content, secret), response.headers)
    raise failed


def _object(provider: str, response: Any, content: bytes, secret: str) -> dict[str, Any]:
    try:
        data = parsed(content)
    except ValueError:
        data = None
    if isinstance(data, dict) and data.get("error"):
        data = parsed(hidden(content, secret))
    if not isinstance(data, dict):
        raise Unavailable(
            f"{provider}: answered 200 with something that is no JSON object "
            f"({response.headers.get('content-type', 'no content type')}): is a proxy in between?",
            provider=provider,
            status=200,
        )
    return data


async def events_of(
    provider: str, base_url: str, response: Any, secret: str, framing: Framing = SSE
) -> AsyncGenerator[ServerSentEvent, None]:
    """The events of a response that is being received."""
    try:
        kind = response.headers.get("content-type", "").lower()
        if response.status_code >= 300 or not kind.startswith(framing.media_type):
            reply = await answered(provider, base_url, response, secret)
            if reply.data.get("error"):
                raise failure_in(provider, reply.data)
            raise Unavailable(
                f"{provider}: was asked for a stream and answered with {kind or 'no content type'}",
                provider=provider,
                status=200,
            )
        reader = framing.reader()
        async for piece in response.aiter_bytes():
            for event in reader.feed(piece):
                yield event if not secret or secret not in event.data else _hidden_in(event, secret)
        return
    except ProviderError:
        raise
    except Exception as error:
        told = broken(provider, base_url, error, begun=True)
    raise told


_NOT_REACHED = ("ConnectError", "ConnectTimeout", "ConnectTimeoutError", "EndpointConnectionError")


def broken(provider: str, base_url: str, error: Exception, *, begun: bool, hint: str = "") -> ProviderError:
    """The error for a connection that failed. The HTTP library's own texts are left out: they can quote
    headers."""
    name = type(error).__name__
    if isinstance(error, ProviderError):
        return error
    base_url = _address(base_url)
    if name in _NOT_REACHED:
        told = f"{provider}: {base_url} cannot be reached ({name})"
        return Unavailable(f"{told}. {hint}" if hint else told, provider=provider, asked=False)
    if name.endswith(("Timeout", "TimeoutError")):
        return TimedOut(f"{provider}: no answer from {base_url} ({name})", provider=provider)
    if begun:
        return StreamTruncated(
            f"{provider}: the connection broke in the middle of the answer ({name}); what arrived is not a "
            "whole answer",
            provider=provider,
        )
    return Unavailable(
        f"{provider}: the connection to {base_url} broke before the answer was whole ({name})",
        provider=provider,
    )


def _address(url: str) -> str:
    """A URL without what may be a secret in it: a password, a query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def hidden(body: bytes, secret: str) -> bytes:
    """What a vendor wrote, without the key should it have quoted it."""
    return body.replace(secret.encode(), b"[key]") if len(secret) >= _KEY else body


_KEY = 8
"""Characters of the shortest key: what stands for one, such as "none", is a word like others."""


def _hidden_in(event: ServerSentEvent, secret: str) -> ServerSentEvent:
    """An event that tells an error, without the key. What a model says is left as it is."""
    try:
        data = json.loads(event.data)
    except (ValueError, RecursionError):
        return event
    if len(secret) < _KEY or not isinstance(data, dict) or not _tells_error(data):
        return event
    return ServerSentEvent(event.data.replace(secret, "[key]"), event.event)


def _tells_error(data: Mapping[str, Any]) -> bool:
    within = (data.get("response"), *(data.get("choices") or ()))
    return (
        data.get("type") == "error"
        or bool(data.get("error"))
        or any(isinstance(each, dict) and bool(each.get("error")) for each in within)
    )


def _bytes(body: Mapping[str, Any]) -> bytes:
    # Halves of characters, which users and models do write, have no UTF-8 form.
    return mended(json.dumps(body, ensure_ascii=False, separators=(",", ":"))).encode()
