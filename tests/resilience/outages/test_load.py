"""Many callers while the primary is down, and its return."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from agentfootprint.errors import CircuitOpen
from agentfootprint.events import CircuitOpened, ModelFellBack
from tests.providers.dialects import Dialect
from tests.providers.server import Exchange, Script, breaks, stays_silent
from tests.resilience.outages.faults import fails
from tests.resilience.outages.site import (
    ANTHROPIC,
    CHAT,
    FIRST,
    GENEROUS,
    SECOND,
    Told,
    answers,
    ask,
    both_ways,
    both_wires,
    outage,
)

CALLERS = 50
SECONDS = 3.0
COOLDOWN = 0.5


class Dying:
    """Fails in every way in turn."""

    def __init__(self) -> None:
        self._ways: list[Script] = [fails(503), breaks, stays_silent, fails(429, retry_after="20")]
        self._asked = 0

    async def __call__(self, exchange: Exchange) -> None:
        self._asked += 1
        await self._ways[self._asked % len(self._ways)](exchange)


@pytest.mark.parametrize(
    ("dialect", "streamed"), [(CHAT, False), (ANTHROPIC, True)], ids=["plain", "streamed"]
)
async def test_many_callers_are_all_answered_and_the_dead_primary_is_left_alone(
    dialect: Dialect, streamed: bool
) -> None:
    limits = {"first_token": 0.4, "total": 0.5, "idle": 0.4}
    options = {"failure_threshold": 5, "cooldown": COOLDOWN, **limits}
    runs: list[Told] = []
    async with outage(dialect, *[Dying()] * 10_000, **options) as site:  # type: ignore[arg-type]
        clock = asyncio.get_running_loop().time
        begun = clock()

        async def caller() -> None:
            asked = 0
            while clock() < begun + SECONDS or asked < 3:  # On a busy machine three of them take longer.
                runs.append(await ask(site.agent, streamed))
                asked += 1

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        took = clock() - begun
        assert [told.answer for told in runs] == [SECOND] * len(runs)
        attempts, answered = site.asked
        assert answered == len(runs)
        # Each caller may be on its way before the breaker knows; from then on it is one probe per cooldown.
        assert attempts <= CALLERS + took / COOLDOWN + 1
        assert attempts / len(runs) < 1
        for told in runs:
            assert "model.retried" not in told.facts
            assert told.facts.count("model.fell_back") == 1
        opened = [event for told in runs for event in told.of(CircuitOpened)]
        assert sorted(event.probe for event in opened) == [False] + [True] * (len(opened) - 1)
        # Probes keep their distance. (On a busy machine the server may see the first callers late, so that
        # arrivals do not tell which are probes; below they do.)
        times = sorted(event.at for event in opened)
        assert all(later - earlier >= COOLDOWN for earlier, later in itertools.pairwise(times))


@both_wires
@both_ways
async def test_a_primary_that_is_back_is_asked_within_the_cooldown(dialect: Dialect, streamed: bool) -> None:
    cooldown = 0.3
    async with outage(dialect, fails(503), fails(503), failure_threshold=2, cooldown=cooldown) as site:
        clock = asyncio.get_running_loop().time
        for _ in range(2):
            assert (await ask(site.agent, streamed)).answer == SECOND
        opened = site.primary.seen[1].at
        told = await ask(site.agent, streamed)
        asked = 3
        while told.answer == SECOND:
            assert told.facts == ["model.fell_back"]
            assert told.of(ModelFellBack)[0].error == CircuitOpen.code
            assert clock() < opened + cooldown + GENEROUS
            await asyncio.sleep(0.01)
            told = await ask(site.agent, streamed)
            asked += 1
        back = site.primary.seen[2].at
        # The breaker's clock is another one than the server's: they may differ by a tick.
        assert cooldown - 0.01 <= back - opened < cooldown + GENEROUS / 4
        assert (told.answer, told.facts) == (FIRST, ["circuit.probed", "circuit.closed"])
        assert site.asked == (3, asked - 1)
        later = [await ask(site.agent, streamed) for _ in range(3)]
        assert [each.facts for each in later] == [[]] * 3
        assert site.asked == (6, asked - 1)


@both_ways
async def test_a_primary_that_is_not_back_yet_is_left_alone_for_another_cooldown(streamed: bool) -> None:
    cooldown = 0.2
    async with outage(CHAT, *[fails(503)] * 3, failure_threshold=1, cooldown=cooldown) as site:
        async with asyncio.timeout(GENEROUS):
            runs = [await ask(site.agent, streamed)]
            while runs[-1].answer == SECOND:
                await asyncio.sleep(0.01)
                runs.append(await ask(site.agent, streamed))
        assert len(site.gaps) == 3
        assert all(gap >= cooldown - 0.01 for gap in site.gaps)
        opened = [event.probe for told in runs for event in told.of(CircuitOpened)]
        assert opened == [False, True, True]
        assert [told.answer for told in runs] == [SECOND] * (len(runs) - 1) + [FIRST]


@both_ways
async def test_of_many_callers_at_its_return_one_probes(streamed: bool) -> None:
    cooldown, go = 0.2, asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await go.wait()
        await answers(CHAT, FIRST)(exchange)

    async with outage(CHAT, fails(503), slow, failure_threshold=1, cooldown=cooldown) as site:
        assert (await ask(site.agent, streamed)).answer == SECOND
        async with asyncio.timeout(GENEROUS):
            running: set[asyncio.Task[Told]] = set()
            while len(site.primary.seen) < 2:  # Until somebody probes.
                running |= {asyncio.create_task(ask(site.agent, streamed)) for _ in range(5)}
                await asyncio.sleep(0.02)
            running |= {asyncio.create_task(ask(site.agent, streamed)) for _ in range(20)}
            while len(running) > 1:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                assert {each.result().answer for each in done} == {SECOND}
            assert len(site.primary.seen) == 2
            go.set()
            [probing] = running
            assert (await probing).answer == FIRST
            assert (await ask(site.agent, streamed)).answer == FIRST
