"""The key of a vendor stays where it is, also when the vendor quotes it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from agentfootprint.errors import AgentFootprintError
from tests.providers.dialects import KEY
from tests.providers.server import Exchange, Script, ScriptedServer, breaks, cut, says, stays_silent
from tests.providers.test_secrets import ECHO, LOGGERS, locals_in, told_by

from .apis import Api, every_api

FAILURES: dict[str, Script] = {
    "401": says({"message": ECHO, "error": {"message": ECHO, "param": KEY}}, 401),
    "400 as text": says(ECHO.encode(), 400, content_type="text/plain"),
    "200 with an error": says({"error": {"message": ECHO}, "message": ECHO}),
    "a page": says(f"<html>{ECHO}</html>".encode(), content_type="text/html"),
    "another form": says({"data": KEY, "embeddings": KEY, "embedding": KEY}),
    "no vectors": says(
        {"data": [{"embedding": [KEY]}], "embeddings": {"float": [[KEY]]}, "embedding": [KEY]}
    ),
    "reset": breaks,
    "cut off": cut({"data": "x" * 100}, 20),
}


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def logged(log: pytest.LogCaptureFixture) -> str:
    assert log.text, "nothing was looked at"
    return log.text + "\n".join(f"{vars(record)} {record.getMessage()}" for record in log.records)


async def key() -> str:
    return KEY


@every_api
@pytest.mark.parametrize("given", [KEY, key], ids=["a key", "a function"])
async def test_a_call_that_succeeds_leaves_the_key_nowhere(
    api: Api, given: Any, log: pytest.LogCaptureFixture
) -> None:
    async with ScriptedServer([api.serves]) as server, api.make(server.url, api_key=given) as embedder:
        found = await embedder.embed(["a"])
        shown = repr(embedder) + str(embedder) + repr(vars(embedder)) + repr(found)
    assert KEY in str(server.seen[0].headers)
    assert KEY not in shown + logged(log)


@every_api
@pytest.mark.parametrize("kind", FAILURES)
async def test_a_call_that_fails_leaves_the_key_nowhere(
    api: Api, kind: str, log: pytest.LogCaptureFixture
) -> None:
    async with ScriptedServer([FAILURES[kind]]) as server, api.make(server.url, retry=None) as embedder:
        with pytest.raises(AgentFootprintError) as caught:
            await embedder.embed(["a", "b"])
    assert KEY in str(server.seen[0].headers)
    assert KEY not in told_by(caught.value) + logged(log)
    if kind in ("reset", "cut off"):
        assert KEY not in locals_in(caught.value)
    if kind in ("401", "400 as text"):
        assert "[key]" in str(caught.value), "the vendor's words are told, but for the key"


@every_api
async def test_a_call_that_is_cancelled_leaves_the_key_nowhere(
    api: Api, log: pytest.LogCaptureFixture
) -> None:
    arrived = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        arrived.set()
        await stays_silent(exchange)

    async with ScriptedServer([silent]) as server, api.make(server.url) as embedder:
        task = asyncio.create_task(embedder.embed(["a"]))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    assert KEY in str(server.seen[0].headers)
    assert KEY not in told_by(caught.value) + logged(log)
