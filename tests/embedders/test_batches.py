"""Many texts: how they are shared out over requests, what is asked again, and what breaks off."""

from __future__ import annotations

import asyncio

import pytest

from agentfootprint.embedders.texts import Limits
from agentfootprint.errors import (
    InvalidRequest,
    RateLimited,
)
from tests.providers.server import Exchange, ScriptedServer, says, stays_silent

from .apis import QUICK, TITAN, Api, every_api, vector


@every_api
async def test_no_request_has_more_texts_than_the_vendor_takes(api: Api) -> None:
    count = min(2 * api.most + 1, 4097)
    async with ScriptedServer([api.serves]) as server, api.make(server.url) as embedder:
        assert list(await embedder.embed([])) == []
        assert server.seen == []
        found = await embedder.embed([f"text {number}" for number in range(count)])
    assert sorted(len(api.texts(each.body)) for each in server.seen) == [1, api.most, api.most]
    assert found[-1].vector.tolist() == pytest.approx(vector(f"text {count - 1}"), abs=1e-6)


def test_no_request_has_more_tokens_than_the_vendor_takes() -> None:
    limits = Limits(texts=10, tokens=100, tokens_each=60)
    batches = list(limits.batches(["a" * 80, "a" * 80, "a" * 80, "中" * 10, "a" * 500, "b"]))
    assert [len(batch) for batch in batches] == [1, 1, 2, 2]


async def test_so_many_requests_are_made_at_once_and_no_more() -> None:
    running = most = 0

    async def counted(exchange: Exchange) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        await TITAN.serves(exchange)

    async with ScriptedServer([counted]) as server, TITAN.make(server.url, concurrency=3) as embedder:
        await asyncio.gather(*(embedder.embed([f"{caller} {n}" for n in range(6)]) for caller in range(3)))
    assert len(server.seen) == 18
    assert most == 3


@every_api
async def test_what_failed_is_asked_again_and_nothing_else(api: Api) -> None:
    failed = set[str]()

    async def second_fails_once(exchange: Exchange) -> None:
        texts = api.texts(exchange.body)
        if "text 5" in texts and not failed:
            failed.update(texts)
            await says({"message": "busy"}, 503)(exchange)
            return
        await api.serves(exchange)

    count = 3 if api.most == 2048 else 2 * api.most + 6
    texts = [f"text {number}" for number in range(count)] + ["text 5"]
    async with ScriptedServer([second_fails_once]) as server, api.make(server.url, retry=QUICK) as embedder:
        found = await embedder.embed(texts)
    assert len(found) == len(texts)
    asked = [text for each in server.seen for text in api.texts(each.body)]
    assert len(asked) == len(texts) + len(failed)


@every_api
async def test_without_a_policy_there_is_one_attempt(api: Api) -> None:
    busy = says({"message": "busy"}, 429, retry_after="7")
    async with ScriptedServer([busy]) as server, api.make(server.url, retry=None) as embedder:
        with pytest.raises(RateLimited) as caught:
            await embedder.embed(["one"])
    assert caught.value.retry_after == 7
    assert len(server.seen) == 1


async def test_a_request_that_fails_for_good_breaks_the_others_off() -> None:
    silent: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()

    async def script(exchange: Exchange) -> None:
        if exchange.body["inputText"] == "bad":
            await silent
            await says({"message": "no"}, 400)(exchange)
            return
        silent.set_result(exchange)
        await exchange.gone()

    async with ScriptedServer([script]) as server, TITAN.make(server.url) as embedder:
        with pytest.raises(InvalidRequest):
            await embedder.embed(["good", "bad"])
        await (await silent).closed(within=5)


@every_api
async def test_a_call_that_is_cancelled_closes_its_connection(api: Api) -> None:
    arrived = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        arrived.set()
        await stays_silent(exchange)

    async with ScriptedServer([silent]) as server, api.make(server.url) as embedder:
        task = asyncio.create_task(embedder.embed(["one"]))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.seen[0].closed(within=5)
