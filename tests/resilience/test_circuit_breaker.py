"""A provider that fails is left alone, plain and streamed alike."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.errors import (
    CircuitOpen,
    ConfigurationError,
    ContentFiltered,
    CostBudgetExceeded,
    InvalidRequest,
    RateLimited,
    RateLimitExceeded,
    StoreCorrupt,
    StoreUnavailable,
    StreamTruncated,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from agentfootprint.events import CircuitOpened, Event
from agentfootprint.resilience import with_circuit_breaker, with_retry
from agentfootprint.state import InMemoryState, SQLiteState, StateKey
from agentfootprint.testing import ManualClock
from tests.resilience.support import REQUEST, Ask, Scripted, both_ways, complete, stream, types


class CountingState(InMemoryState):
    """Counts what is written, and is down when told."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.down = False

    async def get(self, *arguments: Any, **options: Any) -> Any:
        if self.down:
            raise StoreUnavailable("the state store cannot be reached")
        return await super().get(*arguments, **options)

    async def compare_and_set(self, *arguments: Any, **options: Any) -> Any:
        if self.down:
            raise StoreUnavailable("the state store cannot be reached")
        self.writes += 1
        return await super().compare_and_set(*arguments, **options)


async def fails(ask: Ask, provider: Any, times: int, kind: type[Exception] = Unavailable) -> None:
    for _ in range(times):
        with pytest.raises(kind):
            await ask(provider)


@pytest.fixture(params=["local", "shared"])
def state(request: pytest.FixtureRequest) -> InMemoryState | None:
    return InMemoryState() if request.param == "shared" else None


@both_ways
async def test_it_opens_refuses_probes_and_closes(ask: Ask, state: InMemoryState | None) -> None:
    clock, events = ManualClock(), list[Event]()
    model = Scripted(Unavailable(), Unavailable(), "back", "well")
    provider = with_circuit_breaker(
        model, failure_threshold=2, cooldown=30, state=state, clock=clock, hook=events.append
    )
    await fails(ask, provider, 2)
    with pytest.raises(CircuitOpen) as caught:
        await ask(provider)
    assert caught.value.retry_after == pytest.approx(30)
    assert model.asked == 2
    clock.advance(30)
    assert await ask(provider) == "back"
    assert await ask(provider) == "well"
    assert types(events) == ["circuit.opened", "circuit.probed", "circuit.closed"]
    assert isinstance(events[0], CircuitOpened)
    assert (events[0].failures, events[0].cooldown, events[0].probe) == (2, 30, False)


@both_ways
@pytest.mark.parametrize("error", [RateLimited(), TimedOut(), StreamTruncated()])
async def test_what_the_provider_is_to_blame_for_counts(ask: Ask, error: Exception) -> None:
    provider = with_circuit_breaker(Scripted(error), failure_threshold=1)
    await fails(ask, provider, 1, type(error))
    await fails(ask, provider, 1, CircuitOpen)


@both_ways
@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest(),
        Unauthorized(),
        ContentFiltered(),
        CostBudgetExceeded(),
        CircuitOpen(),
        RateLimitExceeded(),
        ValueError(),
    ],
)
async def test_what_it_is_not_to_blame_for_does_not(ask: Ask, error: Exception) -> None:
    model = Scripted(*[error] * 5, "well")
    provider = with_circuit_breaker(model, failure_threshold=1)
    await fails(ask, provider, 5, type(error))
    assert await ask(provider) == "well"


@both_ways
async def test_failures_with_successes_between_do_not_open_it(ask: Ask, state: InMemoryState | None) -> None:
    model = Scripted(*[Unavailable(), "ok"] * 10)
    provider = with_circuit_breaker(model, failure_threshold=2, state=state)
    for _ in range(10):
        await fails(ask, provider, 1)
        assert await ask(provider) == "ok"


async def test_a_reader_that_has_the_last_chunk_need_not_come_back() -> None:
    model = Scripted(*[Unavailable(), "ok"] * 10)
    provider = with_circuit_breaker(model, failure_threshold=2)
    for _ in range(10):
        await fails(stream, provider, 1)
        async for chunk in provider.stream(REQUEST):
            if chunk.response is not None:
                break  # The generator is left as it stands.


