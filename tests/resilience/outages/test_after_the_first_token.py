"""What was handed on cannot be taken back: from the first token on a failure is told, and nothing is asked
again."""

from __future__ import annotations

import asyncio

import pytest

from agentfootprint.errors import ProviderError, TimedOut
from agentfootprint.events import CircuitOpened, ModelEnded, ModelFailed
from agentfootprint.providers.base import leaves
from tests.providers.dialects import Dialect
from tests.providers.server import after, beats, stays_silent, streams
from tests.resilience.outages.faults import AFTER, LIMIT, Fault, chatters, named, together
from tests.resilience.outages.site import (
    ANTHROPIC,
    BY_NAME,
    FIRST,
    GENEROUS,
    SECOND,
    answers,
    ask,
    both_ways,
    both_wires,
    left,
    outage,
)

every_fault = pytest.mark.parametrize("faults", together(AFTER), ids=named)


@both_wires
@every_fault
async def test_the_error_is_told_and_no_text_comes_twice(dialect: Dialect, faults: list[Fault]) -> None:
    await asyncio.gather(*(_told_once(dialect, fault) for fault in faults))


async def _told_once(dialect: Dialect, fault: Fault) -> None:
    async with outage(dialect, fault.script(dialect), failure_threshold=1, **fault.limits) as site:
        told = await ask(site.agent, True)
        assert isinstance(told.error, ProviderError)
        assert told.error.code == fault.code
        assert told.error.provider == leaves(site.provider)[0].name
        assert told.text == FIRST[:8]
        assert site.asked == (1, 0)
        # The breaker learns of it all the same.
        assert told.facts == ["circuit.opened"]
        assert told.of(CircuitOpened)[0].failures == 1
        [failed] = told.of(ModelFailed)
        assert failed.error == fault.code
        assert told.of(ModelEnded) == []
        if fault.limits:
            assert LIMIT <= await left(site.primary.seen[0]) - told.begun < LIMIT + GENEROUS
        assert told.took < GENEROUS

        later = await ask(site.agent, True)
        assert (later.answer, site.asked) == (SECOND, (1, 1))


@both_wires
async def test_words_without_end_are_cut_off_at_the_limit_for_the_whole(dialect: Dialect) -> None:
    async with outage(dialect, chatters(dialect), failure_threshold=1, total=LIMIT) as site:
        told = await ask(site.agent, True)
        assert told.failed(TimedOut).details["limit"] == "total"
        assert told.text.startswith(FIRST[:8] + FIRST[:4])
        assert (site.asked, told.facts) == ((1, 0), ["circuit.opened"])
        assert LIMIT <= await left(site.primary.seen[0]) - told.begun < LIMIT + GENEROUS


@both_wires
async def test_a_run_that_broke_off_goes_on_from_its_checkpoint(dialect: Dialect) -> None:
    async with outage(dialect, AFTER[0].script(dialect)) as site:
        told = await ask(site.agent, True)
        assert isinstance(told.error, ProviderError)
        assert told.error.checkpoint is not None
        result = await site.agent.resume(told.error.checkpoint)
        assert (result.output, site.asked) == (FIRST, (2, 0))


@both_wires
@both_ways
async def test_a_first_token_that_is_slow_but_in_time_is_waited_for(dialect: Dialect, streamed: bool) -> None:
    # The gap allowed between tokens is shorter than the wait for the first, and does not count for it.
    slow = after(0.3, answers(dialect, FIRST))
    async with outage(dialect, slow, failure_threshold=1, idle=0.2) as site:
        told = await ask(site.agent, streamed)
        assert told.answer == FIRST
        assert (site.asked, told.facts) == ((1, 0), [])
        assert told.took >= 0.3
        if streamed:
            assert told.of(ModelEnded)[0].first_token >= 0.3


@both_wires
async def test_a_first_token_after_many_heartbeats_is_waited_for(dialect: Dialect) -> None:
    heartbeats = streams([b": heartbeat\n\n"] * 20 + dialect.stream(FIRST), 13)
    async with outage(dialect, heartbeats, failure_threshold=1) as site:
        told = await ask(site.agent, True)
        assert (told.answer, site.asked, told.facts) == (FIRST, (1, 0), [])


@pytest.mark.parametrize(
    "dialect", [ANTHROPIC, BY_NAME["http-responses"], BY_NAME["http-chat"]], ids=lambda d: d.name
)
@pytest.mark.parametrize("end", [stays_silent, beats], ids=["silence", "heartbeats"])
async def test_an_answer_that_is_whole_does_not_wait_for_the_connection_to_end(
    dialect: Dialect, end: object
) -> None:
    held_open = streams(dialect.stream(FIRST), 100_000, end)  # type: ignore[arg-type]
    async with outage(dialect, held_open, failure_threshold=1) as site:
        told = await ask(site.agent, True)
        assert (told.answer, site.asked, told.facts) == (FIRST, (1, 0), [])
        assert told.took < GENEROUS, "it waited for more until a limit was reached"
        await left(site.primary.seen[0])
