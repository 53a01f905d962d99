"""What goes wrong at a vendor, each as a server plays it to a client that asks plainly or for a stream."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.providers.dialects import Dialect
from tests.providers.server import (
    Exchange,
    Script,
    beats,
    breaks,
    cut,
    either,
    frames,
    says,
    stays_silent,
    streams,
    trickles,
)
from tests.resilience.outages.site import FIRST

PAGE = b"<!doctype html><html><head><title>Bad gateway</title></head><body>nginx</body></html>"
ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "Not now."}}
"""An error as it comes within a 200."""
LIMIT = 0.5
"""Seconds: the limit that a fault runs into when it is one of time."""


@dataclass(frozen=True)
class Fault:
    """`code` is the error's, before anything was handed on; `limits` are those it needs to be noticed."""

    name: str
    script: Callable[[Dialect], Script]
    code: str
    limits: dict[str, Any] = field(default_factory=dict)
    streamed_code: str = ""

    def codes(self, streamed: bool) -> str:
        return self.streamed_code if streamed and self.streamed_code else self.code

    def __str__(self) -> str:
        return self.name


def together(faults: Sequence[Fault]) -> list[list[Fault]]:
    """Each fault by itself, but those that take time at once: they can be waited for together."""
    return [[fault] for fault in faults if not fault.limits] + [[fault for fault in faults if fault.limits]]


def named(faults: Sequence[Fault]) -> str:
    """The id of a test."""
    return ", ".join(map(str, faults))


def fails(status: int, kind: str = "error", **headers: str) -> Script:
    """An error with a status, as an API says it."""
    return says({"error": {"type": kind, "message": "Not now."}}, status, **headers)


def page(status: int = 200, **headers: str) -> Script:
    """A page of something that stands between the client and the API."""
    return says(PAGE, status, **{"content_type": "text/html", **headers})


def zipped(status: int) -> Script:
    body = gzip.compress(b'{"error": {"message": "Not now."}}')
    return says(body, status, content_encoding="gzip")


async def breaks_the_body(exchange: Exchange) -> None:
    """An error whose explanation breaks off in its middle."""
    await exchange.head(503, content_type="application/json", content_length="1000")
    exchange.writer.write(b'{"error": {"mess')
    await exchange.writer.drain()
    exchange.reset()


async def garbles(exchange: Exchange) -> None:
    """A length where a number should stand: the chunked body is broken, not only what it holds."""
    kind = "text/event-stream" if exchange.streamed else "application/json"
    await exchange.head(content_type=kind, transfer_encoding="chunked")
    exchange.writer.write(b"zz\r\nnonsense\r\n")
    await exchange.writer.drain()


