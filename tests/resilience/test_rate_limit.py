"""Calls wait for their turn, or are told when it would come."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.errors import (
    ConfigurationError,
    Overloaded,
    RateLimitExceeded,
    StoreUnavailable,
    StreamTruncated,
)
from agentfootprint.events import Event, RateLimitWaited
from agentfootprint.messages import LLMRequest, LLMResponse, Message, Usage
from agentfootprint.providers import MockProvider
from agentfootprint.resilience import with_rate_limit
from agentfootprint.resilience.bucket import Bucket, BucketRules
from agentfootprint.state import InMemoryState, StateKey
from agentfootprint.testing import ManualClock
from tests.resilience.support import REQUEST, Ask, Scripted, both_ways, complete, stream


def limited(model: Any, **options: Any) -> tuple[Any, ManualClock, list[float], list[Event]]:
    """The provider with a limit whose waits pass at once on its own clock."""
    clock, waits, events = ManualClock(), list[float](), list[Event]()
    provider: Any = with_rate_limit(model, clock=clock, hook=events.append, **options)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    provider.sleep = sleep
    return provider, clock, waits, events


@pytest.fixture(params=["local", "shared"])
def state(request: pytest.FixtureRequest) -> InMemoryState | None:
    return InMemoryState() if request.param == "shared" else None


@both_ways
async def test_what_is_over_the_limit_waits_for_its_turn(ask: Ask, state: InMemoryState | None) -> None:
    provider, _, waits, events = limited(Scripted("ok"), requests=2, per=10, state=state)
    for _ in range(4):
        assert await ask(provider) == "ok"
    assert waits == pytest.approx([5, 5])
    assert all(isinstance(event, RateLimitWaited) for event in events)
    assert len(events) == 2


@both_ways
async def test_what_would_wait_too_long_is_told_when_to_come(ask: Ask, state: InMemoryState | None) -> None:
    model = Scripted("ok")
    provider, clock, _, _ = limited(model, requests=1, per=60, max_wait=1, state=state)
    await ask(provider)
    clock.advance(20)
    with pytest.raises(RateLimitExceeded, match=r"room in 40\.0 s") as caught:
        await ask(provider)
    assert caught.value.retry_after == pytest.approx(40)
    assert not caught.value.retryable
    assert model.asked == 1
    clock.advance(40)
    assert await ask(provider) == "ok"


async def test_unused_room_is_kept_for_one_interval_only() -> None:
    provider, clock, waits, _ = limited(Scripted("ok"), requests=2, per=10)
    clock.advance(10_000)
    for _ in range(3):
        await complete(provider)
    assert waits == pytest.approx([5])


@both_ways
async def test_tokens_are_corrected_by_the_usage(ask: Ask) -> None:
    response = LLMResponse("ok", usage=Usage(50, 50))

    def answer(request: LLMRequest) -> LLMResponse:
        return response

    provider, _, waits, _ = limited(MockProvider(respond=answer), tokens=1000, per=10, max_wait=60)
    request = LLMRequest((Message.user("x" * 400),), max_tokens=900)
    for _ in range(9):
        await provider.complete(request)  # Estimated at 1,000, but 100 were used.
    assert sum(waits) == pytest.approx(8 * 1.0, abs=0.01)


@both_ways
async def test_tokens_of_a_call_that_was_declined_are_given_back(ask: Ask) -> None:
    model = Scripted(*[Overloaded()] * 5, StreamTruncated(), "ok")
    provider, _, waits, _ = limited(model, tokens=300, per=60, max_wait=60)
    for _ in range(5):
        with pytest.raises(Overloaded):
            await ask(provider)
    with pytest.raises(StreamTruncated):
        await ask(provider)
    assert waits == []
    assert await ask(provider) == "ok"
    assert len(waits) == 1, "what was cut off may have been used"


async def test_every_tenant_has_a_limit_of_its_own() -> None:
    provider, _, waits, _ = limited(MockProvider(reply="ok"), requests=1, per=60, key="tenant", max_wait=0)
    agent = Agent(provider)
    for tenant in ("a", "b", None):
        await agent.run("Hello", identity=MemoryIdentity(tenant))
    await complete(with_rate_limit(MockProvider(reply="ok"), requests=1, key="tenant"))
    with pytest.raises(RateLimitExceeded):
        await agent.run("Hello", identity=MemoryIdentity("a"))
    assert waits == []


async def test_a_key_can_be_made_from_the_request() -> None:
    provider, _, _, _ = limited(
        Scripted("ok"), requests=1, max_wait=0, key=lambda request: request.messages[0].text[0]
    )
    await provider.complete(LLMRequest((Message.user("a"),)))
    await provider.complete(LLMRequest((Message.user("b"),)))
    with pytest.raises(RateLimitExceeded):
        await provider.complete(LLMRequest((Message.user("a again"),)))


async def test_a_cancelled_wait_takes_nothing() -> None:
    clock, waiting = ManualClock(), asyncio.Event()
    provider: Any = with_rate_limit(
        Scripted("ok"), requests=1, per=10, clock=clock, hook=lambda event: waiting.set()
    )
    await complete(provider)
    task = asyncio.create_task(provider.complete(REQUEST))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    clock.advance(10)
    waiting.clear()
    await complete(provider)
    assert not waiting.is_set()


async def test_instances_share_one_limit() -> None:
    state = InMemoryState()
    one, clock, _, _ = limited(Scripted("ok"), requests=1, per=60, max_wait=0, state=state)
    other = with_rate_limit(Scripted("ok"), requests=1, per=60, max_wait=0, state=state, clock=clock)
    await complete(one)
    with pytest.raises(RateLimitExceeded):
        await complete(other)


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 200)), max_size=50))
def test_in_no_interval_is_more_let_through_than_a_full_bucket_and_its_refill(
    script: list[tuple[float, float]],
) -> None:
    rules = BucketRules(requests=5, tokens=300, per=10)
    bucket, now, starts = rules.full, 1000.0, list[tuple[float, float]]()
    for passed, tokens in script:
        now += passed
        bucket, (granted, wait) = rules.take(bucket, now, tokens, max_wait=20)
        if granted:
            starts.append((now + max(0, wait), tokens))
        else:
            assert wait > 20
        assert Bucket.from_json(bucket.to_json()) == bucket
    for begin, _ in starts:
        inside = [tokens for start, tokens in starts if begin <= start < begin + 10]
        assert len(inside) <= 5 + 5 + 1


@pytest.mark.parametrize(
    "wrong", [{}, {"requests": 0}, {"requests": "3"}, {"tokens": -1}, {"requests": 1, "per": 0}]
)
def test_a_limit_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        with_rate_limit(Scripted("x"), **wrong)


@pytest.mark.parametrize("key", ["principal", None])
def test_a_key_that_names_nothing_is_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="'provider', 'tenant' or a function"):
        with_rate_limit(Scripted("x"), requests=1, key=key)


@both_ways
async def test_less_than_one_request_an_interval_is_a_limit_too(
    ask: Ask, state: InMemoryState | None
) -> None:
    provider, clock, _, _ = limited(Scripted("ok"), requests=0.5, per=60, state=state)
    assert await ask(provider) == "ok"
    clock.advance(60)
    with pytest.raises(RateLimitExceeded, match=r"room in 60\.0 s"):
        await ask(provider)
    clock.advance(60)
    assert await ask(provider) == "ok"


async def test_after_a_clock_went_back_the_room_goes_on_growing() -> None:
    provider, clock, _, _ = limited(Scripted("ok"), requests=1, per=60, max_wait=0)
    await complete(provider)
    clock.advance(-3600)
    with pytest.raises(RateLimitExceeded):
        await complete(provider)  # It refills nothing by itself.
    clock.advance(60)
    assert await complete(provider) == "ok"


async def test_a_tenants_name_may_be_as_long_as_names_may_be() -> None:
    provider = with_rate_limit(Scripted("ok"), requests=1, max_wait=0, key="tenant", state=InMemoryState())
    agent = Agent(provider)
    one, other = (MemoryIdentity("t" * 255 + last) for last in "ab")
    assert (await agent.run("Hi", identity=one)).output == "ok"
    assert (await agent.run("Hi", identity=other)).output == "ok"
    with pytest.raises(RateLimitExceeded):
        await agent.run("Hi", identity=one)


async def test_an_answer_is_not_lost_with_the_store_that_was_to_hear_of_it() -> None:
    class GoesDown(InMemoryState):
        down = False

        async def compare_and_set(self, *arguments: Any, **options: Any) -> Any:
            if self.down:
                raise StoreUnavailable("the state store cannot be reached")
            return await super().compare_and_set(*arguments, **options)

    state = GoesDown()

    def answer(request: LLMRequest) -> LLMResponse:
        state.down = True
        return LLMResponse("paid for", usage=Usage(1, 1))

    model = MockProvider(respond=answer)
    for ask in (complete, stream):
        state.down = False
        limit = with_rate_limit(model, tokens=10_000, state=state, fail_open=False)
        assert await ask(limit) == "paid for"


async def test_tokens_of_half_an_answer_are_not_given_back() -> None:
    provider, _, _, _ = limited(Scripted(["half", Overloaded()]), tokens=300, per=60, max_wait=0)
    with pytest.raises(Overloaded):
        await stream(provider)
    with pytest.raises(RateLimitExceeded):
        await stream(provider)


async def test_that_the_store_is_down_is_found_out_and_told_once_for_all_keys() -> None:
    class Silent(InMemoryState):
        asked = 0

        async def get(self, *arguments: Any, **options: Any) -> Any:
            Silent.asked += 1
            await asyncio.sleep(60)

    names = iter("abcdef")
    provider, _, _, events = limited(Scripted("ok"), requests=1, state=Silent(), key=lambda _: next(names))
    for _ in range(6):
        assert await complete(provider) == "ok"
    assert Silent.asked == 1
    assert [event.type for event in events] == ["state.degraded"]


async def test_a_record_that_cannot_be_read_is_that_of_one_key_alone() -> None:
    state = InMemoryState()
    await state.compare_and_set(StateKey(None, "rate-limit", "shared a"), None, {"version": 7})
    names = iter("aabb")
    options: Any = {"requests": 1, "max_wait": 0, "state": state, "name": "shared"}
    provider, _, _, events = limited(Scripted("ok"), key=lambda _: next(names), **options)
    assert await complete(provider) == "ok"
    assert [event.type for event in events] == ["state.degraded"]
    with pytest.raises(RateLimitExceeded):
        await complete(provider)  # By what this process knows.
    assert await complete(provider) == "ok"
    assert await state.get(StateKey(None, "rate-limit", "shared b")) is not None
