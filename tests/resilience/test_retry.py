"""What passes by itself is asked again, plain and streamed alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfootprint import Agent
from agentfootprint.errors import (
    AgentFootprintError,
    AllProvidersFailed,
    CircuitOpen,
    ConfigurationError,
    CostBudgetExceeded,
    Overloaded,
    RateLimited,
    StreamTruncated,
    Unauthorized,
    Unavailable,
)
from agentfootprint.events import Event, ModelGaveUp, ModelRetried
from agentfootprint.messages import LLMChunk, LLMRequest, LLMResponse
from agentfootprint.providers import LLMProvider, MockProvider
from agentfootprint.providers.attempts import gate
from agentfootprint.resilience import (
    GiveUp,
    RetryBudget,
    RetryPolicy,
    with_circuit_breaker,
    with_retry,
)
from agentfootprint.resilience.retry import Retrying
from agentfootprint.state import InMemoryState
from tests.resilience.support import REQUEST, Ask, Scripted, both_ways, complete, stream, types


def retrying(provider: LLMProvider, **options: Any) -> tuple[Retrying, list[float], list[Event]]:
    """The provider with retries that wait in no time, the waits asked for, and the events."""
    events: list[Event] = []
    waits: list[float] = []
    made = with_retry(provider, hook=events.append, **options)
    assert isinstance(made, Retrying)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    made.sleep = sleep
    made.chance = lambda: 0.5
    return made, waits, events


@both_ways
async def test_an_error_that_may_pass_is_retried_until_it_did(ask: Ask) -> None:
    model = Scripted(Overloaded(provider="scripted"), Unavailable(), "all well")
    provider, waits, events = retrying(model)
    assert await ask(provider) == "all well"
    assert model.asked == 3
    assert waits == [0.25, 0.5]
    assert [type(event) for event in events] == [ModelRetried, ModelRetried]
    assert isinstance(events[0], ModelRetried)
    assert (events[0].provider, events[0].attempt, events[0].error) == ("scripted", 1, "overloaded")


@both_ways
async def test_the_last_error_is_raised_after_the_last_attempt(ask: Ask) -> None:
    model = Scripted(Unavailable("first"), Unavailable("second"))
    provider, _, events = retrying(model, max_attempts=2)
    with pytest.raises(Unavailable, match="second"):
        await ask(provider)
    assert model.asked == 2
    assert types(events) == ["model.retried", "model.gave_up"]
    assert isinstance(events[1], ModelGaveUp)
    assert (events[1].reason, events[1].attempts) == ("attempts", 2)


@both_ways
@pytest.mark.parametrize(
    "error",
    [
        Unauthorized(),
        CircuitOpen(retry_after=0.01),
        CostBudgetExceeded(),
        ValueError(),
        AllProvidersFailed([]),
    ],
)
async def test_what_does_not_pass_by_itself_is_asked_once(ask: Ask, error: Exception) -> None:
    model = Scripted(error, "never")
    provider, _, events = retrying(model)
    with pytest.raises(type(error)):
        await ask(provider)
    assert (model.asked, events) == (1, [])


@both_ways
async def test_the_wait_that_the_vendor_asked_for_is_a_minimum(ask: Ask) -> None:
    model = Scripted(RateLimited(retry_after=7.0), "ok")
    provider, waits, _ = retrying(model)
    assert await ask(provider) == "ok"
    [wait] = waits
    assert 7.0 <= wait <= 7.7


@both_ways
async def test_a_vendor_that_says_now_is_not_asked_without_a_pause(ask: Ask) -> None:
    model = Scripted(Unavailable(retry_after=0.0), Unavailable(retry_after=0.01), "ok")
    provider, waits, _ = retrying(model)
    assert await ask(provider) == "ok"
    assert waits == [0.25, 0.5]


@both_ways
async def test_a_longer_wait_than_is_reasonable_ends_it_at_once(ask: Ask) -> None:
    model = Scripted(RateLimited(retry_after=3600.0), "never")
    provider, waits, events = retrying(model)
    with pytest.raises(RateLimited):
        await ask(provider)
    assert (model.asked, waits) == (1, [])
    assert isinstance(events[0], ModelGaveUp)
    assert events[0].reason == "retry_after"


async def test_a_stream_is_never_retried_after_its_first_chunk() -> None:
    model = Scripted(["half an ", StreamTruncated("cut")], "a second answer")
    provider, _, events = retrying(model)
    read = ""
    with pytest.raises(StreamTruncated):  # noqa: PT012 - the loop is what raises
        async for chunk in provider.stream(REQUEST):
            read += chunk.text
    assert (read, model.asked, events) == ("half an ", 1, [])


async def test_a_reader_that_leaves_early_closes_the_innermost_stream() -> None:
    model = Scripted("a long answer")
    provider, _, events = retrying(model)
    chunks: Any = provider.stream(REQUEST)
    await anext(chunks)
    await chunks.aclose()
    assert (model.closed, events) == (1, [])


async def test_a_cancelled_wait_makes_no_further_attempt() -> None:
    waiting = asyncio.Event()
    model = Scripted(Unavailable(), "never")
    provider = with_retry(model, initial_delay=60, hook=lambda event: waiting.set())
    task = asyncio.create_task(provider.complete(REQUEST))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.asked == 1


async def test_during_an_outage_hardly_anything_is_asked_twice() -> None:
    model = Scripted(Unavailable())
    provider, _, events = retrying(model, budget=RetryBudget(capacity=5))
    for _ in range(100):
        with pytest.raises(Unavailable):
            await provider.complete(REQUEST)
    assert model.asked == 105
    assert sum(isinstance(e, ModelGaveUp) and e.reason == "retry_budget" for e in events) >= 95


async def test_requests_that_succeed_fill_the_budget_again() -> None:
    budget = RetryBudget(capacity=1, ratio=0.5)
    assert await budget.take()
    assert not await budget.take()
    await budget.succeeded()
    assert not await budget.take()
    await budget.succeeded()
    assert await budget.take()


async def test_a_further_attempt_needs_the_consent_of_who_pays() -> None:
    model = Scripted(Unavailable(), "never")
    provider, _, _ = retrying(model)
    asked: list[LLMProvider] = []

    async def refuse(provider: LLMProvider, request: LLMRequest, failed: Exception) -> None:
        assert isinstance(failed, Unavailable)
        asked.append(provider)
        raise CostBudgetExceeded("nothing is left")

    token = gate.set(refuse)
    try:
        with pytest.raises(CostBudgetExceeded):
            await provider.complete(REQUEST)
    finally:
        gate.reset(token)
    assert (model.asked, asked) == (1, [model])


class Silencing:
    """A wrapper of somebody who knows nothing of events."""

    name = model = "mine"

    def __init__(self, inner: LLMProvider) -> None:
        self.inner = inner

    async def complete(self, request: LLMRequest) -> LLMResponse:
        return await self.inner.complete(request)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        async for chunk in self.inner.stream(request):
            yield chunk


@pytest.mark.parametrize("streamed", [False, True])
async def test_in_a_run_the_facts_reach_its_journal_and_its_listeners(streamed: bool) -> None:
    model = MockProvider(replies=[MockProvider.fail(Unavailable("down")), "Good morning."])
    agent = Agent(Silencing(with_retry(model, initial_delay=0)))
    seen: list[ModelRetried] = []
    agent.on(ModelRetried, seen.append)
    if streamed:
        async with agent.stream("Hello") as run:
            async for _ in run:
                pass
        result = run.result
    else:
        result = await agent.run("Hello")
    assert result.output == "Good morning."
    [event] = seen
    assert (event.run_id, event.step, event.message) == (result.run_id, "call_model#0", "down")
    step = next(each for each in result.footprint.steps if each.id == "call_model#0")
    assert [told.name for told in step.events] == ["model.retried"]
    replayed = await agent.replay(result.footprint)
    assert replayed["output"] == "Good morning."
    assert len(model.requests) == 2


async def test_outside_a_run_the_hook_hears_it() -> None:
    provider, _, events = retrying(Scripted(Unavailable(), "ok"))
    await complete(provider)
    assert [(event.run_id, event.step) for event in events] == [(None, None)]


async def test_a_hook_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("no")

    provider = with_retry(Scripted(Unavailable(), "ok"), initial_delay=0, hook=broken)
    assert await stream(provider) == "ok"
    assert "RuntimeError" in caplog.text


# ── the policy ──────────────────────────────────────────────────────────────────────────────────


@given(
    attempt=st.integers(1, 2000),
    elapsed=st.floats(0, 1000),
    chance=st.floats(0, 1, exclude_max=True),
    asked=st.none() | st.floats(0, 100),
)
def test_a_wait_keeps_within_all_its_bounds(
    attempt: int, elapsed: float, chance: float, asked: float | None
) -> None:
    policy = RetryPolicy(
        max_attempts=1000, initial_delay=0.5, max_delay=30, max_total=120, max_retry_after=60
    )
    wait = policy.next_delay(Unavailable(retry_after=asked), attempt, elapsed, lambda: chance)
    if attempt >= 1000:
        assert wait == GiveUp("attempts")
    elif asked is not None and asked > 60:
        assert wait == GiveUp("retry_after")
    elif not isinstance(wait, GiveUp):
        assert wait is not None
        assert elapsed + wait <= 120
        if asked is None:
            assert 0 <= wait <= min(30, 0.5 * 2 ** min(attempt - 1, 64))
        else:
            assert asked <= wait <= max(asked * 1.1, min(30, 0.5 * 2 ** min(attempt - 1, 64)))
    else:
        assert wait == GiveUp("time")


async def test_one_policy_serves_everything_that_is_tried_again() -> None:
    tries = 0

    async def flaky() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ConnectionError
        return "stored"

    policy = RetryPolicy(initial_delay=0, retry_if=lambda error: isinstance(error, ConnectionError))
    assert await policy.run(flaky) == "stored"
    assert tries == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": "3"},
        {"max_delay": None},
        {"initial_delay": "1"},
        {"initial_delay": -1},
        {"multiplier": 0.5},
        {"max_total": float("nan")},
    ],
)
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        RetryPolicy(**wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"policy": RetryPolicy(), "max_attempts": 5}, "says all of it"),
        ({"policy": 5}, "must be a RetryPolicy"),
        ({"budget": 0.2}, "must be a RetryBudget"),
        ({"max_attempts": 0}, "max_attempts"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        with_retry(Scripted("x"), **wrong)


@pytest.mark.parametrize("state", ["redis://localhost", InMemoryState, object()])
def test_a_state_that_is_none_is_refused_where_it_is_given(state: Any) -> None:
    for make in (
        lambda: RetryBudget(state=state),
        lambda: with_circuit_breaker(Scripted("x"), state=state),
        lambda: Agent(Scripted("x"), state=state),
    ):
        with pytest.raises(ConfigurationError, match="no StateStore"):
            make()


def test_a_chain_may_be_retried_if_any_of_its_errors_may() -> None:
    open_one = CircuitOpen(retry_after=20)
    both: AgentFootprintError = AllProvidersFailed([open_one, Unavailable()])
    assert isinstance(both, AllProvidersFailed)
    assert both.retryable
    assert both.retry_after is None
    assert not AllProvidersFailed([open_one, Unauthorized()]).retryable
    assert AllProvidersFailed([open_one, RateLimited(retry_after=3)]).retry_after == 3


async def test_a_reader_that_leaves_while_the_budget_is_told_closes_the_stream() -> None:
    asked = asyncio.Event()

    class Slow(InMemoryState):
        async def get(self, *arguments: Any, **options: Any) -> Any:
            asked.set()
            await asyncio.sleep(60)

    budget = RetryBudget(state=Slow())
    assert await budget.take()  # The store is left alone for a while now, and then asked again.
    asked.clear()
    model = Scripted("a long answer")
    await asyncio.sleep(1.01)
    chunks: Any = with_retry(model, budget=budget).stream(REQUEST)
    task = asyncio.ensure_future(anext(chunks))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.closed == 1
