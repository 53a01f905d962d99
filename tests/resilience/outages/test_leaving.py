"""A reader who leaves, or a caller who cancels: the connection closes at once, and nobody is blamed."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from agentfootprint import Agent
from agentfootprint.events import Event, TextDelta
from agentfootprint.messages import LLMRequest, Message
from agentfootprint.providers import HTTPAnthropicProvider, HTTPOpenAIProvider, LLMProvider
from agentfootprint.resilience import (
    RetryBudget,
    with_circuit_breaker,
    with_fallback,
    with_retry,
    with_timeout,
)
from tests.providers.dialects import KEY, Dialect
from tests.providers.server import Exchange, Script, beats, either, stays_silent, streams, trickles
from tests.resilience.outages.faults import beginning, fails
from tests.resilience.outages.site import (
    ANTHROPIC,
    FIRST,
    GENEROUS,
    QUESTION,
    SECOND,
    Site,
    ask,
    both_ways,
    both_wires,
    left,
    outage,
)

AT_ONCE = 2.0
"""Seconds: what a busy machine may take for what takes a millisecond; the limits of the stack are longer."""


def watchful(budget: RetryBudget, cooldown: float = 60.0) -> Any:
    """A stack that a single failure would change: the breaker opens, the bucket of retries runs dry."""

    def stack(primary: LLMProvider, secondary: LLMProvider) -> LLMProvider:
        timed = with_timeout(primary, first_token=GENEROUS, idle=GENEROUS, total=2 * GENEROUS)
        guarded = with_circuit_breaker(timed, failure_threshold=1, cooldown=cooldown)
        return with_retry(with_fallback(guarded, secondary), budget=budget)

    return stack


def one_token() -> RetryBudget:
    return RetryBudget(capacity=1)


async def nobody_is_blamed(site: Site, budget: RetryBudget, events: list[Event], streamed: bool) -> None:
    """The next request goes to the primary, and there still is a token for a retry."""
    before = len(site.primary.seen)
    told = await ask(site.agent, streamed)
    assert (told.answer, len(site.primary.seen)) == (FIRST, before + 1)
    assert not [event.type for event in events if event.type.startswith(("circuit.", "model.retried"))]
    assert await budget.take()


class Arrivals:
    """Says when the server has the request; then goes on with a script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.arrived = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        self.arrived.set()
        await self._script(exchange)


async def cancelled(
    agent: Agent[Any, str], streamed: bool, moment: asyncio.Event
) -> tuple[float, list[Event]]:
    """A run that is cancelled at a moment: when, and its events."""
    events: list[Event] = []
    handle = agent.on("*", events.append)
    task = asyncio.create_task(_run(agent, streamed))
    await asyncio.wait_for(moment.wait(), GENEROUS)
    at = asyncio.get_running_loop().time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    handle.detach()
    return at, events


async def _run(agent: Agent[Any, str], streamed: bool) -> None:
    if not streamed:
        await agent.run(QUESTION)
        return
    async with agent.stream(QUESTION) as run:
        async for _ in run:
            pass


@both_wires
@pytest.mark.parametrize("end", [stays_silent, beats], ids=["silence", "heartbeats"])
async def test_a_reader_who_leaves_after_the_first_words(dialect: Dialect, end: Script) -> None:
    budget = one_token()
    script = streams(beginning(dialect), 100_000, end)
    async with outage(dialect, script, stack=watchful(budget)) as site:
        events: list[Event] = []
        async with site.agent.stream(QUESTION) as run:
            async for event in run:
                events.append(event)
                if isinstance(event, TextDelta):
                    break
            at = asyncio.get_running_loop().time()
        assert 0 <= await left(site.primary.seen[0]) - at < AT_ONCE
        assert site.asked == (1, 0)
        await nobody_is_blamed(site, budget, events, True)


@both_wires
async def test_who_reads_the_stack_itself_may_leave_as_well(dialect: Dialect) -> None:
    budget = one_token()
    script = streams(beginning(dialect), 100_000, stays_silent)
    async with outage(dialect, script, stack=watchful(budget)) as site:
        chunks: Any = site.provider.stream(LLMRequest((Message.user(QUESTION),)))
        async for chunk in chunks:
            if chunk.text:
                break
        at = asyncio.get_running_loop().time()
        await chunks.aclose()
        assert 0 <= await left(site.primary.seen[0]) - at < AT_ONCE
        await nobody_is_blamed(site, budget, [], True)


