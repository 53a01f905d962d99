"""How long is waited before the next attempt, and when there is none: as the server sees it."""

from __future__ import annotations

import asyncio
import email.utils
import math
import time
from typing import Any

import pytest

from agentfootprint import Stopped, StopReason
from agentfootprint.errors import AllProvidersFailed, Overloaded, RateLimited
from agentfootprint.events import CircuitOpened, ModelGaveUp, ModelRetried
from agentfootprint.resilience import RetryBudget
from agentfootprint.vendors import http_client
from tests.providers.dialects import Dialect
from tests.providers.server import Exchange, stays_silent
from tests.resilience.outages.faults import fails, hangs_up
from tests.resilience.outages.site import (
    ANTHROPIC,
    CHAT,
    FIRST,
    GENEROUS,
    SECOND,
    Site,
    Told,
    alone,
    answers,
    ask,
    both_ways,
    both_wires,
    left,
    other,
    outage,
)


def keeps_the_waits_told(site: Site, told: Told) -> None:
    """The server saw the pauses that the events tell of, and no other ones."""
    delays = [event.delay for event in told.of(ModelRetried)]
    assert len(site.gaps) == len(delays)
    for gap, delay in zip(site.gaps, delays, strict=True):
        assert delay <= gap < delay + GENEROUS


# ── the vendor's word ───────────────────────────────────────────────────────────────────────────


@both_ways
async def test_a_wait_in_seconds_is_kept(streamed: bool) -> None:
    async def one(dialect: Dialect) -> None:
        async with outage(dialect, fails(429, retry_after="1"), stack=alone) as site:
            told = await ask(site.agent, streamed)
            assert (told.answer, site.asked, told.facts) == (FIRST, (2, 0), ["model.retried"])
            assert site.gaps[0] >= 1
            assert 1 <= told.of(ModelRetried)[0].delay <= 1.1
            keeps_the_waits_told(site, told)

    await asyncio.gather(one(CHAT), one(ANTHROPIC))


@both_ways
async def test_a_wait_until_a_date_is_kept(streamed: bool) -> None:
    async def one(dialect: Dialect) -> None:
        due = math.floor(time.time() + 1.4)  # A date has whole seconds.
        date = email.utils.formatdate(due, usegmt=True)
        async with outage(dialect, fails(429, retry_after=date), stack=alone) as site:
            told = await ask(site.agent, streamed)
            back = time.time() - (asyncio.get_running_loop().time() - site.primary.seen[1].at)
            assert (told.answer, site.asked, told.facts) == (FIRST, (2, 0), ["model.retried"])
            assert back >= due - 0.01
            keeps_the_waits_told(site, told)

    await asyncio.gather(one(CHAT), one(ANTHROPIC))


@both_wires
@both_ways
async def test_without_a_word_the_waits_grow_between_attempts(dialect: Dialect, streamed: bool) -> None:
    busy = [fails(429)] * 3
    async with outage(dialect, *busy, stack=alone, max_attempts=4, initial_delay=0.05) as site:
        told = await ask(site.agent, streamed)
        assert (told.answer, site.asked) == (FIRST, (4, 0))
        retried = told.of(ModelRetried)
        assert [event.attempt for event in retried] == [1, 2, 3]
        assert all(event.delay <= 0.05 * 2**n for n, event in enumerate(retried))
        keeps_the_waits_told(site, told)


