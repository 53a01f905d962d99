from __future__ import annotations

import io
import re
import sys
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfootprint.errors import ConfigurationError
from agentfootprint.events import (
    CATALOGUE,
    Emitted,
    Event,
    RunEnded,
    RunPaused,
    RunStarted,
    TextDelta,
    ToolEnded,
    ToolOutcome,
    ToolStarted,
)
from agentfootprint.messages import Usage
from agentfootprint.observe import Recorders, console_observability

from .samples import AT, RUN, SAMPLES, any_event

Verbosity = Literal["quiet", "standard", "verbose"]


def printed(*events: Event, verbosity: Verbosity = "verbose", color: bool = False) -> list[str]:
    file = io.StringIO()
    recorders = Recorders()
    handle = recorders.attach(console_observability(file=file, verbosity=verbosity, color=color))
    dispatch = recorders.snapshot()
    assert dispatch is not None
    for event in events:
        dispatch(event)
    assert handle.last_error is None
    return file.getvalue().splitlines()


def tool_ended(result: str, outcome: ToolOutcome = "ok") -> ToolEnded:
    return ToolEnded(RUN, AT, None, "lookup_order", "call-1", outcome, result, 0.031)


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.type)
def test_every_kind_of_event_has_a_line_with_time_run_and_name(event: Event) -> None:
    [line] = printed(event)
    run = "no run" if event.run_id is None else "3f9a2c"
    assert re.match(rf"\d\d:\d\d:\d\d\.250 {run} [ !?] {re.escape(event.type)}( |$)", line)
    assert not line.endswith(event.type)


@settings(deadline=None)
@given(any_event)
def test_any_event_is_one_printable_line_of_bounded_length(event: Event) -> None:
    [line] = printed(event)
    assert line.isprintable()
    assert len(line) < 600


@settings(deadline=None)
@given(st.text(st.characters(), min_size=1, max_size=4000))
def test_content_cannot_break_out_of_its_line_whatever_it_is(content: str) -> None:
    events = (
        tool_ended(content),
        ToolStarted(RUN, AT, None, content, "c", {content: content, "b": [content]}),
    )
    lines = printed(*events, Emitted(RUN, AT, None, content, {content: (content,)}))
    assert len(lines) == 3
    assert all(line.isprintable() and len(line) < 600 for line in lines)


def test_escape_sequences_of_a_tool_do_not_reach_the_terminal() -> None:
    [line] = printed(tool_ended("\x1b[2J\x1b]0;owned\x07 done\nsecond line\u202e"))
    assert "\x1b" not in line
    assert "done second line�" in line


def test_long_content_is_cut() -> None:
    [line] = printed(tool_ended("x" * 10_000_000))
    assert "x" * 119 + "…" in line
    assert "x" * 120 not in line


def test_a_call_reads_like_a_call() -> None:
    event = ToolStarted(RUN, AT, None, "refund", "c", {"order_id": "A-1", "amount": 299, "notes": ["a"]})
    assert printed(event)[0].endswith("refund(order_id=A-1, amount=299, notes=['a'])")


def test_an_unknown_cost_is_not_nothing() -> None:
    ended = RunEnded(RUN, AT, None, "completed", None, Usage(5, 2, unreported=1), None, 61.4)
    assert "completed in 1 min 1 s, 5 in, 2 out + unreported, cost unknown" in printed(ended)[0]


def kinds(lines: list[str]) -> set[str]:
    return {line[22:].split()[0] for line in lines}


def test_standard_leaves_out_pieces_and_routine_and_verbose_nothing() -> None:
    assert kinds(printed(*SAMPLES)) == set(CATALOGUE)
    left_out = set(CATALOGUE) - kinds(printed(*SAMPLES, verbosity="standard"))
    assert left_out == {
        "model.text", "model.reasoning", "model.tool_call", "model.started", "context.prepared",
        "embedding.ended", "route.decided",
        "step.ended",
    }  # fmt: skip


def test_quiet_tells_how_runs_end_and_what_goes_wrong() -> None:
    assert kinds(printed(*SAMPLES, verbosity="quiet")) == {
        "run.paused", "run.ended", "run.failed", "model.failed", "memory.failed", "conversation.failed",
        "limit.reached", "history.healed",
    }  # fmt: skip
    assert printed(tool_ended("no"), verbosity="quiet") == []
    assert len(printed(tool_ended("no", "timeout"), verbosity="quiet")) == 1


def test_nobody_builds_text_chunks_for_a_console_that_does_not_show_them() -> None:
    recorders = Recorders()
    recorders.attach(console_observability(file=io.StringIO()))
    dispatch = recorders.snapshot()
    assert dispatch is not None
    assert not dispatch.wants(TextDelta)
    assert dispatch.wants(RunStarted)


def test_trouble_stands_out_with_and_without_colour() -> None:
    paused = RunPaused(RUN, AT, None, ("a",), ("Refund?",))
    stopped = RunEnded(RUN, AT, None, "stopped", "deadline", Usage(), 0.0, 1.0)
    plain = printed(tool_ended("x"), tool_ended("x", "error"), paused, stopped)
    assert [line[20] for line in plain] == [" ", "!", "?", "!"]
    colored = printed(tool_ended("x"), tool_ended("x", "error"), color=True)
    assert "\x1b[1;31m" not in colored[0]
    assert "\x1b[1;31m" in colored[1]
    assert all(line.count("\x1b[0m") >= 2 for line in colored)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_whose_owner_wants_it(
    environment: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    terminal, pipe = Terminal(), io.StringIO()
    console_observability(file=terminal).on_event(SAMPLES[0])
    console_observability(file=pipe).on_event(SAMPLES[0])
    assert ("\x1b[" in terminal.getvalue()) is colored
    assert "\x1b[" not in pipe.getvalue()


def test_it_prints_to_standard_error_as_it_is_at_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    console = console_observability(color=False)
    swapped = io.StringIO()
    monkeypatch.setattr(sys, "stderr", swapped)
    console.on_event(SAMPLES[0])
    assert "run.started" in swapped.getvalue()


def test_a_file_that_knows_only_ascii_gets_escapes() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    console_observability(file=file).on_event(tool_ended("größer"))
    assert b"gr\\xf6\\xdfer" in raw.getvalue()


def test_an_unknown_verbosity_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="standard"):
        console_observability(verbosity="loud")  # type: ignore[arg-type]
