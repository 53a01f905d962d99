"""Until something of an answer was handed on, a failure that passes is survived: by another attempt, or by
another vendor."""

from __future__ import annotations

import asyncio

import pytest

from agentfootprint.events import CircuitOpened, ModelFellBack, ModelRetried, ModelStarted
from tests.providers.dialects import Dialect
from tests.resilience.outages.faults import BEFORE, LIMIT, Fault, named, together
from tests.resilience.outages.site import (
    FIRST,
    GENEROUS,
    SECOND,
    alone,
    ask,
    both_ways,
    both_wires,
    left,
    outage,
)

every_fault = pytest.mark.parametrize("faults", together(BEFORE), ids=named)


@both_wires
@both_ways
@every_fault
async def test_it_is_asked_again(dialect: Dialect, streamed: bool, faults: list[Fault]) -> None:
    await asyncio.gather(*(_asked_again(dialect, streamed, fault) for fault in faults))


async def _asked_again(dialect: Dialect, streamed: bool, fault: Fault) -> None:
    async with outage(dialect, fault.script(dialect), stack=alone, **fault.limits) as site:
        told = await ask(site.agent, streamed)
        assert told.answer == FIRST
        assert site.asked == (2, 0)
        assert told.facts == ["model.retried"]
        [retried] = told.of(ModelRetried)
        assert (retried.attempt, retried.error) == (1, fault.codes(streamed))
        [gap] = site.gaps
        assert retried.delay <= gap < retried.delay + GENEROUS
        assert len(told.of(ModelStarted)) == 1
        if fault.limits:
            limit = LIMIT if streamed else fault.limits["total"]
            closed, came_back = await left(site.primary.seen[0]), site.primary.seen[1].at
            assert limit <= closed - told.begun
            # The connection does not stay open until the run is over.
            assert limit + retried.delay <= came_back - told.begun < limit + retried.delay + GENEROUS
            assert closed < came_back + GENEROUS


@both_wires
@both_ways
@every_fault
async def test_the_secondary_answers_and_the_primary_is_left_alone(
    dialect: Dialect, streamed: bool, faults: list[Fault]
) -> None:
    await asyncio.gather(*(_left_alone(dialect, streamed, fault) for fault in faults))


async def _left_alone(dialect: Dialect, streamed: bool, fault: Fault) -> None:
    async with outage(dialect, fault.script(dialect), failure_threshold=1, **fault.limits) as site:
        told = await ask(site.agent, streamed)
        assert told.answer == SECOND
        assert site.asked == (1, 1)
        assert told.facts == ["circuit.opened", "model.fell_back"]
        [fell_back] = told.of(ModelFellBack)
        assert fell_back.error == fault.codes(streamed)
        assert fell_back.provider != fell_back.to_provider
        [opened] = told.of(CircuitOpened)
        assert (opened.failures, opened.probe) == (1, False)
        came = site.secondary.seen[0].at
        assert site.primary.seen[0].at <= came < site.primary.seen[0].at + GENEROUS
        if fault.limits:
            assert came - told.begun >= LIMIT
            assert await left(site.primary.seen[0]) - told.begun >= LIMIT

        again = await ask(site.agent, streamed)
        assert again.answer == SECOND
        assert site.asked == (1, 2), "an open circuit let a request through"
        assert again.facts == ["model.fell_back"]
        assert again.of(ModelFellBack)[0].error == "circuit_open"