@both_wires
@both_ways
@pytest.mark.parametrize("word", ["-30", "soon", "", "nan", "inf", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_a_word_that_makes_no_sense_is_none(dialect: Dialect, streamed: bool, word: str) -> None:
    async with outage(dialect, fails(503, retry_after=word), stack=alone) as site:
        told = await ask(site.agent, streamed)
        assert (told.answer, site.asked) == (FIRST, (2, 0))
        assert told.of(ModelRetried)[0].delay <= 0.02
        keeps_the_waits_told(site, told)


@both_wires
@both_ways
async def test_a_wait_longer_than_is_reasonable_is_told_at_once(dialect: Dialect, streamed: bool) -> None:
    async with outage(dialect, fails(429, retry_after="86400"), stack=alone) as site:
        told = await ask(site.agent, streamed)
        assert told.failed(RateLimited).retry_after == 86400
        assert (site.asked, told.facts) == ((1, 0), ["model.gave_up"])
        assert told.of(ModelGaveUp)[0].reason == "retry_after"


@both_wires
@both_ways
async def test_nobody_waits_while_another_vendor_may_answer(dialect: Dialect, streamed: bool) -> None:
    async with outage(dialect, fails(429, retry_after="30")) as site:
        told = await ask(site.agent, streamed)
        assert (told.answer, site.asked, told.facts) == (SECOND, (1, 1), ["model.fell_back"])
        assert told.took < GENEROUS


@both_wires
@both_ways
async def test_when_all_say_when_to_come_back_the_shortest_wait_is_kept(
    dialect: Dialect, streamed: bool
) -> None:
    async with outage(
        dialect,
        fails(429, retry_after="0.3"),
        secondary=[fails(429, retry_after="30"), answers(other(dialect), SECOND)],
    ) as site:
        told = await ask(site.agent, streamed)
        assert (told.answer, site.asked) == (FIRST, (2, 1))
        assert told.facts == ["model.fell_back", "model.retried"]
        assert told.of(ModelRetried)[0].error == "all_providers_failed"
        assert 0.3 <= site.gaps[0] < GENEROUS
        keeps_the_waits_told(site, told)


@both_wires
@both_ways
async def test_an_answer_with_a_word_about_waiting_is_an_answer(dialect: Dialect, streamed: bool) -> None:
    well = answers(dialect, FIRST, retry_after="30", retry_after_ms="30000")
    async with outage(dialect, well, well) as site:
        for n in (1, 2):
            told = await ask(site.agent, streamed)
            assert (told.answer, site.asked, told.facts) == (FIRST, (n, 0), [])
            assert told.took < GENEROUS


@both_wires
@both_ways
async def test_the_vendors_word_counts_although_its_explanation_never_ends(
    dialect: Dialect, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def explains_at_length(exchange: Exchange) -> None:
        await exchange.head(429, retry_after="0.2", content_type="application/json", content_length="100000")
        exchange.writer.write(b'{"error": {"message": "We are')
        await exchange.gone()

    monkeypatch.setattr(http_client, "EXPLANATION_SECONDS", 0.1)
    async with outage(dialect, explains_at_length, stack=alone) as site:
        told = await ask(site.agent, streamed)
        assert (told.answer, site.asked) == (FIRST, (2, 0))
        [retried] = told.of(ModelRetried)
        assert (retried.error, retried.delay >= 0.2) == ("rate_limited", True)
        # Both: the body was waited for, and then the vendor's wait was kept.
        assert site.gaps[0] >= 0.3 - 0.02
        await left(site.primary.seen[0])


# ── our own bounds ──────────────────────────────────────────────────────────────────────────────


@both_wires
@both_ways
async def test_a_burst_is_sat_out(dialect: Dialect, streamed: bool) -> None:
    async with outage(dialect, fails(503), fails(503), stack=alone) as site:
        told = await ask(site.agent, streamed)
        assert (told.answer, site.asked) == (FIRST, (3, 0))
        assert told.facts == ["model.retried", "model.retried"]
        keeps_the_waits_told(site, told)


@both_wires
@both_ways
async def test_connections_that_were_to_stay_open_and_do_not_are_survived(
    dialect: Dialect, streamed: bool
) -> None:
    async with outage(dialect, hangs_up, hangs_up, stack=alone) as site:
        told = await ask(site.agent, streamed)
        assert (told.answer, site.asked) == (FIRST, (3, 0))
        keeps_the_waits_told(site, told)


@both_wires
@both_ways
async def test_a_longer_burst_ends_with_the_attempts(dialect: Dialect, streamed: bool) -> None:
    async with outage(dialect, *[fails(503)] * 5, stack=alone) as site:
        told = await ask(site.agent, streamed)
        assert told.failed(Overloaded).status == 503
        assert site.asked == (3, 0)
        assert told.facts == ["model.retried", "model.retried", "model.gave_up"]
        assert (told.of(ModelGaveUp)[0].reason, told.of(ModelGaveUp)[0].attempts) == ("attempts", 3)
        keeps_the_waits_told(site, told)


@both_wires
@both_ways
async def test_during_a_burst_the_breaker_lets_nothing_through(dialect: Dialect, streamed: bool) -> None:
    async with outage(dialect, *[fails(503)] * 9, failure_threshold=3) as site:
        runs = [await ask(site.agent, streamed) for _ in range(6)]
        assert [told.answer for told in runs] == [SECOND] * 6
        assert site.asked == (3, 6)
        opened = [event for told in runs for event in told.of(CircuitOpened)]
        assert [(event.failures, event.cooldown) for event in opened] == [(3, 60.0)]
        assert "circuit.opened" in runs[2].facts


@both_wires
@both_ways
async def test_during_an_outage_hardly_anything_is_asked_twice(dialect: Dialect, streamed: bool) -> None:
    budget = RetryBudget(capacity=4)
    async with outage(dialect, *[fails(503)] * 99, stack=alone, initial_delay=0, budget=budget) as site:
        runs = [await ask(site.agent, streamed) for _ in range(12)]
        assert site.asked == (12 + 4, 0)
        assert all(type(told.error) is Overloaded for told in runs)
        reasons = [event.reason for told in runs for event in told.of(ModelGaveUp)]
        assert reasons == ["attempts"] * 2 + ["retry_budget"] * 10


@both_wires
@both_ways
@pytest.mark.parametrize("where", ["in an attempt", "between attempts"])
async def test_the_runs_own_time_ends_every_wait(dialect: Dialect, streamed: bool, where: str) -> None:
    script = stays_silent if where == "in an attempt" else fails(429, retry_after="30")
    async with outage(dialect, script, stack=alone) as site:
        told = await ask(site.agent, streamed, timeout=0.3)
        assert isinstance(told.result, Stopped)
        assert (told.result.reason, told.result.output) == (StopReason.DEADLINE, None)
        assert 0.3 <= told.took < GENEROUS
        assert site.asked == (1, 0)
        if where == "in an attempt":
            assert await left(site.primary.seen[0]) - told.begun >= 0.3


@both_wires
@both_ways
async def test_what_would_take_too_long_in_all_is_not_tried(dialect: Dialect, streamed: bool) -> None:
    options: dict[str, Any] = {"stack": alone, "max_attempts": 99, "max_total": 0.5}
    async with outage(dialect, fails(429, retry_after="0.2"), fails(429, retry_after="5"), **options) as site:
        told = await ask(site.agent, streamed)
        told.failed(RateLimited)
        assert site.asked == (2, 0)
        assert told.of(ModelGaveUp)[0].reason == "time"
        assert told.took < 0.2 + GENEROUS


@both_ways
async def test_what_all_of_a_chain_said_is_in_its_error(streamed: bool) -> None:
    last = [fails(429, retry_after="7")]
    async with outage(CHAT, *[fails(503)] * 9, secondary=last, max_attempts=1) as site:
        error = (await ask(site.agent, streamed)).failed(AllProvidersFailed)
        assert [(type(each), each.retry_after) for each in error.errors] == [
            (Overloaded, None),
            (RateLimited, 7),
        ]
        # Who did not say when may be asked at once.
        assert error.retry_after is None
