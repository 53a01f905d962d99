"""No event is forgotten: each exporter tells it, or says that it does not; and none tells a secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.errors import AgentFootprintError, Overloaded
from agentfootprint.events import CATALOGUE, Event, RunEnded, RunFailed, RunPaused, RunResumed, RunStarted
from agentfootprint.memory import InMemoryStore, Memory, Window
from agentfootprint.observe import logging_observability, logs, prometheus_observability
from agentfootprint.observe.otel import spans
from agentfootprint.observe.prometheus import recorder as prometheus
from agentfootprint.observe.tiers import TIERS
from agentfootprint.providers import MockProvider
from agentfootprint.resilience import with_fallback, with_retry

from .otel.seen import Telemetry, everything
from .samples import AT, RUN, SAMPLES

SECRET = "sk-SENTINEL-4711"
TABLES: Mapping[str, Any] = {"otel": spans, "prometheus": prometheus, "logs": logs}
START = RunStarted(RUN, AT, None, "support", MemoryIdentity("acme"), "Hi")
END = next(sample for sample in SAMPLES if isinstance(sample, RunEnded))


@dataclass
class Exporter:
    """A recorder that tells everything, and all that it told as text."""

    recorder: Any
    told: Callable[[], str]


def otel() -> Exporter:
    telemetry = Telemetry({"tier": "everything"})

    def told() -> str:
        data = telemetry.reader.get_metrics_data()
        return everything(list(telemetry.exporter.get_finished_spans())) + (data.to_json() if data else "")

    return Exporter(telemetry.recorder, told)


def metrics() -> Exporter:
    recorder = prometheus_observability(CollectorRegistry(), tier="everything")
    return Exporter(recorder, lambda: recorder.exposition().decode())


def lines() -> Exporter:
    class Kept(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            own = {key: value for key, value in vars(record).items() if key not in _OF_THE_THREAD}
            self.lines.append(f"{record.getMessage()} {own}")

    kept = Kept()
    logger = logging.Logger("kept", logging.DEBUG)
    logger.addHandler(kept)
    return Exporter(logging_observability(logger, tier="everything"), lambda: "\n".join(kept.lines))


_OF_THE_THREAD = {"thread", "threadName", "taskName", "relativeCreated", "process", "processName"}

EXPORTERS: Mapping[str, Callable[[], Exporter]] = {"otel": otel, "prometheus": metrics, "logs": lines}


@pytest.mark.parametrize("name", TABLES)
def test_each_event_is_told_or_ignored_by_name(name: str) -> None:
    table = TABLES[name]
    told = [kind for tier in TIERS for kind in table.BY_TIER[tier]]
    assert len(told) == len(set(told))
    assert not set(told) & set(table.IGNORED)
    assert {*told, *table.IGNORED} == set(CATALOGUE.values())


def sequence(event: Event) -> list[Event]:
    """A run in which the event happens."""
    if isinstance(event, (RunStarted, RunResumed)):
        return [event, END]
    if isinstance(event, (RunEnded, RunPaused, RunFailed)):
        return [START, event]
    return [START, event, END]


async def told_of(exporter: Exporter, events: list[Event]) -> str:
    for event in events:
        if exporter.recorder.wants(type(event)):
            exporter.recorder.on_event(event)
    await exporter.recorder.flush()
    assert exporter.recorder.faults.failures == 0, exporter.recorder.faults.last_error
    return exporter.told()


@pytest.mark.parametrize("name", EXPORTERS)
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.type)
async def test_each_event_that_is_told_changes_what_is_told(name: str, sample: Event) -> None:
    if type(sample) in TABLES[name].IGNORED:
        assert not EXPORTERS[name]().recorder.wants(type(sample))
        return
    others = [event for event in sequence(sample) if event is not sample]
    with_it = await told_of(EXPORTERS[name](), sequence(sample))
    without = await told_of(EXPORTERS[name](), others)
    assert shape(with_it) != shape(without)
    assert shape(without) == shape(await told_of(EXPORTERS[name](), others))


def shape(text: str) -> str:
    """Without ids and times, which differ anyway."""
    kept = [
        line for line in text.splitlines() if not any(part in line for part in ('_id"', "time", "_created"))
    ]
    return "\n".join(kept)


async def test_no_exporter_tells_a_secret() -> None:
    """The secret is what the user says, the model asks for, a tool gets, returns, raises and reports, what a
    vendor's error quotes, what a store holds and what a person is asked."""

    @tool
    async def login(password: str) -> str:
        """Logs in."""
        return f"session {SECRET}"

    @tool
    async def broken(password: str) -> str:
        """Fails."""
        raise RuntimeError(f"cannot reach https://user:{password}@host")

    class Failing(InMemoryStore):
        async def put_many(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError(f"redis://:{SECRET}@host")

        async def put(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError(f"redis://:{SECRET}@host")

    exporters = [make() for make in EXPORTERS.values()]
    call = MockProvider.call
    failure = MockProvider.fail(Overloaded(f"key {SECRET} is over its quota"))
    first = MockProvider(replies=[failure, call("login", password=SECRET), *[failure] * 6])
    second = MockProvider(replies=[call("broken", password=SECRET), f"It is {SECRET}", failure])
    provider = with_fallback(with_retry(first, max_attempts=2, initial_delay=0.001, max_delay=0.001), second)
    memory = Memory("customer", scope="principal", strategy=Window(5), store=Failing())
    agent = Agent(
        provider,
        system=f"The key is {SECRET}",
        tools=[login, broken],
        memory=[memory],
        recorders=[exporter.recorder for exporter in exporters],
    )
    await agent.run(f"My password is {SECRET}", identity=MemoryIdentity("acme", "alice"))
    with pytest.raises(AgentFootprintError):
        await agent.run(f"Again, {SECRET}", identity=MemoryIdentity("acme", "alice"))
    for exporter in exporters:
        await exporter.recorder.flush()
        assert exporter.recorder.faults.failures == 0
        told = exporter.told()
        assert "memory" in told
        assert SECRET not in told
        assert SECRET not in json.dumps(told)
