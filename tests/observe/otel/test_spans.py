"""Runs as spans: the conventions' names, the right parents, and an end for each, however a run ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from pytest_genai_semconv import assert_genai_span_compliant

from agentfootprint import Agent, MemoryIdentity, Paused, Stopped, ask_human, tool
from agentfootprint.agent import Result
from agentfootprint.errors import Overloaded, ProviderError
from agentfootprint.events import ModelEnded, ModelStarted, RunEnded, RunStarted, TextDelta
from agentfootprint.memory import InMemoryStore, Memory, Window
from agentfootprint.messages import Usage
from agentfootprint.observe import Sampling, incoming_trace, outgoing_trace
from agentfootprint.providers import MockProvider
from agentfootprint.resilience import with_retry

from .seen import Telemetry, attributes, context_of, everything, id_of, parent_of

call = MockProvider.call
ALICE = MemoryIdentity("acme", "alice", "t-42")
SECRET = "sk-SENTINEL-4711"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@tool
async def lookup(order_id: str) -> str:
    """Looks an order up."""
    return f"Order {order_id}: shipped"


@tool
async def broken() -> str:
    """Fails."""
    raise ValueError(f"no connection with {SECRET}")


def provider(*replies: Any, **options: Any) -> MockProvider:
    return MockProvider(replies=list(replies), name="openai", model="gpt-5.1", **options)


def agent(telemetry: Telemetry, *replies: Any, **options: Any) -> Agent[Any, str]:
    options.setdefault("tools", [lookup, broken])
    made: Agent[Any, str] = Agent(provider(*replies), name="support", **options)
    made.enable.observability(telemetry.recorder)
    return made


async def test_a_run_is_a_tree_of_spans() -> None:
    telemetry = Telemetry()
    await agent(telemetry, call("lookup", order_id="A-1"), "It has shipped.").run("Where?", identity=ALICE)
    spans = await telemetry.spans()
    assert sorted(span.name for span in spans) == [
        "chat gpt-5.1",
        "chat gpt-5.1",
        "execute_tool lookup",
        "invoke_agent support",
    ]
    root = await telemetry.one("invoke_agent support")
    assert root.parent is None
    assert {parent_of(span) for span in spans if span is not root} == {id_of(root)}
    assert len({context_of(span).trace_id for span in spans}) == 1
    found = attributes(root)
    assert found["gen_ai.operation.name"] == "invoke_agent"
    assert found["gen_ai.conversation.id"] == "t-42"
    assert found["agentfootprint.tenant"] == "acme"
    assert found["agentfootprint.run.status"] == "completed"
    assert found["gen_ai.usage.output_tokens"] > 0
    assert "alice" not in everything(spans)  # A person is no attribute.


async def test_a_models_span_says_what_was_asked_and_used() -> None:
    telemetry = Telemetry()
    await agent(telemetry, "Hello").run("Hi")
    span = await telemetry.one("chat gpt-5.1")
    found = attributes(span)
    assert span.kind is SpanKind.CLIENT
    assert found["gen_ai.provider.name"] == "openai"
    assert found["gen_ai.request.model"] == found["gen_ai.response.model"] == "gpt-5.1"
    assert found["gen_ai.usage.input_tokens"] > 0
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert "gen_ai.response.time_to_first_chunk" not in found


async def test_a_streamed_answer_tells_the_time_to_its_first_chunk() -> None:
    telemetry = Telemetry()
    async with agent(telemetry, "Hello there").stream("Hi") as run:
        async for _ in run:
            pass
    found = attributes(await telemetry.one("chat gpt-5.1"))
    assert found["gen_ai.request.stream"] is True
    assert found["gen_ai.response.time_to_first_chunk"] >= 0


async def test_spans_hold_to_the_conventions() -> None:
    telemetry = Telemetry({"tier": "standard"})
    memory = Memory("customer", scope="principal", strategy=Window(5), store=InMemoryStore())
    made = agent(telemetry, call("lookup", order_id="A-1"), call("broken"), "Done", memory=[memory])
    await made.run("Where?", identity=ALICE)
    spans = await telemetry.spans()
    assert {attributes(span)["gen_ai.operation.name"] for span in spans} == {
        "invoke_agent",
        "chat",
        "execute_tool",
        "search_memory",
        "upsert_memory",
    }
    for span in spans:
        assert_genai_span_compliant(span)
        operation = attributes(span)["gen_ai.operation.name"]
        assert span.name == operation or span.name.startswith(f"{operation} ")


async def test_a_tool_that_fails_has_an_error_and_the_run_none() -> None:
    telemetry = Telemetry()
    await agent(telemetry, call("broken"), "Sorry").run("Do it")
    span = await telemetry.one("execute_tool broken")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "error"
    assert (await telemetry.one("invoke_agent support")).status.status_code is StatusCode.UNSET


async def test_a_run_that_fails_ends_its_spans_with_the_code_of_the_error() -> None:
    telemetry = Telemetry()
    with pytest.raises(ProviderError):
        await agent(telemetry, MockProvider.fail(Overloaded(f"busy {SECRET}"))).run("Hi")
    for name in ("chat gpt-5.1", "invoke_agent support"):
        span = await telemetry.one(name)
        assert span.status.status_code is StatusCode.ERROR
        assert attributes(span)["error.type"] == "overloaded"
    assert SECRET not in everything(await telemetry.spans())


async def test_a_consumer_that_leaves_early_ends_every_span() -> None:
    telemetry = Telemetry()
    made = Agent(provider("a long answer " * 500, chunk_size=4), name="support")
    made.attach(telemetry.recorder)
    async with made.stream("Tell me") as run:
        async for event in run:
            if isinstance(event, TextDelta):
                break
    spans = {span.name: span for span in await telemetry.spans()}
    assert set(spans) == {"chat gpt-5.1", "invoke_agent support"}
    for span in spans.values():
        assert span.end_time is not None
        assert span.status.status_code is StatusCode.ERROR
        assert attributes(span)["error.type"] == "cancelled"
    assert attributes(spans["invoke_agent support"])["agentfootprint.run.status"] == "cancelled"


async def test_what_a_deadline_cuts_off_ends_with_it_as_the_error() -> None:
    telemetry = Telemetry()

    @tool
    async def wait() -> str:
        """Waits for ever."""
        await asyncio.Event().wait()
        return ""

    result = await agent(telemetry, call("wait"), tools=[wait], timeout=0.2).run("Hi")
    assert isinstance(result, Stopped)
    span = await telemetry.one("execute_tool wait")
    assert attributes(span)["error.type"] == "deadline"
    root = attributes(await telemetry.one("invoke_agent support"))
    assert root["agentfootprint.run.stop_reason"] == "deadline"


async def test_nothing_of_a_run_stays_current_after_it() -> None:
    telemetry = Telemetry()
    before = context.get_current()
    await agent(telemetry, call("lookup", order_id="1"), "Yes").run("Hi")
    assert context.get_current() is before
    with pytest.raises(ProviderError):
        await agent(telemetry, MockProvider.fail(Overloaded("busy"))).run("Hi")
    assert context.get_current() is before


async def test_many_runs_at_once_keep_their_spans_apart() -> None:
    telemetry = Telemetry()
    made = Agent(
        MockProvider(
            respond=lambda request: (
                [call("lookup", order_id="1"), call("lookup", order_id="2")]
                if request.messages[-1].role == "user"
                else "Yes"
            ),
            latency=0.001,
        ),
        tools=[lookup],
        name="support",
    )
    made.attach(telemetry.recorder)
    results: list[Result[str]] = await asyncio.gather(*(made.run("Hi") for _ in range(30)))
    spans = await telemetry.spans()
    roots = {attributes(span)["agentfootprint.run.id"]: span for span in spans if span.parent is None}
    assert set(roots) == {result.run_id for result in results}
    for root in roots.values():
        below = [span for span in spans if parent_of(span) == id_of(root)]
        assert len(below) == 4
        assert {context_of(span).trace_id for span in below} == {context_of(root).trace_id}


async def test_a_run_within_a_span_is_its_child() -> None:
    telemetry = Telemetry()
    with telemetry.tracer.start_as_current_span("request") as request:
        await agent(telemetry, "Yes").run("Hi")
        assert trace.get_current_span() is request
    assert parent_of(await telemetry.one("invoke_agent support")) == id_of(request)


async def test_a_run_takes_its_parent_from_a_traceparent() -> None:
    headers = {"Traceparent": PARENT, "tracestate": "vendor=1"}
    within = Telemetry()
    with incoming_trace(headers):
        await agent(within, "Yes").run("Hi")
    given = Telemetry({"traceparent": PARENT})
    await agent(given, "Yes").run("Hi")
    for telemetry in (within, given):
        root = await telemetry.one("invoke_agent support")
        assert parent_of(root) == 0xB7AD6B7169203331
        assert context_of(root).trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    assert context_of(await within.one("invoke_agent support")).trace_state["vendor"] == "1"


@pytest.mark.parametrize("carrier", ["", "nonsense", "00-0-0-00", {}, {"traceparent": "00-" + "0" * 32}])
async def test_what_is_no_traceparent_begins_a_trace_of_its_own(carrier: Any) -> None:
    telemetry = Telemetry()
    with incoming_trace(carrier):
        await agent(telemetry, "Yes").run("Hi")
    assert (await telemetry.one("invoke_agent support")).parent is None


async def test_what_a_tool_traces_is_below_the_tools_span() -> None:
    telemetry = Telemetry()
    sent: list[dict[str, str]] = []

    @tool
    async def fetch() -> str:
        """Asks another service."""
        sent.append(outgoing_trace())
        with telemetry.tracer.start_as_current_span("GET"):
            return "ok"

    @tool
    def blocking() -> str:
        """Asks another service, in a thread."""
        with telemetry.tracer.start_as_current_span("GET in a thread"):
            return "ok"

    await agent(telemetry, [call("fetch"), call("blocking")], "Yes", tools=[fetch, blocking]).run("Hi")
    own = await telemetry.one("execute_tool fetch")
    assert parent_of(await telemetry.one("GET")) == id_of(own)
    known = context_of(own)
    (headers,) = sent
    assert headers["traceparent"].startswith(f"00-{known.trace_id:032x}-{known.span_id:016x}-")
    threaded = await telemetry.one("execute_tool blocking")
    assert parent_of(await telemetry.one("GET in a thread")) == id_of(threaded)


async def test_what_a_provider_traces_is_below_the_models_span() -> None:
    telemetry = Telemetry()

    def respond(request: Any) -> str:
        with telemetry.tracer.start_as_current_span("POST"):
            return "Yes"

    made = Agent(MockProvider(respond=respond), name="support")
    made.attach(telemetry.recorder)
    await made.run("Hi")
    assert parent_of(await telemetry.one("POST")) == id_of(await telemetry.one("chat mock"))


async def test_an_agent_within_a_tool_is_below_the_tools_span() -> None:
    telemetry = Telemetry()
    inner = Agent(MockProvider(reply="Deep"), name="inner")
    inner.attach(telemetry.recorder)

    @tool
    async def ask() -> str:
        """Asks another agent."""
        return str((await inner.run("Well?")).output)

    await agent(telemetry, call("ask"), "Yes", tools=[ask]).run("Hi")
    own = await telemetry.one("execute_tool ask")
    assert parent_of(await telemetry.one("invoke_agent inner")) == id_of(own)


async def test_a_resumed_run_is_linked_to_the_one_that_paused() -> None:
    telemetry = Telemetry()

    @tool
    async def refund() -> str:
        """Pays back."""
        return str(await ask_human("Refund $299?"))

    made = agent(telemetry, call("refund"), "Done", tools=[refund])
    paused = await made.run("Refund")
    assert isinstance(paused, Paused)
    first = await telemetry.one("invoke_agent support")
    assert attributes(first)["agentfootprint.run.status"] == "paused"
    assert first.status.status_code is StatusCode.UNSET
    waiting = await telemetry.one("execute_tool refund")
    assert attributes(waiting)["agentfootprint.tool.outcome"] == "paused"
    assert waiting.status.status_code is StatusCode.UNSET
    traceparent = telemetry.recorder.traceparent(paused.run_id)
    assert traceparent is not None

    # Another process knows nothing of the first but what was stored beside the checkpoint.
    other = Telemetry()
    other.recorder.link_to(paused.run_id, traceparent)
    for seen in (telemetry, other):
        resumed = made.replace(provider=provider("Done"), recorders=[seen.recorder])
        try:
            await resumed.resume(paused.checkpoint, answer="yes")
        finally:
            if seen is telemetry:
                paused = await made.replace(provider=provider(call("refund"))).run("Refund")
                assert isinstance(paused, Paused)
                other.recorder.link_to(paused.run_id, traceparent)
        second = [
            span for span in await seen.named("invoke_agent support") if "resumed" in str(attributes(span))
        ]
        (link,) = second[0].links
        assert link.context.span_id == id_of(first)
        assert link.context.trace_id == context_of(first).trace_id


async def test_decisions_and_retries_are_events_of_their_spans() -> None:
    telemetry = Telemetry()
    flaky = with_retry(
        provider(MockProvider.fail(Overloaded(f"busy {SECRET}")), "Yes"), initial_delay=0.001, max_delay=0.002
    )
    made = Agent(flaky, name="support")
    made.attach(telemetry.recorder)
    await made.run("Hi")
    root = await telemetry.one("invoke_agent support")
    (route,) = [event for event in root.events if event.name == "agentfootprint.route.decided"]
    assert dict(route.attributes or {}) == {
        "agentfootprint.choice": "answer",
        "agentfootprint.rule": "the model answered",
    }
    asked = await telemetry.one("chat gpt-5.1")
    (retried,) = [event for event in asked.events if event.name == "agentfootprint.model.retried"]
    assert (retried.attributes or {})["agentfootprint.error"] == "overloaded"
    assert SECRET not in everything(await telemetry.spans())


async def test_content_is_told_only_when_asked_for_and_redacted() -> None:
    @tool
    async def login(user: str, password: str) -> dict[str, str]:
        """Logs in."""
        return {"session": SECRET, "user": user}

    replies = (call("login", user="alice", password=SECRET), call("broken"), "Yes")
    silent = Telemetry()
    await agent(silent, *replies, tools=[login, broken]).run(f"My key is {SECRET}")
    told = everything(await silent.spans())
    assert SECRET not in told
    assert "alice" not in told

    loud = Telemetry({"content": True, "redact": lambda text: text.replace(SECRET, "[secret]")})
    await agent(loud, *replies, tools=[login, broken]).run(f"My key is {SECRET}")
    assert SECRET not in everything(await loud.spans())
    root = attributes(await loud.one("invoke_agent support"))
    assert json.loads(root["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "My key is [secret]"}]}
    ]
    found = attributes(await loud.one("execute_tool login"))
    assert json.loads(found["gen_ai.tool.call.arguments"]) == {"user": "alice", "password": "[secret]"}
    assert "[secret]" in found["gen_ai.tool.call.result"]


async def test_a_redaction_that_fails_lets_nothing_out() -> None:
    def redact(text: str) -> str:
        raise ValueError(text)

    telemetry = Telemetry({"content": True, "redact": redact})
    await agent(telemetry, call("lookup", order_id=SECRET), "Yes").run(SECRET)
    assert SECRET not in everything(await telemetry.spans())


async def test_text_that_no_wire_takes_is_told_all_the_same() -> None:
    telemetry = Telemetry({"content": True})
    await agent(telemetry, call("look\ud800up", order_id="\udfff"), "Yes").run("Hi")
    names = [span.name for span in await telemetry.spans()]
    assert "execute_tool look�up" in names
    assert telemetry.recorder.faults.failures == 0


async def test_tiers_tell_more_and_more() -> None:
    told: dict[str, set[str]] = {}
    for tier in ("minimal", "standard", "everything"):
        telemetry = Telemetry({"tier": tier})
        await agent(telemetry, call("lookup", order_id="1"), "Yes").run("Hi")
        told[tier] = {span.name for span in await telemetry.spans()}
    assert told["minimal"] == {"invoke_agent support"}
    assert told["standard"] == {"invoke_agent support", "chat gpt-5.1", "execute_tool lookup"}
    assert told["everything"] > told["standard"]
    assert "step route" in told["everything"]


async def test_sampling_keeps_failures_and_slow_runs_as_a_whole() -> None:
    telemetry = Telemetry({"sampling": Sampling(rate=0, slow=3600), "propagate": False})
    await agent(telemetry, call("lookup", order_id="1"), "Yes").run("quick and well")
    assert await telemetry.spans() == []
    with pytest.raises(ProviderError):
        await agent(telemetry, MockProvider.fail(Overloaded("busy"))).run("fails")
    assert {span.name for span in await telemetry.spans()} == {"invoke_agent support", "chat gpt-5.1"}
    for event in (
        RunStarted("slow", 1.0, None, "slow", None, "Hi"),
        ModelStarted("slow", 2.0, "call_model#0", "openai", "m", 1, 0, False),
        ModelEnded("slow", 3601.0, "call_model#0", "openai", "m", None, "end", 0, 0, None, 3599.0),
        RunEnded("slow", 3602.0, None, "completed", None, Usage(), None, 3601.0),
    ):
        telemetry.recorder.on_event(event)
    assert len(await telemetry.named("invoke_agent slow")) == 1
    assert len(await telemetry.named("chat m")) == 1
    assert telemetry.recorder.unsampled == 1
    # Metrics count every run.
    assert sum(point.count for point in await telemetry.points("gen_ai.invoke_agent.duration")) == 3


async def test_a_run_whose_end_was_never_told_does_not_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentfootprint.observe.otel.recorder._REMEMBERED", 3)
    telemetry = Telemetry({"propagate": False})
    for number in range(5):
        telemetry.recorder.on_event(RunStarted(f"run-{number}", 1.0 + number, None, "support", None, "Hi"))
    ended: list[ReadableSpan] = await telemetry.spans()
    assert [attributes(span)["agentfootprint.run.id"] for span in ended] == ["run-0", "run-1"]
    assert {attributes(span)["error.type"] for span in ended} == {"unknown"}
