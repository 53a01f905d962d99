"""Which runs are told: those in trouble, the slow ones, and a share of the rest, each as a whole."""

from __future__ import annotations

import math
from typing import Any

import pytest

from agentfootprint import Agent
from agentfootprint.errors import ConfigurationError, Overloaded, ProviderError
from agentfootprint.events import Event, ModelStarted, RunEnded, RunStarted, StateDegraded, TextDelta
from agentfootprint.messages import Usage
from agentfootprint.observe import Sampling, sampled
from agentfootprint.providers import MockProvider


class Kept:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def wants(self, kind: type[Event]) -> bool:
        return kind is not ModelStarted

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


def run_of(recorder: Any, run_id: str, *, took: float = 1.0, middle: int = 1) -> None:
    recorder.on_event(RunStarted(run_id, 100.0, None, "a", None, "Hi"))
    for _ in range(middle):
        recorder.on_event(TextDelta(run_id, 100.5, "call_model#0", "x"))
    recorder.on_event(RunEnded(run_id, 100.0 + took, None, "completed", None, Usage(), None, took))


def test_a_share_of_ordinary_runs_is_kept_and_always_the_same() -> None:
    sampling = Sampling(rate=0.2)
    ids = [f"run-{number}" for number in range(2000)]
    kept = [each for each in ids if sampling.keeps(each, trouble=False, took=0.1)]
    assert 300 < len(kept) < 500
    assert kept == [each for each in ids if sampling.keeps(each, trouble=False, took=0.1)]
    more = Sampling(rate=0.5)
    assert all(more.keeps(each, trouble=False, took=0.1) for each in kept)


def test_trouble_and_slowness_are_kept_at_any_rate() -> None:
    sampling = Sampling(rate=0, slow=5)
    assert sampling.keeps("run", trouble=True, took=0.1)
    assert sampling.keeps("run", trouble=False, took=5)
    assert not sampling.keeps("run", trouble=False, took=4.9)
    assert not Sampling(rate=0, slow=None, errors=False).keeps("run", trouble=True, took=1e9)


@pytest.mark.parametrize("wrong", [{"rate": 1.1}, {"rate": -0.1}, {"rate": math.nan}, {"slow": 0}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Sampling(**wrong)  # type: ignore[arg-type]


async def test_a_run_is_told_as_a_whole_or_not_at_all() -> None:
    kept = Kept()
    recorder = sampled(kept, Sampling(rate=0))
    await Agent(MockProvider(reply="Yes"), recorders=[recorder]).run("Hi")
    assert kept.events == []
    assert recorder.unsampled == 1
    failing = Agent(MockProvider(replies=[MockProvider.fail(Overloaded("busy"))]), recorders=[recorder])
    with pytest.raises(ProviderError):
        await failing.run("Hi")
    assert kept.types[0] == "run.started"
    assert kept.types[-1] == "run.failed"
    assert "model.failed" in kept.types
    assert "model.started" not in kept.types  # Not wanted, so not told.


def test_what_is_of_no_run_is_told_at_once() -> None:
    kept = Kept()
    sampled(kept, Sampling(rate=0)).on_event(StateDegraded(None, 1.0, None, "breaker", "gone"))
    assert kept.types == ["state.degraded"]


def test_what_is_held_is_bounded_and_what_is_lost_counted() -> None:
    kept = Kept()
    recorder = sampled(kept, Sampling(), max_events=3, max_runs=2)
    run_of(recorder, "long", middle=10)
    assert kept.types == ["run.started", "model.text", "model.text", "run.ended"]
    assert recorder.dropped == 8
    for number in range(4):
        recorder.on_event(RunStarted(f"open-{number}", 1.0, None, "a", None, "Hi"))
    assert recorder.dropped == 10
    run_of(recorder, "open-0")
    assert kept.types.count("run.ended") == 2


async def test_an_async_recorder_gets_the_run_in_order() -> None:
    seen: list[str] = []

    class Slow:
        async def on_event(self, event: Event) -> None:
            seen.append(event.type)

    agent = Agent(MockProvider(reply="Yes"), recorders=[sampled(Slow(), Sampling())])
    await agent.run("Hi")
    await agent.aclose()
    assert seen[0] == "run.started"
    assert seen[-1] == "run.ended"


async def test_a_recorder_that_raises_is_counted() -> None:
    class Raising:
        def on_event(self, event: Event) -> None:
            raise ValueError("no")

    agent = Agent(MockProvider(reply="Yes"))
    handle = agent.attach(sampled(Raising(), Sampling()))
    assert (await agent.run("Hi")).output == "Yes"
    assert handle.failures > 0