async def test_a_probe_left_after_its_first_chunk_closes_the_circuit() -> None:
    clock = ManualClock()
    model = Scripted(Unavailable(), "a long answer", "well")
    provider = with_circuit_breaker(model, failure_threshold=1, cooldown=5, clock=clock)
    await fails(stream, provider, 1)
    clock.advance(5)
    chunks: Any = provider.stream(REQUEST)
    await anext(chunks)
    await chunks.aclose()
    assert model.closed == 1
    assert await stream(provider) == "well"


@both_ways
async def test_a_cancelled_probe_makes_room_for_the_next(ask: Ask, state: InMemoryState | None) -> None:
    clock, probing = ManualClock(), asyncio.Event()

    async def for_ever() -> None:
        probing.set()
        await asyncio.Event().wait()

    model = Scripted(Unavailable(), for_ever, "back")
    provider = with_circuit_breaker(model, failure_threshold=1, cooldown=5, clock=clock, state=state)
    await fails(ask, provider, 1)
    clock.advance(5)
    task = asyncio.create_task(ask(provider))
    await probing.wait()
    await fails(ask, provider, 1, CircuitOpen)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await ask(provider) == "back"


@both_ways
async def test_of_many_callers_one_probes(ask: Ask, state: InMemoryState | None) -> None:
    clock, go = ManualClock(), asyncio.Event()
    model = Scripted(Unavailable(), go.wait)
    provider = with_circuit_breaker(model, failure_threshold=1, cooldown=5, clock=clock, state=state)
    await fails(ask, provider, 1)
    clock.advance(5)
    tasks = [asyncio.create_task(ask(provider)) for _ in range(20)]
    done, _ = await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_EXCEPTION)
    while len(done) < 19:
        more, _ = await asyncio.wait(set(tasks) - done, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert all(isinstance(each.exception(), CircuitOpen) for each in done)
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert model.asked == 2


@both_ways
async def test_an_open_circuit_is_not_retried_against(ask: Ask) -> None:
    model = Scripted(Unavailable())
    provider = with_retry(with_circuit_breaker(model, failure_threshold=2), max_attempts=5, initial_delay=0)
    await fails(ask, provider, 1, CircuitOpen)
    assert model.asked == 2


@both_ways
async def test_a_closed_breakers_success_writes_nothing(ask: Ask) -> None:
    state = CountingState()
    provider = with_circuit_breaker(Scripted("ok"), state=state)
    for _ in range(10):
        await ask(provider)
    assert state.writes == 0


async def test_instances_share_what_they_know(tmp_path: Path) -> None:
    clock = ManualClock()
    async with SQLiteState(tmp_path / "a.db", clock=clock) as state:
        models = [Scripted(Unavailable(), Unavailable(), "back") for _ in range(2)]
        one, other = (
            with_circuit_breaker(each, failure_threshold=3, cooldown=5, state=state, clock=clock)
            for each in models
        )
        await fails(complete, one, 2)
        await fails(complete, other, 1)
        await fails(complete, one, 1, CircuitOpen)
        clock.advance(5)
        await fails(complete, other, 1)  # It probes, and fails.
        await fails(complete, one, 1, CircuitOpen)
        clock.advance(5)
        assert await complete(one) == "back"
        assert await complete(other) == "back"


async def test_while_the_store_is_down_it_goes_on_with_what_it_knows_and_says_so() -> None:
    state, events = CountingState(), list[Event]()
    model = Scripted(*[Unavailable()] * 3, "ok")
    provider: Any = with_circuit_breaker(model, failure_threshold=3, state=state, hook=events.append)
    provider._shared._retry_after = 0.0
    await fails(complete, provider, 1)
    state.down = True
    await fails(complete, provider, 2)
    await fails(complete, provider, 1, CircuitOpen)
    assert types(events) == ["state.degraded", "circuit.opened"]
    state.down = False
    assert await complete(provider) == "ok"  # The others know of one failure only.
    assert types(events)[2:] == ["state.recovered"]


async def test_it_can_be_told_to_refuse_while_the_store_is_down() -> None:
    state = CountingState()
    model = Scripted("ok")
    provider = with_circuit_breaker(model, state=state, fail_open=False)
    state.down = True
    await fails(complete, provider, 1, StoreUnavailable)
    assert model.asked == 0


@both_ways
async def test_a_rate_counts_successes_too(ask: Ask, state: InMemoryState | None) -> None:
    model = Scripted(*["ok"] * 6, *[Unavailable()] * 4, "never")
    provider = with_circuit_breaker(model, failure_rate=0.4, minimum_calls=10, state=state)
    for _ in range(6):
        await ask(provider)
    await fails(ask, provider, 4)
    await fails(ask, provider, 1, CircuitOpen)


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_threshold": 0},
        {"failure_threshold": "5"},
        {"cooldown": "30"},
        {"cooldown": 0},
        {"half_open_probes": 0},
        {"failure_rate": 1.5},
        {"window": -1},
    ],
)
def test_a_breaker_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        with_circuit_breaker(Scripted("x"), **wrong)


