"""Runs on the terminal: what goes on, what it came to, and nothing that paints or tells a secret."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from agentfootprint import Agent, ask_human, tool
from agentfootprint import events as e
from agentfootprint.cost import Price, PriceList
from agentfootprint.errors import ConfigurationError, Overloaded, ProviderError
from agentfootprint.observe import terminal_live_status
from agentfootprint.observe.terminal import TerminalStatus
from agentfootprint.providers import MockProvider

from .samples import SAMPLES

call = MockProvider.call


def screen(terminal: bool = False) -> tuple[TerminalStatus, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120, color_system=None, legacy_windows=False)
    return terminal_live_status(console), file


def drawn(status: TerminalStatus) -> str:
    """How the runs stand, as text."""
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(status)
    file: Any = console.file
    return str(file.getvalue())


@tool
async def lookup(order_id: str) -> str:
    """Looks an order up."""
    return "shipped"


async def test_what_a_run_came_to_stays_on_the_screen() -> None:
    status, file = screen()
    agent = Agent(
        MockProvider(replies=[call("lookup", order_id="A-1"), "Yes"]),
        tools=[lookup],
        name="support",
        pricing_table=PriceList({"mock": Price(input=1, output=1)}),
    )
    agent.enable.live_status(status)
    await agent.run("Where?")
    (line,) = file.getvalue().splitlines()
    assert line.startswith("support completed · ")
    for part in ("2 turns", "1 tool call", "tokens", "$0.0000"):
        assert part in line


async def test_a_run_is_shown_while_it_goes_on() -> None:
    status, _ = screen()
    seen: list[str] = []

    @tool
    async def slow(order_id: str, password: str) -> str:
        """Takes its time."""
        seen.append(drawn(status))
        return "done"

    agent = Agent(
        MockProvider(replies=[call("slow", order_id="A-1", password="hunter2"), "Yes"]),
        tools=[slow],
        name="support",
        recorders=[status],
    )
    await agent.run("Where?")
    assert "support · " in seen[0]
    assert "1 turn" in seen[0]
    assert "… slow: A-1 · " in seen[0]
    assert "hunter2" not in seen[0]
    assert drawn(status).strip() == ""


async def test_a_terminal_is_drawn_on_and_left_clean() -> None:
    status, file = screen(terminal=True)
    await Agent(MockProvider(reply="Yes"), name="support", recorders=[status]).run("Hi")
    assert "support completed" in file.getvalue()
    assert file.getvalue().count("\x1b[?25l") == file.getvalue().count("\x1b[?25h") == 1  # the cursor


async def test_failures_and_questions_are_told_without_texts_of_errors() -> None:
    status, file = screen()
    failing = Agent(MockProvider(replies=[MockProvider.fail(Overloaded("key sk-1"))]), recorders=[status])
    with pytest.raises(ProviderError):
        await failing.run("Hi")

    @tool
    async def refund() -> str:
        """Pays back."""
        return str(await ask_human("Refund \x1b[31m$299?"))

    await Agent(MockProvider(reply=call("refund")), tools=[refund], recorders=[status]).run("Hi")
    failed, paused = file.getvalue().splitlines()
    assert "failed (overloaded)" in failed
    assert "sk-1" not in failed
    assert "paused: Refund �[31m$299?" in paused


def test_many_runs_are_counted_not_shown() -> None:
    status, _ = screen()
    for number in range(7):
        status.on_event(e.RunStarted(f"run-{number}", 1.0, None, f"agent-{number}", None, "Hi"))
    shown = drawn(status)
    assert "agent-6" in shown
    assert "agent-2" not in shown
    assert "and 3 more runs" in shown


def test_no_event_is_too_much() -> None:
    status, _ = screen()
    status.on_event(SAMPLES[0])
    for sample in SAMPLES:
        status.on_event(sample)
        drawn(status)


def test_showing_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        terminal_live_status(max_runs=0)
