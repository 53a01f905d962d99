"""MCP over HTTP: what happens on the way is told for each request, and ends no other."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, cast

import httpx2

from .session import Lost, Refused

__all__ = ["Steady", "verdict"]

_MARK = f"agentfootprint-{uuid.uuid4().hex}"
"""Tells what this module says of a request from what a server says: it is made up in each process."""

NOT_NOW = (429, 503)
"""Who answers this has not done it."""

OF_A_REQUEST = (-32700, -32601, -32602, -32603)
"""Errors of JSON-RPC that tell of a request, and not of its session."""

OF_THE_BODY = ("content-length", "transfer-encoding", "content-encoding")


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
        # What is packed is small until it is read: the limit holds for what is not.
        request.headers["accept-encoding"] = "identity"
        message = _message(request)
        try:
            request.headers.update(await self._headers())
        except Exception as error:
            if message is None:
                raise
            text = f"the function for its headers failed with {type(error).__name__}"
            return _answer(request, message, 500, {"refused": text})
        if message is None:
            response = await self._inner.handle_async_request(request)
            if request.method == "GET" and _is(response, "text/event-stream"):
                response.stream = _UntilItBreaks(response.stream)
            return response
        try:
            response = await self._inner.handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            return _answer(request, message, 503, {"lost": _how(error), "sent": False})
        except httpx2.TransportError as error:
            return _answer(request, message, 503, {"lost": _how(error), "sent": True})
        if response.status_code >= 400:
            return await self._told(request, message, response)
        if _is(response, "application/json"):
            return await self._whole(request, message, response)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _told(
        self, request: httpx2.Request, message: Mapping[str, Any], response: httpx2.Response
    ) -> httpx2.Response:
        status = response.status_code
        try:
            body = await self._read(response)
        except _NoBody:
            body = b""
        error = _parsed(body).get("error") if _is(response, "application/json") else None
        code = error.get("code") if isinstance(error, dict) else None
        # 404 says that a session has ended; servers that were started again say 400 to one they do not know.
        if "mcp-session-id" in request.headers and (
            status == 404 or (status == 400 and code not in OF_A_REQUEST)
        ):
            said = {"lost": "the session has ended", "sent": False, "gone": True}
        elif code is not None and status not in (401, 403, *NOT_NOW):
            return _rewritten(request, response, body)
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

    async def _whole(
        self, request: httpx2.Request, message: Mapping[str, Any], response: httpx2.Response
    ) -> httpx2.Response:
        """The answer as it came, if it is one: the SDK waits for ever for one that belongs to no request."""
        try:
            body = await self._read(response)
        except _NoBody as error:
            return _answer(request, message, 503, {"lost": str(error), "sent": True})
        asked, answered = message.get("id"), _parsed(body)
        if asked is None or str(answered.get("id")) == str(asked):
            return _rewritten(request, response, body)
        if answered.get("id") is None and isinstance(answered.get("error"), dict):
            # It could not read whose request it was.
            return _rewritten(request, response, json.dumps({**answered, "id": asked}).encode())
        return _answer(request, message, 503, {"lost": "its answer is not one to the request", "sent": True})

    async def _read(self, response: httpx2.Response) -> bytes:
        try:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise _NoBody("its answer is compressed, which it was not asked for")
            pieces, size = [], 0
            async for piece in cast(httpx2.AsyncByteStream, response.stream):
                pieces.append(piece)
                if (size := size + len(piece)) > self._max_bytes:
                    raise _NoBody(f"its answer is larger than {self._max_bytes:,} bytes")
            return b"".join(pieces)
        except httpx2.TransportError as error:
            raise _NoBody(_how(error)) from None
        finally:
            await response.aclose()


class _NoBody(Exception):
    """There is no body to read; says why."""


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


def _rewritten(request: httpx2.Request, response: httpx2.Response, body: bytes) -> httpx2.Response:
    kept = {k: v for k, v in response.headers.items() if k.lower() not in OF_THE_BODY}
    return httpx2.Response(response.status_code, headers=kept, content=body, request=request)


def _is(response: httpx2.Response, media_type: str) -> bool:
    return response.headers.get("content-type", "").lower().startswith(media_type)


def _parsed(body: bytes) -> Mapping[str, Any]:
    """A message of JSON-RPC, or nothing."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) and "jsonrpc" in message else {}


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return (url.scheme, url.host, url.port)


def _how(error: Exception) -> str:
    # The text of the error can hold the address with what is secret in it.
    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
        return f"it cannot be reached ({type(error).__name__})"
    if isinstance(error, httpx2.PoolTimeout):
        return "all connections to it are in use"
    return f"the connection broke ({type(error).__name__})"


def _seconds(response: httpx2.Response) -> float | None:
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return None


class _UntilItBreaks(httpx2.AsyncByteStream):
    """A stream that nothing has to come on. The SDK opens one again that has ended, but not often one that
    broke; and it breaks whenever there was nothing to say for long."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except httpx2.TransportError:
            return

    async def aclose(self) -> None:
        await self._stream.aclose()
