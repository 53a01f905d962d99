"""The other wires, and the vendors' SDKs, under the same stack: what the transport adds or hides."""

from __future__ import annotations

import asyncio

import pytest

from agentfootprint.errors import ProviderError
from agentfootprint.events import ModelFellBack, ModelRetried, TextDelta
from agentfootprint.messages import LLMRequest, Message
from agentfootprint.providers.base import leaves
from tests.providers.dialects import Dialect
from tests.providers.server import stays_silent, streams
from tests.resilience.outages.faults import AFTER, BEFORE, LIMIT, Fault, beginning, fails
from tests.resilience.outages.site import (
    BY_NAME,
    FIRST,
    GENEROUS,
    QUESTION,
    SECOND,
    alone,
    answers,
    ask,
    both_ways,
    left,
    outage,
)

every_transport = pytest.mark.parametrize(
    "dialect",
    [BY_NAME[name] for name in ("anthropic", "chat", "responses", "http-responses")],
    ids=lambda each: each.name,
)

# SDKs follow redirects by themselves, and find the page. They read the explanation of an error themselves as
# well, and do not tell the status of one that breaks off: it is survived, under a less telling name.
_BREAKS_OFF = "503, its explanation broken off"
AT_ONCE = [fault for fault in BEFORE if not fault.limits and "redirect" not in fault.name]
IN_TIME = [fault for fault in BEFORE if fault.limits]
CUTS = [fault for fault in AFTER if not fault.limits]


@every_transport
@both_ways
async def test_every_failure_before_the_first_token_is_survived(dialect: Dialect, streamed: bool) -> None:
    scripts = [fault.script(dialect) for fault in AT_ONCE]
    async with outage(dialect, *scripts, failure_threshold=99) as site:
        for n, fault in enumerate(AT_ONCE, 1):
            told = await ask(site.agent, streamed)
            assert (told.answer, told.facts) == (SECOND, ["model.fell_back"]), fault.name
            hidden = fault.name == _BREAKS_OFF and not dialect.name.startswith("http")
            code = "unavailable" if hidden else fault.codes(streamed)
            assert told.of(ModelFellBack)[0].error == code, fault.name
            assert site.asked == (n, n), f"{fault.name}: the SDK asked again by itself"


@every_transport
@both_ways
async def test_a_limit_of_time_closes_the_connection(dialect: Dialect, streamed: bool) -> None:
    async def one(fault: Fault) -> None:
        well = answers(dialect, FIRST)
        async with outage(dialect, well, fault.script(dialect), failure_threshold=1, **fault.limits) as site:
            # An SDK takes its time to load and to make a client: that is not what is measured.
            await leaves(site.provider)[0].complete(LLMRequest((Message.user(QUESTION),)))
            told = await ask(site.agent, streamed)
            assert (told.answer, site.asked) == (SECOND, (2, 1))
            assert told.of(ModelFellBack)[0].error == "timed_out"
            assert LIMIT <= await left(site.primary.seen[1]) - told.begun < LIMIT + GENEROUS

    await asyncio.gather(*map(one, IN_TIME))


@every_transport
async def test_every_failure_after_the_first_token_is_told(dialect: Dialect) -> None:
    scripts = [fault.script(dialect) for fault in CUTS]
    async with outage(dialect, *scripts, failure_threshold=99) as site:
        for n, fault in enumerate(CUTS, 1):
            told = await ask(site.agent, True)
            assert isinstance(told.error, ProviderError)
            assert (told.error.code, told.text, told.facts) == (fault.code, FIRST[:8], []), fault.name
            assert site.asked == (n, 0)


@every_transport
@both_ways
async def test_the_vendors_word_about_waiting_is_kept(dialect: Dialect, streamed: bool) -> None:
    async with outage(dialect, fails(429, retry_after_ms="300", retry_after="1"), stack=alone) as site:
        told = await ask(site.agent, streamed)
        assert (told.answer, site.asked, told.facts) == (FIRST, (2, 0), ["model.retried"])
        assert 0.3 <= site.gaps[0] < 0.3 + GENEROUS
        assert told.of(ModelRetried)[0].error == "rate_limited"


@every_transport
@both_ways
@pytest.mark.parametrize("status", [400, 401])
async def test_a_refusal_is_told_at_once(dialect: Dialect, streamed: bool, status: int) -> None:
    async with outage(dialect, fails(status), stack=alone) as site:
        told = await ask(site.agent, streamed)
        assert isinstance(told.error, ProviderError)
        assert (told.error.status, site.asked, told.facts) == (status, (1, 0), [])


@every_transport
async def test_a_reader_who_leaves_closes_the_connection(dialect: Dialect) -> None:
    script = streams(beginning(dialect), 100_000, stays_silent)
    async with outage(dialect, script, failure_threshold=1) as site:
        async with site.agent.stream(QUESTION) as run:
            async for event in run:
                if isinstance(event, TextDelta):
                    break
        at = asyncio.get_running_loop().time()
        assert await left(site.primary.seen[0]) - at < GENEROUS / 4
        assert (await ask(site.agent, True)).answer == FIRST
