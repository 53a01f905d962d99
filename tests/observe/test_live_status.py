from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfootprint.errors import ConfigurationError
from agentfootprint.events import (
    Event,
    LimitReached,
    ModelEnded,
    ModelStarted,
    RunEnded,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    TextDelta,
    ToolEnded,
    ToolProgress,
    ToolStarted,
)
from agentfootprint.messages import Usage
from agentfootprint.observe import Recorder, Recorders, chat_bubble_live_status

from .samples import SAMPLES


class Run:
    """Builds the events of one run."""

    def __init__(self, run_id: str = "r1") -> None:
        self.run_id = run_id

    def started(self, at: float = 0.0) -> Event:
        return RunStarted(self.run_id, at, None, "support", None, "hi")

    def resumed(self) -> Event:
        return RunResumed(self.run_id, 0.0, None, "support", None, None)

    def model(self, at: float = 0.0) -> Event:
        return ModelStarted(self.run_id, at, None, "mock", "m", 1, 0, False)

    def tool(self, tool: str, call_id: str = "c1", at: float = 0.0, **arguments: Any) -> ToolStarted:
        return ToolStarted(self.run_id, at, None, tool, call_id, arguments)

    def tool_done(self, call_id: str = "c1", at: float = 0.0) -> Event:
        return ToolEnded(self.run_id, at, None, "t", call_id, "ok", "x", 0.1)

    def progress(self, message: str, fraction: float | None = None, at: float = 0.0) -> Event:
        return ToolProgress(self.run_id, at, None, "lookup_order", "c1", message, fraction)

    def ended(
        self, duration: float = 1.24, status: Literal["completed", "stopped"] = "completed", at: float = 0.0
    ) -> Event:
        reason = None if status == "completed" else "cost_budget"
        return RunEnded(self.run_id, at, None, status, reason, Usage(), None, duration)

    def paused(self, *questions: str) -> Event:
        return RunPaused(self.run_id, 0.0, None, tuple("a" for _ in questions), questions)

    def failed(self, error: str) -> Event:
        return RunFailed(self.run_id, 0.0, None, error, "secret internals")


def lines(*events: Event, **options: Any) -> list[str]:
    said: list[str] = []
    status = chat_bubble_live_status(on_line=said.append, **options)
    for event in events:
        status.on_event(event)
    if isinstance(events[-1], (RunEnded, RunPaused, RunFailed)):
        assert events[-1].run_id not in bubbles(status)
    return said


def bubbles(status: Recorder) -> Mapping[str, object]:
    kept = status._bubbles  # type: ignore[attr-defined]
    assert isinstance(kept, dict)
    return kept


def test_a_turn_with_a_tool_is_told_in_four_lines() -> None:
    run = Run()
    assert lines(
        run.started(),
        run.model(),
        run.tool("lookup_order", order_id="A-1"),
        run.tool_done(),
        run.model(),
        run.ended(),
    ) == ["Thinking…", "Lookup order: A-1…", "Thinking…", "Answered in 1.2 s"]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Run().paused("Refund $299?"), "Waiting for approval: Refund $299?"),
        (Run().paused("Refund?", "Mail?", "Call?"), "Waiting for approval: Refund? (and 2 more)"),
        (Run().failed("rate_limited"), "Something went wrong (rate limited)"),
        (Run().ended(status="stopped"), "Stopped after 1.2 s (cost budget)"),
        (Run().ended(0.0352), "Answered in 35 ms"),
        (Run().ended(185.2), "Answered in 3 min 5 s"),
        (LimitReached("r1", 0.0, None, "max_iterations", 3.0), "Wrapping up…"),
        (Run().progress("page\n2", 0.4), "Lookup order: page 2 (40%)"),
        (Run().progress("page 2"), "Lookup order: page 2"),
    ],
)
def test_what_happens_has_a_line(event: Event, line: str) -> None:
    assert lines(Run().started(), event) == ["Thinking…", line]


def test_a_resumed_run_continues() -> None:
    assert lines(Run().resumed(), Run().ended(2.0)) == ["Continuing…", "Answered in 2.0 s"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "Search web…"),
        ({"filters": ["a"], "query": "opening hours"}, "Search web: opening hours…"),
        ({"count": 3}, "Search web: 3…"),
        ({"deep": True}, "Search web…"),
        ({"query": "x" * 500}, "Search web: " + "x" * 39 + "……"),
        ({"query": "\x1b[31mred\nline"}, "Search web: �[31mred line…"),
        ({"query": "   "}, "Search web…"),
        ({"password": "hunter2", "user": "bob"}, "Search web: bob…"),
        ({"apiKey": "sk-1"}, "Search web…"),
        ({"access-token": "t"}, "Search web…"),
        ({"card_number": "4111"}, "Search web…"),
        ({"keyword": "monkey"}, "Search web: monkey…"),
    ],
)
def test_a_tool_is_named_for_people_with_its_first_plain_argument(
    arguments: dict[str, Any], line: str
) -> None:
    assert lines(Run().started(), Run().tool("search_web", **arguments))[-1] == line


@pytest.mark.parametrize(
    ("phrase", "line"),
    [
        ("Looking up {order_id}…", "Looking up A-1…"),
        ("Refunding ${amount:.2f}", "Refunding $299.00"),
        ("Asking {somebody}", "Asking …"),
        (lambda event: f"Order {event.arguments['order_id']}!", "Order A-1!"),
    ],
)
def test_a_phrase_says_it_in_the_owners_words(phrase: str | Callable[[ToolStarted], str], line: str) -> None:
    event = Run().tool("refund", order_id="A-1", amount=299)
    assert lines(Run().started(), event, phrases={"refund": phrase})[-1] == line


