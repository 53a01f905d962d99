"""A chain of providers is one provider."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest

from agentfootprint.errors import (
    AllProvidersFailed,
    CircuitOpen,
    ConfigurationError,
    ContentFiltered,
    ContextWindowExceeded,
    CostBudgetExceeded,
    InvalidRequest,
    Overloaded,
    RateLimited,
    RateLimitExceeded,
    StreamTruncated,
    Unauthorized,
    Unavailable,
)
from agentfootprint.events import Event, ModelFellBack
from agentfootprint.providers import CountsTokens, HTTPAnthropicProvider, MockProvider, capabilities_of
from agentfootprint.providers.base import leaves
from agentfootprint.resilience import (
    fallback_provider,
    with_circuit_breaker,
    with_fallback,
    with_rate_limit,
    with_retry,
    with_timeout,
)
from tests.resilience.support import REQUEST, Ask, Scripted, both_ways


@both_ways
@pytest.mark.parametrize("error", [Unavailable("down"), CircuitOpen(), RateLimitExceeded(), Unauthorized()])
async def test_the_fallback_answers_what_the_primary_does_not(ask: Ask, error: Exception) -> None:
    events: list[Event] = []
    primary, fallback = Scripted(error, name="a"), Scripted("from b", name="b", model="b-1")
    assert await ask(with_fallback(primary, fallback, hook=events.append)) == "from b"
    [event] = events
    assert isinstance(event, ModelFellBack)
    assert (event.provider, event.to_provider, event.to_model) == ("a", "b", "b-1")


@both_ways
@pytest.mark.parametrize(
    "error",
    [InvalidRequest(), ContextWindowExceeded(), ContentFiltered(), CostBudgetExceeded(), ValueError()],
)
async def test_what_is_wrong_everywhere_is_the_primarys_own_error(ask: Ask, error: Exception) -> None:
    fallback = Scripted("never")
    with pytest.raises(type(error)) as caught:
        await ask(with_fallback(Scripted(error), fallback))
    assert caught.value is error
    assert fallback.asked == 0


@both_ways
async def test_when_all_fail_there_is_one_error_with_all_of_theirs(ask: Ask) -> None:
    first, second = Overloaded("busy", provider="a"), InvalidRequest("unknown model", provider="b")
    with pytest.raises(AllProvidersFailed, match=r"a: overloaded: busy; b: invalid_request") as caught:
        await ask(with_fallback(Scripted(first), Scripted(second)))
    assert caught.value.errors == (first, second)
    assert caught.value.retryable


@both_ways
async def test_what_is_to_fall_back_on_can_be_said(ask: Ask) -> None:
    chain = with_fallback(
        Scripted(ContextWindowExceeded()),
        Scripted("a longer window"),
        when=lambda error: isinstance(error, ContextWindowExceeded),
    )
    assert await ask(chain) == "a longer window"


async def test_a_stream_does_not_change_over_after_its_first_chunk() -> None:
    fallback = Scripted("again from the start")
    chain = with_fallback(Scripted(["half ", StreamTruncated()]), fallback)
    with pytest.raises(StreamTruncated):
        async for _ in chain.stream(REQUEST):
            pass
    assert fallback.asked == 0


@both_ways
async def test_retry_over_a_fallback_asks_the_chain_again(ask: Ask) -> None:
    a, b = Scripted(Unavailable(), Unavailable(), "a is back"), Scripted(Unavailable())
    chain = with_retry(with_fallback(a, b), initial_delay=0)
    assert await ask(chain) == "a is back"
    assert (a.asked, b.asked) == (3, 2)


async def test_a_reader_that_leaves_early_closes_the_stream_that_answers() -> None:
    a, b = Scripted(Unavailable()), Scripted("a long answer")
    chunks: Any = fallback_provider(a, b).stream(REQUEST)
    await anext(chunks)
    await chunks.aclose()
    assert b.closed == 1


def test_a_chain_promises_what_all_of_it_can_do() -> None:
    a, b = MockProvider(reply=""), MockProvider(reply="")
    b.capabilities = frozenset(("tools",))
    chain = fallback_provider(a, with_retry(b))
    assert capabilities_of(chain) == {"tools"}
    assert leaves(chain) == (a, b)


def test_a_chain_of_nobody_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        fallback_provider()


class Metered(Scripted):
    """One whose vendor limits it together with others of the same quota."""

    def __init__(self, *script: Any, quota: str) -> None:
        super().__init__(*script)
        self.quota = quota


@both_ways
async def test_who_was_told_to_wait_is_not_asked_under_another_name(ask: Ask) -> None:
    busy = RateLimited(retry_after=7.0)
    again, other = Metered("never", quota="a"), Metered("from another", quota="b")
    primary = with_retry(Metered(busy, quota="a"), max_attempts=1)
    assert await ask(fallback_provider(primary, again, other)) == "from another"
    assert again.asked == 0
    with pytest.raises(RateLimited) as caught:
        await ask(with_fallback(primary, again))
    assert caught.value.retry_after == 7.0, "so that a retry around them waits"


@both_ways
@pytest.mark.parametrize(
    ("error", "pauses"), [(Overloaded(), 1), (Unavailable(), 1), (CircuitOpen(retry_after=7.0), 0)]
)
async def test_who_was_not_told_to_wait_may_be_asked_once_more_but_not_at_once(
    ask: Ask, error: Exception, pauses: int
) -> None:
    chain: Any = with_fallback(Metered(error, quota="a"), Metered("well", quota="a"))
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    chain.sleep = sleep
    assert await ask(chain) == "well"
    assert len(waited) == pauses


async def test_a_stack_closes_every_provider_under_it() -> None:
    class Held(MockProvider):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    held = [Held(reply="a"), Held(reply="b")]
    with_nothing = Scripted("from c")
    async with with_retry(fallback_provider(with_timeout(held[0]), held[1], with_nothing)) as stack:
        assert (await stack.complete(REQUEST)).text == "a"
        assert [each.closed for each in held] == [0, 0]
    assert [each.closed for each in held] == [1, 1]


def test_decorators_do_not_promise_to_count_tokens() -> None:
    counts = HTTPAnthropicProvider("claude-sonnet-4-5", api_key="sk-ant-0000000000")
    assert "token_counting" in capabilities_of(counts)
    for provider in (with_retry(counts), with_fallback(counts, counts)):
        assert not isinstance(provider, CountsTokens)
        assert "token_counting" not in capabilities_of(provider)


def test_a_provider_may_tell_its_capabilities_as_any_set() -> None:
    mine: Any = Scripted("x")
    mine.capabilities = {"tools"}
    assert capabilities_of(with_fallback(mine, MockProvider(reply=""))) == {"tools"}


@pytest.mark.parametrize(
    "decorate",
    [
        with_retry,
        with_circuit_breaker,
        with_timeout,
        partial(with_rate_limit, requests=1),
        fallback_provider,
        partial(with_fallback, Scripted("x")),
    ],
)
def test_what_is_no_provider_is_refused_where_it_is_given(decorate: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"make one with MockProvider\(\.\.\.\)"):
        decorate(MockProvider)
    with pytest.raises(ConfigurationError, match=r"must have complete\(\) and stream\(\), NoneType has not"):
        decorate(None)


def test_a_list_of_providers_is_told_how_to_be_given() -> None:
    providers: Any = [Scripted("x"), Scripted("y")]
    with pytest.raises(ConfigurationError, match=r"fallback_provider\(\*providers\)"):
        fallback_provider(providers)


def test_the_error_of_a_chain_travels_between_processes() -> None:
    failed = AllProvidersFailed([Overloaded("busy", provider="a"), Unauthorized("no")], retry_after=7)
    back = copy.copy(failed)  # As pickle does it.
    assert (str(back), back.retry_after, back.retryable) == (str(failed), 7, True)
    assert [type(error) for error in back.errors] == [Overloaded, Unauthorized]
