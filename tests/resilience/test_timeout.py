"""Nothing is waited for longer than was said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentfootprint.errors import ConfigurationError, TimedOut, Unavailable
from agentfootprint.messages import LLMResponse
from agentfootprint.resilience import with_retry, with_timeout
from tests.resilience.support import REQUEST, Ask, Scripted, both_ways, stream


async def for_ever() -> None:
    await asyncio.Event().wait()


async def a_moment() -> None:
    await asyncio.sleep(0.05)


@both_ways
async def test_the_whole_is_not_waited_for_longer_than_its_limit(ask: Ask) -> None:
    with pytest.raises(TimedOut, match=r"not whole after 0\.02 s") as caught:
        await ask(with_timeout(Scripted(for_ever, name="slow"), total=0.02))
    assert caught.value.details["limit"] == "total"
    assert caught.value.provider == "slow"
    assert caught.value.retryable


async def test_the_first_token_has_a_limit_of_its_own() -> None:
    provider = with_timeout(Scripted(for_ever), first_token=0.02, total=60)
    with pytest.raises(TimedOut) as caught:
        await stream(provider)
    assert caught.value.details["limit"] == "first_token"


async def test_a_slow_first_token_is_no_idle_gap() -> None:
    provider = with_timeout(
        Scripted([a_moment, "late but ", "whole", LLMResponse("late but whole")]), idle=0.02
    )
    assert await stream(provider) == "late but whole"


async def test_a_gap_in_the_middle_is_cut_off() -> None:
    provider = with_timeout(Scripted(["half ", for_ever]), first_token=60, idle=0.02)
    read = ""
    with pytest.raises(TimedOut) as caught:  # noqa: PT012 - the loop is what raises
        async for chunk in provider.stream(REQUEST):
            read += chunk.text
    assert (read, caught.value.details["limit"]) == ("half ", "idle")


async def test_the_time_that_the_reader_takes_is_no_gap() -> None:
    provider = with_timeout(Scripted("an answer"), idle=0.02)
    read = ""
    async for chunk in provider.stream(REQUEST):
        read += chunk.text
        await asyncio.sleep(0.04)
    assert read == "an answer"


@both_ways
async def test_a_cancellation_from_outside_stays_one(ask: Ask) -> None:
    task = asyncio.create_task(ask(with_timeout(Scripted(for_ever), total=60, first_token=60)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@both_ways
async def test_what_took_too_long_is_asked_again(ask: Ask) -> None:
    model = Scripted(for_ever, "in time")
    provider = with_retry(with_timeout(model, total=0.02), initial_delay=0)
    assert await ask(provider) == "in time"
    assert model.asked == 2


async def test_the_task_is_not_left_cancelled() -> None:
    with pytest.raises(TimedOut):
        await stream(with_timeout(Scripted(for_ever), first_token=0.01))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_reader_that_leaves_early_closes_the_stream() -> None:
    model = Scripted("a long answer")
    chunks: Any = with_timeout(model, first_token=1, idle=1, total=1).stream(REQUEST)
    await anext(chunks)
    await chunks.aclose()
    assert model.closed == 1


@pytest.mark.parametrize("limit", ["first_token", "idle", "total"])
@pytest.mark.parametrize("value", ["3", 0, -1, float("inf"), float("nan")])
def test_a_limit_that_is_none_is_refused(limit: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=limit):
        with_timeout(Scripted("x"), **{limit: value})


@both_ways
async def test_the_task_is_not_left_cancelled_by_a_provider_that_makes_another_error_of_it(ask: Ask) -> None:
    async def translated() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            raise Unavailable("closed") from None

    with pytest.raises(Unavailable):
        await ask(with_timeout(Scripted(translated), first_token=0.02, total=0.02))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