@both_wires
@both_ways
@pytest.mark.parametrize("script", ["nothing came", "heartbeats came", "half came"])
async def test_a_caller_who_cancels_while_the_model_is_awaited(
    dialect: Dialect, streamed: bool, script: str
) -> None:
    budget = one_token()
    arrivals = Arrivals(
        {
            "nothing came": stays_silent,
            "heartbeats came": either(trickles, streams([], then=beats)),
            "half came": either(trickles, streams(beginning(dialect), 100_000, stays_silent)),
        }[script]
    )
    async with outage(dialect, arrivals, stack=watchful(budget)) as site:
        at, events = await cancelled(site.agent, streamed, arrivals.arrived)
        assert 0 <= await left(site.primary.seen[0]) - at < AT_ONCE
        assert site.asked == (1, 0)
        await nobody_is_blamed(site, budget, events, streamed)


@both_wires
@both_ways
async def test_a_caller_who_cancels_while_a_retry_is_awaited(dialect: Dialect, streamed: bool) -> None:
    waiting = asyncio.Event()

    def stack(primary: LLMProvider, secondary: LLMProvider) -> LLMProvider:
        return with_retry(primary, hook=lambda event: waiting.set())

    async with outage(dialect, fails(503, retry_after="30"), stack=stack) as site:
        at, _ = await cancelled(site.agent, streamed, waiting)
        assert asyncio.get_running_loop().time() - at < AT_ONCE
        assert site.asked == (1, 0)
        assert (await ask(site.agent, streamed)).answer == FIRST


@both_wires
@both_ways
async def test_a_caller_who_cancels_while_the_secondary_answers(dialect: Dialect, streamed: bool) -> None:
    arrivals = Arrivals(stays_silent)
    async with outage(dialect, fails(503), secondary=[arrivals], failure_threshold=9) as site:
        at, events = await cancelled(site.agent, streamed, arrivals.arrived)
        assert 0 <= await left(site.secondary.seen[0]) - at < AT_ONCE
        assert site.asked == (1, 1)
        assert [event.type for event in events if event.type.startswith(("model.re", "model.gave"))] == []


async def _either(task: asyncio.Task[None], event: asyncio.Event) -> bool:
    """Waits until the task has ended or the event was set; whether it was."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return event.is_set()


@both_wires
@both_ways
async def test_a_probe_that_is_cancelled_leaves_room_for_the_next(dialect: Dialect, streamed: bool) -> None:
    budget, arrivals = RetryBudget(), Arrivals(stays_silent)
    async with outage(dialect, fails(503), arrivals, stack=watchful(budget, cooldown=0.2)) as site:
        assert (await ask(site.agent, streamed)).answer == SECOND
        probing = asyncio.create_task(_run(site.agent, streamed))
        async with asyncio.timeout(GENEROUS):
            while not await _either(probing, arrivals.arrived):
                await probing  # It was not let through yet.
                probing = asyncio.create_task(_run(site.agent, streamed))
        # Others are not let through while somebody probes; when nobody does any more, the next one may.
        assert (await ask(site.agent, streamed)).answer == SECOND
        probing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probing
        told = await ask(site.agent, streamed)
        assert (told.answer, told.facts) == (FIRST, ["circuit.probed", "circuit.closed"])


@both_wires
@both_ways
async def test_requests_that_were_cancelled_hold_no_connection(dialect: Dialect, streamed: bool) -> None:
    kind: Any = HTTPAnthropicProvider if dialect is ANTHROPIC else HTTPOpenAIProvider
    limits = httpx2.Limits(max_connections=2)
    arrivals = [Arrivals(stays_silent) for _ in range(8)]
    async with httpx2.AsyncClient(limits=limits, timeout=GENEROUS, trust_env=False) as client:

        def provider(url: str) -> Any:
            path = "" if dialect is ANTHROPIC else "/v1"
            return kind("model", api_key=KEY, base_url=url + path, client=client)

        async with outage(dialect, *arrivals, provider=provider, failure_threshold=1) as site:
            for each in arrivals:
                at, _ = await cancelled(site.agent, streamed, each.arrived)
                assert await left(site.primary.seen[-1]) - at < AT_ONCE
            told = await ask(site.agent, streamed)
            assert (told.answer, site.asked, told.facts) == (FIRST, (len(arrivals) + 1, 0), [])


@both_wires
async def test_answers_that_were_left_half_read_hold_no_connection(dialect: Dialect) -> None:
    kind: Any = HTTPAnthropicProvider if dialect is ANTHROPIC else HTTPOpenAIProvider
    half = streams(beginning(dialect), 100_000, stays_silent)
    limits = httpx2.Limits(max_connections=1)
    async with httpx2.AsyncClient(limits=limits, timeout=GENEROUS, trust_env=False) as client:

        def provider(url: str) -> Any:
            path = "" if dialect is ANTHROPIC else "/v1"
            return kind("model", api_key=KEY, base_url=url + path, client=client)

        async with outage(dialect, *[half] * 8, provider=provider, failure_threshold=1) as site:
            for _ in range(8):
                async with site.agent.stream(QUESTION) as run:
                    async for event in run:
                        if isinstance(event, TextDelta):
                            break
            assert (await ask(site.agent, True)).answer == FIRST