async def hangs_up(exchange: Exchange) -> None:
    """An error, on a connection that was to stay open and does not."""
    body = b'{"error": {"message": "Not now."}}'
    exchange.writer.write(b"HTTP/1.1 503 Scripted\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    await exchange.writer.drain()


def chatters(dialect: Dialect) -> Script:
    """Words without end, a few at a time."""

    async def script(exchange: Exchange) -> None:
        leaving = asyncio.ensure_future(exchange.gone())
        events = dialect.stream(FIRST)
        word = frames([event for event in events if _says_something(event)][:1])
        while not leaving.done():
            await exchange.chunk(word)
            await asyncio.wait([leaving], timeout=0.02)

    return streams(beginning(dialect), 100_000, script)


def opening(dialect: Dialect) -> list[Any]:
    """The events of a stream up to its first piece of text, that one left out."""
    return _until(dialect, 0)


def beginning(dialect: Dialect) -> list[Any]:
    """The events of a stream with its first two pieces of text: `FIRST[:8]`."""
    return _until(dialect, 2)


def _until(dialect: Dialect, pieces: int) -> list[Any]:
    events = dialect.stream(FIRST)
    texts = [at for at, event in enumerate(events) if _says_something(event)]
    return events[: texts[pieces]]


def _says_something(event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    if event.get("type") in ("content_block_delta", "response.output_text.delta"):
        return True
    return any(choice["delta"].get("content") for choice in event.get("choices", ()))


def _half(dialect: Dialect, then: Script | None = None) -> Script:
    return cut(dialect.answer(FIRST), 20, then)


def _begins(dialect: Dialect, *more: Any, then: Script | None = None) -> Script:
    return streams([*opening(dialect), *more], 100_000, then)


_NO_JSON = b'data: {"type": "content_block_del\n\n'
_TOO_DEEP = b"data: " + b"[" * 20_000 + b"\n\n"

# The whole has more time than the first token, so that it shows which of them was meant.
_LIMITS: dict[str, Any] = {"first_token": LIMIT, "total": LIMIT + 0.1}

BEFORE = [
    Fault("429", lambda d: fails(429, "rate_limit_error"), "rate_limited"),
    Fault("500", lambda d: fails(500), "unavailable"),
    Fault("502 with a page", lambda d: page(502), "unavailable"),
    Fault("503", lambda d: fails(503), "overloaded"),
    Fault("504 with a page", lambda d: page(504), "timed_out"),
    Fault("529", lambda d: fails(529, "overloaded_error"), "overloaded"),
    Fault("503, its explanation zipped", lambda d: zipped(503), "overloaded"),
    Fault("503, its explanation broken off", lambda d: breaks_the_body, "overloaded"),
    Fault("a redirect to a page", lambda d: says(PAGE, 302, location="/sorry"), "unavailable"),
    Fault("a reset before any header", lambda d: breaks, "unavailable"),
    Fault(
        "silence",
        lambda d: stays_silent,
        "timed_out",
        _LIMITS,
    ),
    Fault(
        "heartbeats but no answer",
        lambda d: either(trickles, streams([], then=beats)),
        "timed_out",
        _LIMITS,
    ),
    Fault(
        "headers, then a stall",
        lambda d: either(_half(d, stays_silent), _begins(d, then=stays_silent)),
        "timed_out",
        _LIMITS,
    ),
    Fault(
        "a body that breaks off",
        lambda d: either(_half(d), _begins(d, then=breaks)),
        "unavailable",
        streamed_code="stream_truncated",
    ),
    Fault(
        "a body in broken pieces",
        lambda d: garbles,
        "unavailable",
        streamed_code="stream_truncated",
    ),
    Fault(
        "what is no JSON",
        lambda d: either(says(b'{"choices": [{"mess'), _begins(d, _NO_JSON)),
        "unavailable",
        streamed_code="stream_truncated",
    ),
    Fault(
        "JSON too deep to be read",
        lambda d: either(says(b"[" * 20_000), _begins(d, _TOO_DEEP)),
        "unavailable",
        streamed_code="stream_truncated",
    ),
    Fault("a page with status 200", lambda d: page(), "unavailable"),
    Fault(
        "an answer without content",
        lambda d: either(says({}), _begins(d)),
        "unavailable",
        {},
        "stream_truncated",
    ),
    Fault("an error with status 200", lambda d: either(says(ERROR), streams([ERROR])), "overloaded"),
]
"""What passes by itself, and happens before anything of an answer was handed on."""

AFTER = [
    Fault("the stream breaks off", lambda d: streams(beginning(d), 100_000, breaks), "stream_truncated"),
    Fault("the stream ends too early", lambda d: streams(beginning(d), 100_000), "stream_truncated"),
    Fault(
        "the stream stalls",
        lambda d: streams(beginning(d), 100_000, stays_silent),
        "timed_out",
        {"idle": LIMIT},
    ),
    Fault(
        "nothing but heartbeats any more",
        lambda d: streams(beginning(d), 100_000, beats),
        "timed_out",
        {"idle": LIMIT},
    ),
    Fault("an event is no JSON", lambda d: streams([*beginning(d), _NO_JSON], 100_000), "stream_truncated"),
    Fault(
        "an event is JSON too deep",
        lambda d: streams([*beginning(d), _TOO_DEEP], 100_000),
        "stream_truncated",
    ),
    Fault("an event says an error", lambda d: streams([*beginning(d), ERROR], 100_000), "overloaded"),
]
"""What goes wrong in a stream whose first text was handed on."""
