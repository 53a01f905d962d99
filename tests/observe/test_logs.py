"""Runs in the log: with the ids that lead back to the run, its step and its trace, and without secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from agentfootprint import Agent, MemoryIdentity, tool
from agentfootprint.errors import ConfigurationError, Overloaded, ProviderError
from agentfootprint.observe import logging_observability, otel_observability, structlog_observability
from agentfootprint.observe.logs import LogRecorder
from agentfootprint.providers import MockProvider

call = MockProvider.call
SECRET = "sk-SENTINEL-4711"
ALICE = MemoryIdentity("acme", "alice", "t-42")


@tool
async def lookup(order_id: str) -> str:
    """Looks an order up."""
    return f"shipped\n{SECRET}"


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def text(self) -> str:
        return "\n".join(f"{record.getMessage()} {vars(record)}" for record in self.records)


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("test.runs")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def recorder_of(**options: Any) -> LogRecorder:
    return logging_observability("test.runs", **options)


async def run(recorder: Any, *others: Any) -> Agent[Any, str]:
    provider = MockProvider(replies=[call("lookup", order_id=SECRET), "Yes"])
    agent = Agent(provider, tools=[lookup], name="support", recorders=[*others, recorder])
    await agent.run(f"Where? {SECRET}", identity=ALICE)
    await agent._recorders.flush()
    return agent


async def test_each_line_leads_to_its_run_and_step(lines: Lines) -> None:
    await run(recorder_of())
    names = [record.event for record in lines.records]
    assert names[0] == "run.started"
    assert names[-1] == "run.ended"
    assert {record.run_id for record in lines.records if hasattr(record, "run_id")} == {
        lines.records[0].run_id
    }
    (called,) = [record for record in lines.records if record.event == "tool.ended"]
    assert called.step_id.startswith("call_tools#")
    assert called.details["tool"] == "lookup"
    assert (called.agent, called.tenant, called.conversation_id) == ("support", "acme", "t-42")
    assert called.getMessage().startswith("tool.ended tool=lookup")


async def test_lines_have_the_time_and_the_level_of_their_event(lines: Lines) -> None:
    recorder = recorder_of(tier="everything")
    await run(recorder)
    levels = {record.event: record.levelname for record in lines.records}
    assert levels["step.ended"] == "DEBUG"
    assert levels["model.ended"] == "INFO"
    failing = Agent(MockProvider(replies=[MockProvider.fail(Overloaded("busy"))]), recorders=[recorder])
    with pytest.raises(ProviderError):
        await failing.run("Hi")
    await recorder.flush()
    levels = {record.event: record.levelname for record in lines.records}
    assert (levels["model.failed"], levels["run.failed"]) == ("WARNING", "ERROR")
    times = [record.created for record in lines.records]
    assert times == sorted(times)


async def test_lines_name_the_trace_of_their_run(lines: Lines) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    with provider.get_tracer("user").start_as_current_span("request") as request:
        await run(recorder_of())
    whole = request.get_span_context()
    assert {record.trace_id for record in lines.records} == {f"{whole.trace_id:032x}"}
    assert {record.span_id for record in lines.records} == {f"{whole.span_id:016x}"}
    lines.records.clear()
    spans = otel_observability(provider)
    await run(recorder_of(), spans)  # Attached behind the one that begins the run's span.
    assert lines.records[0].trace_id != f"{whole.trace_id:032x}"


async def test_content_is_logged_only_when_asked_for_and_redacted(lines: Lines) -> None:
    await run(recorder_of(tier="everything"))
    assert SECRET not in lines.text
    assert "alice" not in lines.text
    lines.records.clear()
    redact = lambda text: text.replace(SECRET, "[secret]")  # noqa: E731
    await run(recorder_of(tier="everything", content=True, redact=redact))
    assert SECRET not in lines.text
    (called,) = [record for record in lines.records if record.event == "tool.ended"]
    assert called.details["result"] == "shipped\n[secret]"
    assert "\n" not in called.getMessage()


async def test_a_handler_that_raises_is_no_failure_of_the_run(lines: Lines) -> None:
    class Full(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError(28, "No space left on device")

    full = Full()
    logging.getLogger("test.runs").addHandler(full)
    try:
        recorder = recorder_of()
        await run(recorder)
    finally:
        logging.getLogger("test.runs").removeHandler(full)
    assert recorder.faults.failures > 0


async def test_structlog_gets_keys_and_what_the_application_has_bound() -> None:
    with (
        structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged,
        structlog.contextvars.bound_contextvars(request_id="r-1"),
    ):
        await run(structlog_observability())
    assert logged[0]["event"] == "run.started"
    assert logged[-1]["event"] == "run.ended"
    assert {line["request_id"] for line in logged} == {"r-1"}
    (called,) = [line for line in logged if line["event"] == "tool.ended"]
    assert called["tool"] == "lookup"
    assert called["run_id"] == logged[0]["run_id"]
    assert called["step_id"].startswith("call_tools#")
    assert SECRET not in str(logged)


@pytest.mark.parametrize("wrong", [{"tier": "loud"}, {"logger": 7}])
def test_what_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        structlog_observability(**wrong)