async def test_an_answer_is_not_lost_with_the_store_that_was_to_hear_of_it() -> None:
    state = CountingState()

    async def meanwhile_the_store_goes_down() -> None:
        state.down = True

    model = Scripted(Unavailable(), meanwhile_the_store_goes_down)
    provider = with_circuit_breaker(model, state=state, fail_open=False)
    await fails(complete, provider, 1)
    assert await complete(provider) == "late"


async def test_a_failure_is_the_providers_also_when_the_store_went_down_with_it() -> None:
    state = CountingState()

    async def both_go_down() -> None:
        state.down = True
        raise Unavailable("down")

    await fails(complete, with_circuit_breaker(Scripted(both_go_down), state=state, fail_open=False), 1)


@both_ways
async def test_successes_from_before_the_window_do_not_outweigh_an_outage(
    ask: Ask, state: InMemoryState | None
) -> None:
    clock = ManualClock()
    provider = with_circuit_breaker(
        Scripted(*["ok"] * 50, Unavailable()),
        failure_rate=0.5,
        minimum_calls=10,
        window=60,
        state=state,
        clock=clock,
    )
    for _ in range(50):
        assert await ask(provider) == "ok"
        clock.advance(10)
    clock.advance(60)
    await fails(ask, provider, 10)
    await fails(ask, provider, 1, CircuitOpen)


async def test_asked_from_several_threads_one_probes() -> None:
    async def a_while() -> None:
        await asyncio.sleep(0.3)

    def slow_clock() -> float:
        time.sleep(0.002)  # Threads change over while one decides.
        return time.time()

    model = Scripted(Unavailable(), a_while)
    provider = with_circuit_breaker(model, failure_threshold=1, cooldown=0.01, clock=slow_clock)
    await fails(complete, provider, 1)
    await asyncio.sleep(0.02)

    def elsewhere() -> str:
        try:
            return asyncio.run(complete(provider))
        except CircuitOpen:
            return "refused"

    answers = await asyncio.gather(*(asyncio.to_thread(elsewhere) for _ in range(6)))
    assert sorted(answers) == ["late", *["refused"] * 5]


async def test_what_counts_is_asked_about_errors_only() -> None:
    async def for_ever() -> None:
        await asyncio.sleep(60)

    def counts(error: BaseException) -> bool:
        return bool(getattr(error, "retryable"))  # noqa: B009

    provider = with_circuit_breaker(Scripted(for_ever), counts=counts)
    task = asyncio.create_task(complete(provider))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_record_that_cannot_be_read_stops_no_call() -> None:
    state, events = InMemoryState(), list[Event]()
    await state.compare_and_set(StateKey(None, "circuit", "shared"), None, {"version": 7})
    provider = with_circuit_breaker(Scripted("ok"), state=state, name="shared", hook=events.append)
    assert await complete(provider) == "ok"
    assert types(events) == ["state.degraded"]
    strict = with_circuit_breaker(Scripted("ok"), state=state, name="shared", fail_open=False)
    await fails(complete, strict, 1, StoreCorrupt)
