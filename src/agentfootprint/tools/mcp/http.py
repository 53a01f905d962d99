"""MCP over HTTP: what happens on the way is told for each request, and ends no other."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx2

from .session import Lost, Refused

__all__ = ["Steady", "verdict"]

_MARK = f"agentfootprint-{uuid.uuid4().hex}"
"""Tells what this module says of a request from what a server says: it is made up in each process."""

NOT_NOW = (429, 503)
"""Who answers this has not done it."""


class Steady(httpx2.AsyncBaseTransport):
    """Sends what belongs to one endpoint with its secret headers, and answers what fails as JSON-RPC.

    The SDK ends a session, and with it all of its calls, where one request cannot be sent. Here a request
    that fails is answered with what is known of it: whether it was sent, and whether the session is gone.

    Args:
        headers: asked before each request, so that a token can be renewed; they go to the endpoint's origin
        alone.
        max_bytes: of an answer in JSON.
    """

    def __init__(
        self,
        url: httpx2.URL,
        headers: Callable[[], Awaitable[Mapping[str, str]]],
        max_bytes: int,
        inner: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._origin = _origin(url)
        self._headers = headers
        self._max_bytes = max_bytes
        self._inner = inner if inner is not None else httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if _origin(request.url) != self._origin:
            return await self._inner.handle_async_request(request)
        message = _message(request)
        try:
            request.headers.update(await self._headers())
        except Exception as error:
            if message is None:
                raise
            text = f"the function for its headers failed with {type(error).__name__}"
            return _answer(request, message, 500, {"refused": text})
        if message is None:
            return await self._inner.handle_async_request(request)
        try:
            response = await self._inner.handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            return _answer(request, message, 503, {"lost": _how(error), "sent": False, "gone": True})
        except httpx2.TransportError as error:
            return _answer(request, message, 503, {"lost": _how(error), "sent": True})
        if response.status_code >= 400:
            return await self._told(request, message, response)
        if response.headers.get("content-type", "").lower().startswith("application/json"):
            response.stream = _Bounded(response.stream, self._max_bytes)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _told(
        self, request: httpx2.Request, message: Mapping[str, Any], response: httpx2.Response
    ) -> httpx2.Response:
        status = response.status_code
        body = b""
        try:
            async for piece in _Bounded(response.stream, self._max_bytes):
                body += piece
        except httpx2.StreamError:
            body = b""
        finally:
            await response.aclose()
        # 404 says that a session has ended; servers that were started again say 400 to one they do not know.
        if status in (400, 404) and "mcp-session-id" in request.headers:
            said = {"lost": "the session has ended", "sent": False, "gone": True}
        elif _is_error(body, response) and status not in (401, 403, *NOT_NOW):
            headers = dict(response.headers)
            return httpx2.Response(status, headers=headers, content=body, request=request)
        elif status in (401, 403):
            said = {
                "refused": f"HTTP {status}: it does not let this client in; check token=, headers= or auth="
            }
        elif status in NOT_NOW:
            said = {"lost": f"HTTP {status}", "sent": False, "after": _seconds(response)}
        elif status >= 500:
            said = {"lost": f"HTTP {status}", "sent": True}
        else:
            said = {"refused": f"HTTP {status}"}
        return _answer(request, message, status, said, response.headers)


def verdict(data: Any) -> Lost | Refused | None:
    """What `Steady` said of a request, from the `data` of the JSON-RPC error that came of it."""
    said = data.get(_MARK) if isinstance(data, Mapping) else None
    if said is None:
        return None
    if "refused" in said:
        return Refused(said["refused"])
    return Lost(said["lost"], sent=said["sent"], gone=said.get("gone", False), retry_after=said.get("after"))


def _answer(
    request: httpx2.Request,
    message: Mapping[str, Any],
    status: int,
    said: Mapping[str, Any],
    headers: httpx2.Headers | None = None,
) -> httpx2.Response:
    error = {"code": -32000, "message": str(said.get("lost", said.get("refused"))), "data": {_MARK: said}}
    content = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "error": error}).encode()
    # How to sign in stands in a header, which is for the OAuth of the SDK.
    kept = {} if headers is None else {k: v for k, v in headers.items() if k.lower() == "www-authenticate"}
    return httpx2.Response(
        status, headers={**kept, "content-type": "application/json"}, content=content, request=request
    )


def _message(request: httpx2.Request) -> Mapping[str, Any] | None:
    """The JSON-RPC message that is sent, None for any other request."""
    if request.method != "POST":
        return None
    try:
        message = json.loads(request.content)
    except (ValueError, httpx2.RequestNotRead):
        return None
    return message if isinstance(message, dict) and "jsonrpc" in message else None


def _is_error(body: bytes, response: httpx2.Response) -> bool:
    if not response.headers.get("content-type", "").lower().startswith("application/json"):
        return False
    if response.headers.get("content-encoding"):
        return False
    try:
        message = json.loads(body)
    except ValueError:
        return False
    return isinstance(message, dict) and isinstance(message.get("error"), dict) and "jsonrpc" in message


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return (url.scheme, url.host, url.port)


def _how(error: Exception) -> str:
    # The text of the error can hold the address with what is secret in it.
    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
        return f"it cannot be reached ({type(error).__name__})"
    return f"the connection broke ({type(error).__name__})"


def _seconds(response: httpx2.Response) -> float | None:
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return None


class _Bounded(httpx2.AsyncByteStream):
    """A body up to a size, whose end in the middle is an error that the SDK answers for the one request."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        room = self._limit
        try:
            async for piece in self._stream:
                room -= len(piece)
                if room < 0:
                    raise httpx2.StreamError(f"it is larger than {self._limit:,} bytes")
                yield piece
        except httpx2.TransportError as error:
            raise httpx2.StreamError(f"the connection broke ({type(error).__name__})") from None

    async def aclose(self) -> None:
        await self._stream.aclose()
