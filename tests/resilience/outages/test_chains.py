"""Two vendors: one is down, or rejects, or both are down, or one comes and goes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from agentfootprint.errors import AllProvidersFailed, CircuitOpen, InvalidRequest, Overloaded, Unavailable
from agentfootprint.events import ModelFailed, ModelFellBack, ModelGaveUp, ModelRetried
from agentfootprint.providers import LLMProvider
from agentfootprint.resilience import with_circuit_breaker, with_fallback, with_retry, with_timeout
from tests.providers.dialects import Dialect
from tests.providers.server import Script, breaks, stays_silent
from tests.resilience.outages.faults import fails, page
from tests.resilience.outages.site import (
    CHAT,
    FIRST,
    GENEROUS,
    SECOND,
    answers,
    ask,
    both_ways,
    both_wires,
    outage,
)

SILENCE = 0.2
OVER_AND_OVER = ["model.fell_back", "model.retried"] * 2 + ["model.fell_back", "model.gave_up"]


@both_wires
@both_ways
async def test_a_secondary_that_rejects_the_request_is_told_beside_the_outage(
    dialect: Dialect, streamed: bool
) -> None:
    rejects = [fails(400, "invalid_request_error")]
    async with outage(dialect, *[fails(503)] * 9, secondary=rejects, failure_threshold=9) as site:
        told = await ask(site.agent, streamed)
        error = told.failed(AllProvidersFailed)
        assert [type(each) for each in error.errors] == [Overloaded, InvalidRequest]
        # The primary may come back, so that the chain is asked again, as often as was said.
        assert (site.asked, told.facts) == ((3, 3), OVER_AND_OVER)
        assert told.took < GENEROUS
        assert [event.error for event in told.of(ModelFailed)] == ["all_providers_failed"]


@both_wires
@both_ways
async def test_once_the_breaker_is_open_a_rejection_is_final(dialect: Dialect, streamed: bool) -> None:
    rejects = [fails(400, "invalid_request_error")]
    async with outage(dialect, *[fails(503)] * 9, secondary=rejects, failure_threshold=1) as site:
        told = await ask(site.agent, streamed)
        error = told.failed(AllProvidersFailed)
        assert [type(each) for each in error.errors] == [CircuitOpen, InvalidRequest]
        assert not error.retryable
        assert site.asked == (1, 2)


DOWN: list[tuple[str, Script, type[Exception]]] = [
    ("503", fails(503), Overloaded),
    ("resets", breaks, Unavailable),
    ("pages", page(502), Unavailable),
]


@both_wires
@both_ways
@pytest.mark.parametrize(("name", "down", "kind"), DOWN, ids=[name for name, *_ in DOWN])
async def test_when_both_are_down_one_error_says_so_after_the_attempts(
    dialect: Dialect, streamed: bool, name: str, down: Script, kind: type[Exception]
) -> None:
    async with outage(dialect, *[down] * 9, secondary=[down], failure_threshold=9) as site:
        told = await ask(site.agent, streamed)
        error = told.failed(AllProvidersFailed)
        assert [type(each) for each in error.errors] == [kind, kind]
        assert error.retryable
        assert (site.asked, told.facts) == ((3, 3), OVER_AND_OVER)
        for gap, retried in zip(site.gaps, told.of(ModelRetried), strict=True):
            assert retried.delay <= gap < retried.delay + GENEROUS
        [gave_up] = told.of(ModelGaveUp)
        assert (gave_up.reason, gave_up.attempts, gave_up.error) == ("attempts", 3, "all_providers_failed")
        # One after the other: the secondary is asked when the primary has failed.
        order = [
            exchange.at
            for pair in zip(site.primary.seen, site.secondary.seen, strict=True)
            for exchange in pair
        ]
        assert order == sorted(order)


@both_ways
async def test_when_both_are_silent_the_time_is_bounded(streamed: bool) -> None:
    def both_timed(primary: LLMProvider, secondary: LLMProvider) -> LLMProvider:
        timed = [with_timeout(each, first_token=SILENCE, total=SILENCE) for each in (primary, secondary)]
        return with_retry(with_fallback(*timed), max_attempts=2, initial_delay=0.02)

    async with outage(CHAT, stays_silent, stays_silent, secondary=[stays_silent], stack=both_timed) as site:
        told = await ask(site.agent, streamed)
        error = told.failed(AllProvidersFailed)
        assert [each.code for each in error.errors] == ["timed_out", "timed_out"]
        assert site.asked == (2, 2)
        assert 4 * SILENCE <= told.took < 4 * SILENCE + GENEROUS


@both_wires
@both_ways
async def test_where_nobody_listens_the_secondary_is_asked(dialect: Dialect, streamed: bool) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # It holds the port, and nobody answers there.
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"

        def provider(_: str) -> Any:
            return dialect.make(url)

        async with outage(dialect, provider=provider, failure_threshold=1) as site:
            told = await ask(site.agent, streamed)
            assert (told.answer, site.asked) == (SECOND, (0, 1))
            assert told.facts == ["circuit.opened", "model.fell_back"]
            assert told.of(ModelFellBack)[0].error == "unavailable"


@both_wires
@both_ways
async def test_the_next_run_is_not_burdened_by_the_outage_of_the_last(
    dialect: Dialect, streamed: bool
) -> None:
    async with outage(dialect, *[fails(503)] * 3, secondary=[fails(503)], failure_threshold=9) as site:
        (await ask(site.agent, streamed)).failed(AllProvidersFailed)
        told = await ask(site.agent, streamed)
        assert (told.answer, told.facts, site.asked) == (FIRST, [], (4, 3))


# ── a primary that comes and goes ───────────────────────────────────────────────────────────────

REQUESTS = 16


def unguarded(primary: LLMProvider, secondary: LLMProvider) -> LLMProvider:
    return with_retry(with_fallback(primary, secondary), max_attempts=3, initial_delay=0.02)


def guarded(primary: LLMProvider, secondary: LLMProvider) -> LLMProvider:
    breaker = with_circuit_breaker(primary, failure_rate=0.5, minimum_calls=4, cooldown=60)
    return unguarded(breaker, secondary)


@both_wires
@both_ways
@pytest.mark.parametrize("pattern", ["alternating", "in bursts"])
async def test_the_breaker_spares_a_primary_that_flaps(
    dialect: Dialect, streamed: bool, pattern: str
) -> None:
    well, down = answers(dialect, FIRST), fails(503)
    period = [down, well] if pattern == "alternating" else [well, down, down, down]
    wasted: dict[Callable[..., LLMProvider], int] = {}
    for stack in (unguarded, guarded):
        async with outage(dialect, *(period * REQUESTS)[:REQUESTS], stack=stack) as site:
            runs = [await ask(site.agent, streamed) for _ in range(REQUESTS)]
            assert {told.answer for told in runs} <= {FIRST, SECOND}
            # Each failure at the primary is an answer of the secondary, and nobody is asked twice.
            fell_back = sum(len(told.of(ModelFellBack)) for told in runs)
            assert site.asked[1] == fell_back
            assert not any("model.retried" in told.facts for told in runs)
            opened = [told.facts.count("circuit.opened") for told in runs]
            assert sum(opened) == (stack is guarded)
            wasted[stack] = site.asked[0] - sum(told.answer == FIRST for told in runs)
    assert wasted[unguarded] >= REQUESTS // 2
    assert wasted[guarded] <= 3
