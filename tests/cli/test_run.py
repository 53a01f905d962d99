"""`agentfootprint run`, as a process: what goes where, exit codes, pausing and going on elsewhere."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.flow import Footprint

from .conftest import Command
from .terminal import Terminal

IDENTITY = ("--tenant", "acme", "--principal", "alice", "--conversation", "t-1")


def told(output: str) -> dict[str, Any]:
    """The one JSON object on standard output."""
    assert output.count("\n") == 1
    report: dict[str, Any] = json.loads(output)
    return report


def test_the_answer_goes_to_stdout_and_what_happens_to_stderr(process: Command) -> None:
    ran = process("run", "app:agent", "look it up")
    assert (ran.returncode, ran.stdout) == (0, "Done. Order A-1: shipped, $299\n")
    lines = ran.stderr.splitlines()
    assert lines[:3] == ["Thinking…", "Lookup order: A-1…", "Thinking…"]
    assert lines[3].startswith("Answered in ")
    assert "cost unknown" in lines[4]
    assert "tokens in" in lines[4]


def test_the_question_is_read_from_a_pipe(process: Command) -> None:
    ran = process("run", "app:agent", "-", given="hello\nthere\n")
    assert (ran.returncode, ran.stdout) == (0, "Heard: hello\nthere\n\n")


def test_an_answer_with_terminal_codes_reaches_a_pipe_as_it_is(process: Command) -> None:
    assert process("run", "app:agent", "escape").stdout == "red \x1b[31mtext\x07\n"


def test_an_answer_with_terminal_codes_cannot_paint_the_terminal(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("run", "app:agent", "escape")
    assert screen.exit_code() == 0
    assert "red �[31mtext�" in screen.text


def test_json_tells_everything_about_a_completed_run(command: Command, folder: Path) -> None:
    ran = command("run", "app:agent", "look it up", "--json", "--footprint", "r.footprint.jsonl")
    report = told(ran.stdout)
    footprint = Footprint.load(folder / "r.footprint.jsonl")
    assert ran.returncode == 0
    assert report == {
        "status": "completed",
        "output": "Done. Order A-1: shipped, $299",
        "reason": None,
        "usage": report["usage"],
        "cost": None,
        "run_id": footprint.run_id,
        "asks": [],
        "checkpoint": None,
        "footprint": "r.footprint.jsonl",
        "error": None,
    }
    assert report["usage"]["input_tokens"] > 0
    assert footprint.status == "done"


def test_a_limit_is_told_and_has_its_exit_code(process: Command) -> None:
    ran = process("run", "app:limited", "look it up")
    assert ran.returncode == 4
    assert ran.stdout.startswith("Done. This call was not run")
    assert "stopped: max iterations · " in ran.stderr
    report = told(process("run", "app:limited", "look it up", "--json").stdout)
    assert (report["status"], report["reason"]) == ("stopped", "max_iterations")


def test_a_provider_that_fails_is_one_line_with_the_fix(process: Command) -> None:
    ran = process("run", "app:agent", "key")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[-1] == (
        "error unauthorized the vendor refused the key → check the provider's API key"
    )
    assert "Traceback" not in ran.stderr


def test_debug_shows_the_traceback(command: Command) -> None:
    ran = command("run", "app:agent", "key", "--debug")
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr


def test_a_run_that_fails_leaves_its_record_and_its_report(command: Command, folder: Path) -> None:
    ran = command("run", "app:agent", "key", "--json", "--footprint", "r.footprint.jsonl")
    report = told(ran.stdout)
    assert ran.returncode == 1
    assert report["status"] == "failed"
    assert report["error"] == {"code": "unauthorized", "message": "the vendor refused the key"}
    assert Footprint.load(folder / "r.footprint.jsonl").run_id == report["run_id"]


def test_a_run_that_fails_can_go_on_from_its_checkpoint(command: Command, folder: Path) -> None:
    ran = command("run", "app:stored", "key", *IDENTITY, "--checkpoint", "c.json")
    assert ran.returncode == 1
    assert "go on with: agentfootprint run app:stored --resume c.json\n" in ran.stderr
    # The vendor still refuses: the resumed run asks it again, and fails in the same way.
    again = command("run", "app:stored", "--resume", "c.json")
    assert "error unauthorized" in again.stderr


# ── wrong command lines ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["app:agent"], "there is nothing to ask"),
        (["app:agent", " "], "the input is empty"),
        (["nothing_here:agent", "hello"], "there is no module 'nothing_here'"),
        (["app:nobody", "hello"], "app has no 'nobody'"),
        (["app:stored", "hello"], "--tenant"),
        (["app:agent", "hello", "--tenant", "x" * 300], "tenant is 300 bytes"),
        (["app:agent", "hello", "--approve"], "--resume PATH"),
        (["app:agent", "hello", "--resume", "app.py"], "goes on with its own question"),
        (["app:agent", "--resume", "nothing.json"], "nothing.json"),
        (["app:agent", "hello", "--footprint", "no/such/folder/x.jsonl"], "cannot be written"),
        (["app:agent", "hello", "--checkpoint", "."], "cannot be written"),
    ],
)
def test_a_wrong_command_line_runs_nothing(command: Command, arguments: list[str], says: str) -> None:
    ran = command("run", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert says in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr
    assert "Thinking" not in ran.stderr


# ── pausing without a terminal ──────────────────────────────────────────────────────────────────


def test_json_carries_a_paused_run_into_a_second_process(process: Command, folder: Path) -> None:
    paused = process("run", "app:stored", "refund it", *IDENTITY, "--json")
    report = told(paused.stdout)
    assert (paused.returncode, report["status"], report["output"]) == (3, "paused", None)
    (ask,) = report["asks"]
    assert (ask["question"], ask["tool"]) == ("Refund this order?", "refund")
    assert ask["arguments"] == {"order_id": "A-1", "amount": 299}
    assert not (folder / "refunds.txt").exists()

    (folder / "c.json").write_text(report["checkpoint"])
    answer = f'{ask["id"]}={{"approved": true}}'
    resumed = process(
        "run",
        "app:stored",
        "--resume",
        "c.json",
        "--answer",
        answer,
        "--by",
        "bob",
        "--json",
        "--footprint",
        "r",
    )
    after = told(resumed.stdout)
    assert (resumed.returncode, after["status"], after["run_id"]) == (0, "completed", report["run_id"])
    assert after["output"] == "Done. Refunded $299 of A-1."
    assert (folder / "refunds.txt").read_text() == "A-1 299.0\n"
    assert "Answered by bob" in process("replay", "r").stdout

    again = process("run", "app:stored", "--resume", "c.json", "--approve")
    assert again.returncode == 1
    assert "error checkpoint_used" in again.stderr
    assert (folder / "refunds.txt").read_text() == "A-1 299.0\n"


def test_a_signed_checkpoint_needs_no_store_to_be_rejected_elsewhere(process: Command, folder: Path) -> None:
    paused = process("run", "app:signed", "refund it", "--checkpoint", "c.json")
    assert paused.returncode == 3
    assert "waits for an answer call_tools#0[0]?0: Refund this order?" in paused.stderr
    assert "agentfootprint run app:signed --resume c.json" in paused.stderr
    assert stat.S_IMODE((folder / "c.json").stat().st_mode) == 0o600
    rejected = process("run", "app:signed", "--resume", "c.json", "--reject")
    assert (rejected.returncode, rejected.stdout) == (0, "Done. A person declined this call to refund.\n")
    assert not (folder / "refunds.txt").exists()


def test_several_questions_are_answered_by_their_ids(command: Command, folder: Path) -> None:
    command("run", "app:signed", "both", "--checkpoint", "c.json")
    one = command("run", "app:signed", "--resume", "c.json", "--approve")
    assert one.returncode == 2
    assert "2 are open" in one.stderr
    missing = command("run", "app:signed", "--resume", "c.json", "--answer", "call_tools#0[0]?0=true")
    assert missing.returncode == 2
    assert "error answer_required" in missing.stderr
    wrong = command(
        "run", "app:signed", "--resume", "c.json",
        "--answer", "call_tools#0[0]?0=true", "--answer", "call_tools#0[1]?0=many",
    )  # fmt: skip
    assert wrong.returncode == 2
    assert "error answer_invalid" in wrong.stderr
    done = command(
        "run", "app:signed", "--resume", "c.json",
        "--answer", "call_tools#0[0]?0=true", "--answer", "call_tools#0[1]?0=7",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "Done. There are 7 parcels.\n")


def test_a_paused_run_is_kept_also_where_nobody_said_where(command: Command, folder: Path) -> None:
    paused = command("run", "app:signed", "refund it")
    (path,) = folder.glob("*.checkpoint.json")
    assert paused.returncode == 3
    assert f"--resume {path.name}" in paused.stderr
    assert command("run", "app:signed", "--resume", path.name, "--approve").returncode == 0


def test_a_run_that_ends_with_its_process_says_so(command: Command, folder: Path) -> None:
    paused = command("run", "app:agent", "refund it")
    assert paused.returncode == 3
    assert "goes on only in the process that began the run" in paused.stderr
    assert "--resume" not in paused.stderr
    assert not list(folder.glob("*.checkpoint.json"))


def test_another_identity_cannot_resume(command: Command) -> None:
    command("run", "app:stored", "refund it", *IDENTITY, "--checkpoint", "c.json")
    ran = command("run", "app:stored", "--resume", "c.json", "--approve", "--tenant", "other")
    assert ran.returncode == 1
    assert "error checkpoint_mismatch" in ran.stderr


def test_a_file_that_is_no_checkpoint_is_refused(command: Command) -> None:
    ran = command("run", "app:agent", "--resume", "app.py", "--approve")
    assert ran.returncode == 1
    assert "error checkpoint_tampered" in ran.stderr


# ── on a terminal ───────────────────────────────────────────────────────────────────────────────


def test_a_person_at_the_terminal_approves(terminal: Callable[..., Terminal], folder: Path) -> None:
    screen = terminal("run", "app:agent", "refund it")
    shown = screen.read_until("Approve? [y/N] ")
    assert "refund" in shown
    assert "order_id  A-1" in shown
    assert "amount    299" in shown
    screen.enter("perhaps")
    screen.read_until("Answer y or n.")
    screen.enter("y")
    assert screen.exit_code() == 0
    assert "Done. Refunded $299 of A-1." in screen.rest
    assert (folder / "refunds.txt").read_text() == "A-1 299.0\n"


def test_a_person_at_the_terminal_rejects_with_a_reason(
    terminal: Callable[..., Terminal], folder: Path
) -> None:
    screen = terminal("run", "app:agent", "refund it")
    screen.read_until("Approve? [y/N] ")
    screen.enter("")
    screen.read_until("(optional): ")
    screen.enter("too much")
    assert screen.exit_code() == 0
    assert "Done. A person declined this call to refund: too much" in screen.rest
    assert not (folder / "refunds.txt").exists()


def test_a_typed_answer_is_asked_for_until_it_fits(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("run", "app:agent", "count it")
    assert '{"type": "integer"}' in screen.read_until("Answer: ")
    screen.enter("many")
    assert "does not fit" in screen.read_until("Answer: ")
    screen.enter("7")
    assert screen.exit_code() == 0
    assert "Done. There are 7 parcels." in screen.rest


def test_a_question_left_open_at_the_terminal_is_kept(
    terminal: Callable[..., Terminal], command: Command, folder: Path
) -> None:
    screen = terminal("run", "app:signed", "refund it")
    screen.read_until("Approve? [y/N] ")
    screen.type("\x04")
    assert screen.exit_code() == 3
    (path,) = folder.glob("*.checkpoint.json")
    assert command("run", "app:signed", "--resume", path.name, "--approve").returncode == 0


def test_a_checkpoint_is_answered_at_the_terminal(
    terminal: Callable[..., Terminal], command: Command, folder: Path
) -> None:
    command("run", "app:signed", "refund it", "--checkpoint", "c.json")
    screen = terminal("run", "app:signed", "--resume", "c.json")
    screen.read_until("Approve? [y/N] ")
    screen.enter("y")
    assert screen.exit_code() == 0
    assert (folder / "refunds.txt").read_text() == "A-1 299.0\n"


def test_with_a_place_for_the_checkpoint_nobody_is_asked_here(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("run", "app:signed", "refund it", "--checkpoint", "c.json")
    assert screen.exit_code() == 3
    assert "Approve? [y/N]" not in screen.text


def test_the_status_moves_on_a_terminal_and_leaves_nothing(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("run", "app:agent", "wait")
    screen.read_until("Wait for ever: still waiting")
    screen.type("\x03")
    assert screen.exit_code() == 130
    assert "cancelled" in screen.rest
    assert "Traceback" not in screen.text
