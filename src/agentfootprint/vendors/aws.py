"""What Amazon's services need beside plain HTTP: signatures, binary event streams, calls through boto3."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.eventstream
import botocore.exceptions
import botocore.session
import httpx2

from ..errors import ProviderError, Unauthorized, Unavailable
from ..flow.codec import mended
from .failures import failure_in, failure_of
from .guard import check_call
from .http_client import Reply, broken
from .parsing import parsed
from .sse import ServerSentEvent

__all__ = ["BotoTransport", "EventStream", "Signature", "configured_region", "endpoint"]

SERVICE, SIGNED_AS = "bedrock-runtime", "bedrock"

_OPERATIONS = {"converse": "converse", "converse-stream": "converse_stream", "count-tokens": "count_tokens"}

_BLOBS = ("bytes", "redactedContent")
"""The fields of the API that hold bytes; in JSON they are base64."""


def configured_region() -> str | None:
    """The region of the environment or the profile."""
    found: str | None = botocore.session.Session().get_config_variable("region")
    return found


def endpoint(region: str) -> str:
    """The address of Bedrock in a region."""
    return f"https://{SERVICE}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


class Signature(httpx2.Auth):
    """Signs requests with Signature Version 4, with the credentials that boto3 would find."""

    requires_request_body = True

    def __init__(self, region: str) -> None:
        self._region = region
        self._session = botocore.session.Session()

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        # They may have to be fetched, or fetched anew, over the network.
        signer = await asyncio.to_thread(self._signer)
        # The client's own headers are not signed: what is between may change them.
        headers = {"content-type": request.headers["content-type"], "host": request.url.netloc.decode()}
        signed = botocore.awsrequest.AWSRequest(
            method=request.method, url=str(request.url), data=request.content, headers=headers
        )
        signer.add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request

    def _signer(self) -> Any:
        try:
            found = self._session.get_credentials()
            credentials = None if found is None else found.get_frozen_credentials()
        except botocore.exceptions.BotoCoreError as error:
            raise Unauthorized(
                f"bedrock: the AWS credentials cannot be had ({type(error).__name__})", provider="bedrock"
            ) from None
        if credentials is None:
            raise Unauthorized(
                "bedrock: there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "AWS_PROFILE or AWS_BEARER_TOKEN_BEDROCK, or pass api_key= or client=",
                provider="bedrock",
                asked=False,
            )
        return botocore.auth.SigV4Auth(credentials, SIGNED_AS, self._region)


class EventStream:
    """Events from the binary frames of `application/vnd.amazon.eventstream`, each with its checksums.

    An event becomes `{name: payload}`, an exception likewise: what boto3 makes of them.
    """

    def __init__(self) -> None:
        self._frames = botocore.eventstream.EventStreamBuffer()

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        self._frames.add_data(piece)
        for frame in self._frames:
            headers, payload = frame.headers, frame.payload.decode("utf-8", "replace")
            if headers.get(":message-type") == "error":
                told = json.dumps({"message": headers.get(":error-message", "")})
                yield ServerSentEvent(f'{{"{headers.get(":error-code", "internal")}Exception": {told}}}')
                continue
            name = headers.get(":exception-type") or headers[":event-type"]
            yield ServerSentEvent(f'{{"{name}": {payload}}}')


class BotoTransport:
    """Calls through a boto3 client of `bedrock-runtime`, in threads of its own."""

    def __init__(self, provider: str, model: str, client: Any) -> None:
        self.provider = provider
        self._model = model
        self._client = client
        self.base_url: str = client.meta.endpoint_url
        most = client.meta.config.max_pool_connections
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="agentfootprint-bedrock")

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        if path.endswith("/invoke"):
            return await self._invoke(body)
        data = await self._call(path, body)
        headers = data.pop("ResponseMetadata", {}).get("HTTPHeaders", {})
        return Reply(_changed(data, _encoded), headers)

    async def stream(
        self, path: str, body: Mapping[str, Any]
    ) -> AsyncGenerator[tuple[ServerSentEvent, Mapping[str, str]], None]:
        answer = await self._call(path, body)
        events, headers = answer["stream"], answer["ResponseMetadata"]["HTTPHeaders"]
        following = iter(events)
        try:
            while (event := await self._in_thread(partial(next, following, None), begun=True)) is not None:
                yield ServerSentEvent(json.dumps(_changed(event, _encoded))), headers
        finally:
            _hang_up(events)

    @property
    def account(self) -> Hashable:
        return id(self._client)

    async def aclose(self) -> None:
        """Ends the threads; the client stays open."""
        self._threads.shutdown(wait=False)

    async def _call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        check_call(self.base_url)
        operation = getattr(self._client, _OPERATIONS[path.rpartition("/")[2]])
        given = _changed(dict(body), base64.b64decode)
        answer: dict[str, Any] = await self._in_thread(
            partial(operation, modelId=self._model, **given), begun=False
        )
        return answer

    async def _invoke(self, body: Mapping[str, Any]) -> Reply:
        """InvokeModel takes and gives JSON of the model's own, as bytes."""
        check_call(self.base_url)
        content = mended(json.dumps(body, ensure_ascii=False)).encode()

        def call() -> tuple[bytes, Mapping[str, str]]:
            answer = self._client.invoke_model(
                modelId=self._model, body=content, contentType="application/json", accept="application/json"
            )
            return answer["body"].read(), answer["ResponseMetadata"]["HTTPHeaders"]

        answered, headers = await self._in_thread(call, begun=False)
        try:
            data = parsed(answered)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise Unavailable(
                f"{self.provider}: answered 200 with something that is no JSON object",
                provider=self.provider,
                status=200,
            )
        return Reply(data, headers)

    async def _in_thread(self, call: Any, *, begun: bool) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except botocore.exceptions.ClientError as error:
            failed = self._refused(error)
        except botocore.exceptions.NoCredentialsError:
            failed = Unauthorized(f"{self.provider}: the client has no credentials", provider=self.provider)
        except Exception as error:
            failed = broken(self.provider, self.base_url, error, begun=begun)
        raise failed

    def _refused(self, error: botocore.exceptions.ClientError) -> ProviderError:
        told = error.response.get("Error", {})
        meta = error.response.get("ResponseMetadata", {})
        code, message = told.get("Code", ""), told.get("Message", "")
        headers, status = meta.get("HTTPHeaders", {}), meta.get("HTTPStatusCode", 0)
        if status < 400:  # It came within a stream.
            return failure_in(self.provider, {"error": {"type": code, "message": message}})
        body = json.dumps({"message": message})
        return failure_of(self.provider, status, {"x-amzn-errortype": code, **headers}, body)


def _hang_up(events: Any) -> None:
    """Closes the connection of a stream, also while a thread reads from it."""
    response = getattr(events, "_raw_stream", None)
    try:
        if response is not None and hasattr(response, "shutdown"):
            response.shutdown()  # A reader that is blocked is woken by this alone.
    except (OSError, RuntimeError, ValueError):
        pass  # It has ended by itself.
    events.close()


def _changed(data: Any, change: Any) -> Any:
    """The data with its blobs changed between bytes and base64."""
    if isinstance(data, dict):
        return {
            key: change(value)
            if key in _BLOBS and isinstance(value, (str, bytes))
            else _changed(value, change)
            for key, value in data.items()
        }
    return [_changed(each, change) for each in data] if isinstance(data, (list, tuple)) else data


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()
