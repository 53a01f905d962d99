"""What is shown: text without tricks, tokens and cost, errors in one line."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from agentfootprint import Agent
from agentfootprint.agent import Result
from agentfootprint.cli.terminal import printable, tally, tell_error
from agentfootprint.errors import (
    AgentFootprintError,
    ContextWindowExceeded,
    IdentityRequired,
    Overloaded,
    RateLimited,
    Unauthorized,
)
from agentfootprint.messages import LLMResponse, Usage
from agentfootprint.providers import MockProvider


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain\n\ttext\r\nmore", "plain\n\ttext\nmore"),
        ("\x1b[31mred\x1b[0m", "�[31mred�[0m"),
        ("back\rover\x08", "back�over�"),
        ("a\u202eb\u2066c", "a�b�c"),
        ("\ud800", "�"),
        ("é 漢 👩‍💻 می‌خواهم", "é 漢 👩‍💻 می‌خواهم"),
    ],
)
def test_nothing_that_moves_a_terminal_is_shown(text: str, told: str) -> None:
    assert printable(text) == told


def said(error: Exception) -> str:
    console = Console(file=io.StringIO(), width=40)
    tell_error(console, error)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Unauthorized("no key"), "error unauthorized no key → check the provider's API key\n"),
        (
            RateLimited("slow down", retry_after=12),
            "error rate_limited slow down → send it again in 12.0 s\n",
        ),
        (RateLimited("slow down"), "error rate_limited slow down → send it again in a while\n"),
        (Overloaded("busy"), "error overloaded busy → send it again in a while\n"),
        (ContextWindowExceeded("long"), "error context_window_exceeded long → start a new conversation\n"),
        (AgentFootprintError("two\nlines"), "error agentfootprint two lines\n"),
        (KeyError("x"), "error KeyError 'x'\n"),
    ],
)
def test_an_error_is_one_line_with_its_code_and_what_to_do(error: Exception, line: str) -> None:
    assert said(error) == line


def test_a_missing_tenant_is_explained_for_the_command_line() -> None:
    assert "--tenant" in said(IdentityRequired("whose?"))


async def test_tokens_that_were_not_counted_are_told() -> None:
    result: Result[str] = await Agent(MockProvider(reply=LLMResponse("x"))).run("hello")
    told = tally(result, 0.5)
    assert told == "0 tokens in, 0 out (and 1 model calls that were not counted) · cost unknown · 500 ms"


async def test_tokens_are_told_with_cost_and_time() -> None:
    result: Result[str] = await Agent(MockProvider(reply=LLMResponse("x", usage=Usage(1200, 34)))).run(
        "hello"
    )
    assert tally(result, 2) == "1,200 tokens in, 34 out · cost unknown · 2.0 s"