def test_a_phrase_that_fails_is_counted_and_the_status_goes_on() -> None:
    said: list[str] = []
    recorders = Recorders()
    handle = recorders.attach(
        chat_bubble_live_status(on_line=said.append, phrases={"refund": "{amount:nonsense}"})
    )
    dispatch = recorders.snapshot()
    assert dispatch is not None
    run = Run()
    for event in (run.started(), run.tool("refund", amount=1), run.tool_done(), run.ended()):
        dispatch(event)
    assert said == ["Thinking…", "Answered in 1.2 s"]
    assert handle.failures == 1


def test_parallel_tools_are_told_together() -> None:
    run = Run()
    assert lines(
        run.started(),
        run.tool("alpha", "c1"),
        run.tool("beta", "c2"),
        run.tool("gamma", "c3"),
        run.tool_done("c2"),
        run.tool_done("c3"),
        run.tool_done("c1"),
        run.tool_done("c1"),
    ) == [
        "Thinking…",
        "Alpha…",
        "Beta… (and 1 more)",
        "Gamma… (and 2 more)",
        "Gamma… (and 1 more)",
        "Alpha…",
    ]


def test_concurrent_runs_do_not_silence_or_mix_with_each_other() -> None:
    one, other = Run("r1"), Run("r2")
    assert lines(
        one.started(),
        other.started(),
        one.tool("alpha"),
        other.tool("beta"),
        other.model(),
        other.ended(),
        one.ended(),
    ) == ["Thinking…", "Thinking…", "Alpha…", "Beta…", "Thinking…", "Answered in 1.2 s", "Answered in 1.2 s"]


@pytest.mark.parametrize("last", [Run().ended(), Run().paused("?"), Run().failed("x")])
def test_nothing_is_kept_of_a_run_that_is_over_and_late_reports_are_ignored(last: Event) -> None:
    said: list[str] = []
    status = chat_bubble_live_status(on_line=said.append)
    for event in (Run().started(), Run().tool("a"), last):
        status.on_event(event)
    before = list(said)
    for event in (Run().progress("late"), Run().tool_done(), Run().model(), last):
        status.on_event(event)
    assert said == before
    assert bubbles(status) == {}


def test_it_asks_for_the_events_it_shows_and_no_others() -> None:
    recorders = Recorders()
    recorders.attach(chat_bubble_live_status(on_line=print))
    dispatch = recorders.snapshot()
    assert dispatch is not None
    assert not dispatch.wants(TextDelta)
    assert not dispatch.wants(ModelEnded)
    assert dispatch.wants(ToolStarted)


@settings(deadline=None)
@given(st.lists(st.sampled_from(SAMPLES), max_size=30))
def test_any_order_of_events_gives_short_printable_lines_without_repeats(events: list[Event]) -> None:
    said = lines(SAMPLES[0], *events)
    assert all(line.isprintable() and len(line) < 200 for line in said)


async def test_within_the_interval_the_newest_line_waits_for_its_turn() -> None:
    said: list[str] = []
    arrived = asyncio.Event()

    def on_line(line: str) -> None:
        said.append(line)
        arrived.set()

    status = chat_bubble_live_status(on_line=on_line, min_interval=0.02)
    run = Run()
    for event in (run.started(), run.tool("alpha", "c1", at=0.001), run.tool("beta", "c2", at=0.002)):
        status.on_event(event)
    assert said == ["Thinking…"]
    arrived.clear()
    await asyncio.wait_for(arrived.wait(), 10)
    assert said == ["Thinking…", "Beta… (and 1 more)"]
    status.on_event(run.tool_done("c2", at=100.0))
    assert said[-1] == "Alpha…"


async def test_the_last_line_of_a_run_never_waits_and_nothing_follows_it() -> None:
    said: list[str] = []
    status = chat_bubble_live_status(on_line=said.append, min_interval=0.01)
    run = Run()
    for event in (run.started(), run.tool("alpha", at=0.001), run.ended(at=0.002)):
        status.on_event(event)
    assert said == ["Thinking…", "Answered in 1.2 s"]
    await asyncio.sleep(0.05)
    assert said == ["Thinking…", "Answered in 1.2 s"]


def test_without_a_loop_a_line_comes_early_rather_than_never() -> None:
    run = Run()
    assert lines(run.started(), run.tool("alpha", at=0.1), min_interval=5.0) == ["Thinking…", "Alpha…"]


async def test_a_delayed_line_that_fails_reaches_nobody_but_the_log(caplog: pytest.LogCaptureFixture) -> None:
    logged = asyncio.Event()

    def on_line(line: str) -> None:
        if line != "Thinking…":
            logged.set()
            raise ValueError("broken pipe")

    status = chat_bubble_live_status(on_line=on_line, min_interval=0.01)
    status.on_event(Run().started())
    status.on_event(Run().tool("alpha", at=0.001))
    await asyncio.wait_for(logged.wait(), 10)
    await asyncio.sleep(0)
    assert ["a delayed line" in record.getMessage() for record in caplog.records] == [True]


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="on_line"):
        chat_bubble_live_status(on_line="print")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="negative"):
        chat_bubble_live_status(on_line=print, min_interval=-1)
    with pytest.raises(ConfigurationError, match="'refund'"):
        chat_bubble_live_status(on_line=print, phrases={"refund": 7})  # type: ignore[dict-item]
