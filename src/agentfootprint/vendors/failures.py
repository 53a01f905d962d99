"""Vendor errors, translated once into the few that decorators and rules act on."""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from ..errors import (
    AllProvidersFailed,
    CircuitOpen,
    ContentFiltered,
    ContextWindowExceeded,
    InvalidRequest,
    Overloaded,
    ProviderError,
    RateLimited,
    RateLimitExceeded,
    StreamTruncated,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from .parsing import parsed

__all__ = ["REQUEST_IDS", "declined", "failure_in", "failure_of", "retry_after"]

REQUEST_IDS = ("request-id", "x-request-id", "x-amzn-requestid")
"""The headers that name a request, for the vendor's support to look it up."""

_BY_STATUS: Mapping[int, type[ProviderError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    402: Unauthorized,
    403: Unauthorized,
    404: InvalidRequest,
    408: TimedOut,
    409: Unavailable,
    413: ContextWindowExceeded,
    422: InvalidRequest,
    429: RateLimited,
    503: Overloaded,
    504: TimedOut,
    529: Overloaded,
}

_BY_WORD: Mapping[str, type[ProviderError]] = {
    "overloaded_error": Overloaded,
    "overloaded": Overloaded,
    "slow_down": Overloaded,
    "rate_limit_error": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "insufficient_quota": RateLimited,
    "api_error": Unavailable,
    "server_error": Unavailable,
    "internal_error": Unavailable,
    "timeout_error": TimedOut,
    "authentication_error": Unauthorized,
    "permission_error": Unauthorized,
    "invalid_api_key": Unauthorized,
    "billing_error": Unauthorized,
    "invalid_request_error": InvalidRequest,
    "not_found_error": InvalidRequest,
    "request_too_large": ContextWindowExceeded,
    "context_length_exceeded": ContextWindowExceeded,
    "exceed_context_size_error": ContextWindowExceeded,
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
    # Amazon Bedrock's
    "throttlingException": RateLimited,
    "serviceQuotaExceededException": RateLimited,
    "modelNotReadyException": Overloaded,
    "serviceUnavailableException": Overloaded,
    "internalServerException": Unavailable,
    "modelErrorException": Unavailable,
    "modelStreamErrorException": Unavailable,
    "modelTimeoutException": TimedOut,
    "accessDeniedException": Unauthorized,
    "unrecognizedClientException": Unauthorized,
    "expiredTokenException": Unauthorized,
    "invalidSignatureException": Unauthorized,
    "validationException": InvalidRequest,
    "resourceNotFoundException": InvalidRequest,
}

_TOO_LONG = re.compile(
    r"context (length|window|size)|(prompt|input|text) is too long|too many (input )?tokens"
    r"|maximum (context|input length)"
    r"|input (length|tokens?) exceed|exceed context limit",
    re.IGNORECASE,
)
_TEXT = 500


def failure_of(provider: str, status: int, headers: Mapping[str, str], body: bytes | str) -> ProviderError:
    """The error for an answer that is none, with the vendor's own words."""
    data = _json(body)
    kind, message = _read(data)
    if not message:
        message = _plain(body)
    if amazon := headers.get("x-amzn-errortype"):
        # Such as "ThrottlingException:http://internal.amazon.com/…"; in a stream it begins in lower case.
        kind = amazon[:1].lower() + amazon[1:].partition(":")[0]
    found = _kind_of(status, kind, message)
    return found(
        f"{provider}: {status}: {message or 'no explanation'}"[:_TEXT],
        status=status,
        retry_after=retry_after(headers),
        provider=provider,
        request_id=next((headers[name] for name in REQUEST_IDS if name in headers), None),
        vendor_code=kind or None,
    )


def failure_in(provider: str, data: Any, request_id: str | None = None) -> ProviderError:
    """The error for one that came within a 200: as its body, or as an event of its stream."""
    kind, message = _read(data)
    error = data.get("error", data) if isinstance(data, dict) else {}
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else None
    found = _kind_of(status, kind, message) if status or kind in _BY_WORD or message else Unavailable
    return found(
        f"{provider}: {message or kind or 'an error without explanation'}"[:_TEXT],
        status=status,
        provider=provider,
        request_id=request_id,
        vendor_code=kind or None,
    )


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (RFC 9110, 10.2.3: seconds or a date);
    None when neither says anything that can be waited for."""
    seconds = _number(headers.get("retry-after-ms"))
    if seconds is not None:
        return max(0.0, seconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is None and value is not None:
        try:
            moment = email.utils.parsedate_to_datetime(value)
            # A date without a zone is one of the older forms that HTTP allows, which are UTC.
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            seconds = moment.timestamp() - (time.time() if now is None else now)
        except (ValueError, TypeError, OverflowError):
            return None
    return None if seconds is None else max(0.0, seconds)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _kind_of(status: int | None, kind: str, message: str) -> type[ProviderError]:
    found = _BY_WORD.get(kind)
    if status is not None and (found is None or found is InvalidRequest):
        found = _BY_STATUS.get(status)
        if found is None:
            # A redirect is a page of whoever stands in between: it says nothing of the request.
            found = InvalidRequest if 400 <= status < 500 else Unavailable
    if found is None:
        found = Unavailable
    if found is InvalidRequest and _TOO_LONG.search(message):
        return ContextWindowExceeded
    return found


def _read(data: Any) -> tuple[str, str]:
    """The vendor's word for the error, the most telling one first, and its sentence."""
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict):
        return "", ""
    error = data.get("error", data)
    if isinstance(error, str):
        return "", error
    if not isinstance(error, dict):
        return "", ""
    words = [str(error[key]) for key in ("code", "type") if isinstance(error.get(key), str)]
    kind = next((word for word in words if word in _BY_WORD), words[0] if words else "")
    message = error.get("message") or error.get("detail") or data.get("message") or ""
    return kind, str(message)


def _json(body: bytes | str) -> Any:
    try:
        return parsed(body)
    except ValueError:
        return None


def _plain(body: bytes | str) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    if "<html" in text[:1000].lower():
        title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return f"a page instead of an answer{': ' + title[1].strip() if title else ''}"
    return " ".join(text.split())[:200]


_DECLINED = (CircuitOpen, InvalidRequest, Overloaded, RateLimited, RateLimitExceeded, Unauthorized)


def declined(error: BaseException) -> bool:
    """Whether it is clear that a failed attempt made no model work, and so is not charged: the vendor was not
    asked, or declined with a status. One that was cut off or timed out may have."""
    if isinstance(error, AllProvidersFailed):
        return declined(error.errors[-1])
    if not isinstance(error, ProviderError) or isinstance(error, (TimedOut, StreamTruncated)):
        return False
    if isinstance(error, _DECLINED) or error.details.get("asked") is False:
        return True
    return error.status is not None and error.status >= 400
