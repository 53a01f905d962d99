"""`agentfootprint chat` on a pseudo-terminal, as a person meets it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agentfootprint.flow import Footprint

from .conftest import Command
from .terminal import Terminal

Open = Callable[..., Terminal]

PROMPT = "› "
SPINNER = frozenset("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
IDENTITY = ("--tenant", "acme", "--principal", "alice", "--conversation", "t-1")


def chat(terminal: Open, *arguments: str) -> Terminal:
    screen = terminal("chat", *(arguments or ("app:agent",)))
    screen.read_until(PROMPT)
    return screen


def say(screen: Terminal, text: str) -> str:
    """What stays on the screen for one line, up to the next prompt."""
    screen.enter(text)
    shown = screen.read_until(f"\n{PROMPT}")
    _, _, answer = shown.removesuffix(f"\n{PROMPT}").partition("\n")
    return "\n".join(line for line in answer.splitlines() if line[:1] not in SPINNER)


def test_the_session_says_who_one_talks_to(terminal: Open) -> None:
    screen = terminal("chat", "app:stored", *IDENTITY)
    assert "desk · mock:mock · acme / alice / t-1" in screen.read_until(PROMPT)


def test_an_answer_comes_with_its_tools_tokens_and_cost(terminal: Open) -> None:
    lines = say(chat(terminal), "look it up").splitlines()
    assert lines[-3].startswith("  ✓ lookup_order(order_id=A-1) · ")
    assert lines[-2] == "Done. Order A-1: shipped, $299"
    assert "tokens in" in lines[-1]
    assert "cost unknown" in lines[-1]


def test_the_answer_is_shown_while_it_is_written(terminal: Open, folder: Path) -> None:
    screen = chat(terminal, "app:gated")
    screen.enter("hi")
    screen.read_until("Hello ")
    assert "all of you" not in screen.text
    (folder / "go").touch()
    screen.read_until("there, all of you\n")


def test_an_answer_is_shown_once(terminal: Open) -> None:
    assert say(chat(terminal), "hello").count("Heard: hello") == 1


def test_the_session_remembers_without_any_store(terminal: Open) -> None:
    screen = chat(terminal)
    say(screen, "one")
    assert "Heard: one | two" in say(screen, "two")


def test_a_named_conversation_goes_on_in_another_session(terminal: Open) -> None:
    first = chat(terminal, "app:stored", *IDENTITY)
    say(first, "one")
    assert "Heard: one | two" in say(first, "two")
    first.type("\x04")
    assert first.exit_code() == 0
    second = chat(terminal, "app:stored", *IDENTITY)
    assert "Heard: one | two | three" in say(second, "three")


def test_an_identity_without_a_conversation_is_remembered_by_the_session(terminal: Open) -> None:
    screen = chat(terminal, "app:stored", "--tenant", "acme")
    say(screen, "one")
    assert "Heard: one | two" in say(screen, "two")


# ── questions ───────────────────────────────────────────────────────────────────────────────────


def test_a_tool_runs_once_it_is_approved(terminal: Open, folder: Path) -> None:
    screen = chat(terminal)
    screen.enter("refund it")
    assert "order_id  A-1" in screen.read_until("Approve? [y/N] ")
    assert not (folder / "refunds.txt").exists()
    shown = say(screen, "y")
    assert "  ✓ refund(order_id=A-1, amount=299) · " in shown
    assert shown.count("Done. Refunded $299 of A-1.") == 1
    assert (folder / "refunds.txt").read_text() == "A-1 299.0\n"


def test_a_tool_that_is_rejected_does_not_run_and_the_model_reads_why(terminal: Open, folder: Path) -> None:
    screen = chat(terminal)
    screen.enter("refund it")
    screen.read_until("Approve? [y/N] ")
    screen.enter("n")
    screen.read_until("(optional): ")
    shown = say(screen, "too much")
    assert re.search(r"  ✗ refund\(order_id=A-1, amount=299\) · \S+ m?s · denied", shown)
    assert "Done. A person declined this call to refund: too much" in shown
    assert not (folder / "refunds.txt").exists()


def test_several_questions_of_one_turn_are_asked_one_after_the_other(terminal: Open) -> None:
    screen = chat(terminal)
    screen.enter("both")
    screen.read_until("Approve? [y/N] ")
    screen.enter("y")
    screen.read_until("How many parcels?")
    screen.read_until("Answer: ")
    assert "Done. There are 7 parcels." in say(screen, "7")


@pytest.mark.parametrize("key", ["Ctrl-C", "Ctrl-D"])
def test_a_question_can_be_left_open_and_the_next_message_gives_it_up(terminal: Open, key: str) -> None:
    screen = chat(terminal, "app:stored", *IDENTITY)
    screen.enter("refund it")
    screen.read_until("Approve? [y/N] ")
    left = "your next message gives the question up"
    if key == "Ctrl-C":
        screen.interrupt_prompt(left)
    else:
        screen.type("\x04")
        screen.read_until(left)
    screen.read_until(PROMPT)
    assert "Heard: " in say(screen, "hello")


def test_a_conversation_that_waits_since_another_session_is_given_up_only_when_told(terminal: Open) -> None:
    first = chat(terminal, "app:stored", *IDENTITY)
    first.enter("refund it")
    first.read_until("Approve? [y/N] ")
    first.type("\x04")
    first.read_until(PROMPT)
    first.enter("/quit")
    assert first.exit_code() == 0
    second = chat(terminal, "app:stored", *IDENTITY)
    second.enter("hello")
    second.read_until("Give that question up? [y/N] ")
    assert "Left as it is" in say(second, "n")
    second.enter("hello")
    second.read_until("Give that question up? [y/N] ")
    assert "Heard: hello" in say(second, "y")


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────


def test_ctrl_c_cancels_the_turn_and_keeps_the_session(terminal: Open) -> None:
    screen = chat(terminal)
    say(screen, "one")
    screen.enter("wait")
    screen.read_until("still waiting")
    screen.type("\x03")
    screen.read_until("Cancelled.")
    screen.read_until(PROMPT)
    assert "Heard: one | two" in say(screen, "two")


def test_ctrl_c_in_a_stored_conversation_keeps_a_history_that_goes_on(terminal: Open) -> None:
    screen = chat(terminal, "app:stored", *IDENTITY)
    screen.enter("wait")
    screen.read_until("still waiting")
    screen.type("\x03")
    screen.read_until("Cancelled.")
    screen.read_until(PROMPT)
    assert "Heard: wait | hello" in say(screen, "hello")


def test_ctrl_c_at_the_prompt_does_not_leave(terminal: Open) -> None:
    screen = chat(terminal)
    screen.type("half a wo")
    screen.read_until("half a wo")  # Ctrl-C throws away what was typed and not yet read.
    screen.interrupt_prompt("Ctrl-D or /quit leaves.")
    screen.read_until(PROMPT)
    assert "Heard: hello" in say(screen, "hello")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("key", "error unauthorized the vendor refused the key → check the provider's API key"),
        ("rate", "error rate_limited too many requests → send it again in 12.0 s"),
    ],
)
def test_a_provider_that_fails_is_one_line_and_the_session_goes_on(
    terminal: Open, text: str, line: str
) -> None:
    screen = chat(terminal)
    assert say(screen, text).splitlines()[-1] == line
    assert "Heard: hello" in say(screen, "hello")
    assert "Traceback" not in screen.text


def test_debug_shows_the_traceback_and_the_session_goes_on(terminal: Open) -> None:
    screen = chat(terminal, "app:agent", "--debug")
    assert "Traceback" in say(screen, "key")
    assert "Heard: hello" in say(screen, "hello")


def test_a_tool_that_fails_says_how(terminal: Open) -> None:
    shown = say(chat(terminal), "fail")
    assert "  ✗ fail() · " in shown
    assert " · error: fail failed with ValueError: the printer is on fire" in shown


def test_what_a_model_writes_cannot_paint_the_terminal(terminal: Open) -> None:
    assert "red �[31mtext�" in say(chat(terminal), "escape")


# ── commands ────────────────────────────────────────────────────────────────────────────────────


def test_help_lists_the_commands(terminal: Open) -> None:
    shown = say(chat(terminal), "/help")
    assert all(name in shown for name in ("/why", "/story", "/save", "/quit"))


def test_why_and_story_tell_the_last_turn(terminal: Open) -> None:
    screen = chat(terminal)
    say(screen, "look it up")
    assert "the result of lookup_order (call_1): “Order A-1: shipped, $299”" in say(screen, "/why")
    assert "The user asked: “look it up”" in say(screen, "/story")


def test_a_turn_that_failed_has_its_story(terminal: Open) -> None:
    screen = chat(terminal)
    say(screen, "key")
    assert "failed with Unauthorized" in say(screen, "/story")


def test_save_writes_a_footprint_that_replays(terminal: Open, folder: Path, command: Command) -> None:
    screen = chat(terminal)
    say(screen, "look it up")
    assert "Saved to r.footprint.jsonl" in say(screen, "/save r.footprint.jsonl")
    assert Footprint.load(folder / "r.footprint.jsonl").status == "done"
    assert command("replay", "r.footprint.jsonl", "app:agent").returncode == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/why", "ask something first"),
        ("/save", "say where to"),
        ("/nope", "there is no command /nope; there is: /why"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(terminal: Open, text: str, says: str) -> None:
    assert says in say(chat(terminal), text)


def test_a_file_that_cannot_be_written_is_told(terminal: Open) -> None:
    screen = chat(terminal)
    say(screen, "hello")
    assert "error FileNotFoundError" in say(screen, "/save no/such/folder/x")


@pytest.mark.parametrize("key", ["/quit\n", "\x04"])
def test_the_session_ends_well(terminal: Open, key: str) -> None:
    screen = chat(terminal)
    screen.type(key)
    assert screen.exit_code() == 0


def test_a_pipe_can_talk_and_answer(process: Command, folder: Path) -> None:
    ran = process("chat", "app:agent", given="refund it\ny\nhello\n")
    assert ran.returncode == 0
    assert "Done. Refunded $299 of A-1." in ran.stdout
    assert "Heard: refund it | hello" in ran.stdout
    assert "\x1b" not in ran.stdout
    assert (folder / "refunds.txt").exists()


def test_a_bad_app_ends_before_the_session_begins(process: Command) -> None:
    ran = process("chat", "app:nobody", given="hello\n")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "app has no 'nobody'" in ran.stderr
