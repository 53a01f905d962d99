"""`agentfootprint replay`: a record told, run again, and run otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Command

LOAN = """
from typing import TypedDict
from agentfootprint.flow import Flow, Step, decide, ge, rule


class State(TypedDict, total=False):
    input: int
    score: int
    decision: str


flow: Flow[State] = Flow("loan", state=State)


@flow.step(to="judge")
def assess(step: Step[State]) -> None:
    step["score"] = step.input * 2


@flow.decide(to={"yes": "grant", "no": "deny"})
def judge(step: Step[State]):
    return decide(step, [rule("score is high", "yes", score=ge(100))], "no", "score is low")


@flow.step
def grant(step: Step[State]) -> None:
    step["decision"] = "granted"


@flow.step
def deny(step: Step[State]) -> None:
    step["decision"] = "denied"


if __name__ == "__main__":
    import asyncio
    asyncio.run(flow.start(20)).footprint.save("loan.footprint.jsonl")
"""


@pytest.fixture
def record(command: Command) -> str:
    """The footprint of a run that looked up an order."""
    assert command("run", "app:agent", "look it up", "--footprint", "r.footprint.jsonl").returncode == 0
    return "r.footprint.jsonl"


@pytest.fixture
def loan(folder: Path, env: dict[str, str]) -> str:

    (folder / "loan.py").write_text(LOAN)
    subprocess.run([sys.executable, "loan.py"], cwd=folder, env=env, check=True, timeout=60)
    return "loan.footprint.jsonl"


def test_a_record_is_told_without_the_code(command: Command, record: str) -> None:
    ran = command("replay", record)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert " · done · " in ran.stdout
    assert "The user asked: “look it up”" in ran.stdout
    assert "  lookup_order returned: “Order A-1: shipped, $299”" in ran.stdout
    steps = [line.split()[0] for line in ran.stdout.splitlines() if line]
    assert {"input#0", "call_model#0", "route#1", "answer#0"} <= set(steps)


def test_telling_a_record_runs_nothing(command: Command, record: str, folder: Path) -> None:
    (folder / "app.py").unlink()
    assert command("replay", record).returncode == 0


def test_a_record_runs_again_without_effects_and_matches(process: Command, record: str) -> None:
    ran = process("replay", record, "app:agent")
    assert ran.returncode == 0
    assert ran.stderr.startswith("matches ")


def test_a_refund_that_is_replayed_is_not_paid_again(process: Command, folder: Path) -> None:
    process("run", "app:signed", "refund it", "--checkpoint", "c.json")
    process("run", "app:signed", "--resume", "c.json", "--approve", "--footprint", "r.footprint.jsonl")
    assert process("replay", "r.footprint.jsonl", "app:signed").returncode == 0
    assert (folder / "refunds.txt").read_text() == "A-1 299.0\n"


def test_a_stored_conversation_replays_without_its_store(command: Command, folder: Path) -> None:
    identity = ("--tenant", "acme", "--conversation", "t-1")
    command("run", "app:stored", "look it up", *identity, "--footprint", "r.footprint.jsonl")
    (folder / "desk.db").unlink()
    assert command("replay", "r.footprint.jsonl", "app:stored").returncode == 0
    assert not (folder / "desk.db").exists()


def test_other_code_diverges_at_a_named_step(command: Command, record: str) -> None:
    ran = command("replay", record, "app:terse")
    assert ran.returncode == 1
    assert "error replay_diverged" in ran.stderr
    assert "call_model#0" in ran.stderr


def test_an_agent_of_another_shape_is_refused(command: Command, record: str) -> None:
    ran = command("replay", record, "app:stored")
    assert ran.returncode == 1
    assert "error replay_refused" in ran.stderr


def test_a_fork_answers_from_the_record(command: Command, record: str) -> None:
    ran = command("replay", record, "app:agent", "--fork-at", "route#0", "--set", "pending=[]")
    assert ran.returncode == 0
    assert ran.stdout == "\n"
    assert "route#0 chose answer because the model answered" in ran.stderr


def test_a_fork_that_asks_something_new_is_refused_unless_it_is_live(command: Command, record: str) -> None:
    fork = ("replay", record, "app:agent", "--fork-at", "prepare#0", "--set", 'input={"messages":[]}')
    changed = ("replay", record, "app:agent", "--fork-at", "call_model#1", "--set", "system=Shout.")
    refused = command(*changed)
    assert refused.returncode == 1
    assert "error replay_refused step 'call_model#1' calls 'model'" in refused.stderr
    live = command(*changed, "--live")
    assert (live.returncode, live.stdout) == (0, "Done. Order A-1: shipped, $299\n")
    assert "system: 'Be brief.' → 'Shout.'" in live.stderr
    assert command(*fork).returncode == 0


def test_a_fork_that_asks_a_person_says_so(command: Command) -> None:
    command("run", "app:agent", "look it up", "--footprint", "r.footprint.jsonl")
    call = (
        '[{"id": "x", "name": "refund", "arguments": {"order_id": "A-1", "amount": 1}, "kind": "tool_call"}]'
    )
    ran = command(
        "replay", "r.footprint.jsonl", "app:agent", "--fork-at", "route#0", "--set", f"pending={call}"
    )
    assert ran.returncode == 3
    assert "paused: a person is asked 'Refund this order?'" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--fork-at", "route#0", "--set", "pending=[]"], "name the agent"),
        (["app:agent", "--set", "pending=[]"], "--fork-at STEP"),
        (["app:agent", "--live"], "--fork-at STEP"),
        (["app:agent", "--fork-at", "nope#0"], "there is no step 'nope#0'"),
        (["app:agent", "--fork-at", "route#0", "--set", "pending"], "not KEY=JSON"),
        (["app:agent", "--fork-at", "route#0", "--set", "pending=5"], "--set pending"),
        (["--why", "nothing"], "nothing has written 'nothing'"),
        (["--why", "history:x"], "number of an item"),
        (["--why", "history:99"], "'history' has 4 items, there is no item 99"),
        (["--why", "output:0"], "'output' is no growing list"),
    ],
)
def test_a_wrong_command_line_is_told(command: Command, record: str, arguments: list[str], says: str) -> None:
    ran = command("replay", record, *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert says in ran.stderr


def test_why_tells_what_a_value_or_an_item_rests_on(command: Command, record: str) -> None:
    assert (
        "the result of lookup_order (call_1): “Order A-1"
        in command("replay", record, "--why", "output").stdout
    )
    item = command("replay", record, "--why", "history:2").stdout
    assert "written by call_tools#0[0]" in item
    assert "route#0 chose tools" in item


def test_the_walk_is_drawn(command: Command, record: str) -> None:
    drawn = command("replay", record, "--mermaid").stdout
    assert drawn.startswith("flowchart TD\n")
    assert '{"route"}' in drawn


def test_a_flow_without_any_model_is_told_replayed_and_forked(command: Command, loan: str) -> None:
    assert "assess#0: read input; set score = 40" in command("replay", loan).stdout
    assert command("replay", loan, "loan:flow").stderr.startswith("matches 4 steps")
    assert (
        "judge#0 chose no because score is low (score is high: score is 40"
        in command("replay", loan, "--why", "decision").stdout
    )
    fork = command("replay", loan, "loan:flow", "--fork-at", "judge#0", "--set", "score=120")
    assert fork.returncode == 0
    assert fork.stdout == "decision = 'granted'\n"
    assert "judge#0 chose yes because score is high" in fork.stderr
    why = command(
        "replay", loan, "loan:flow", "--fork-at", "judge#0", "--set", "score=120", "--why", "decision"
    )
    assert "score is high" in why.stdout


@pytest.mark.parametrize("content", ["", "no json\n", '{"footprint": 99}\n', "[1]\n"])
def test_a_file_that_is_no_footprint_is_refused(command: Command, folder: Path, content: str) -> None:
    (folder / "x.jsonl").write_text(content)
    ran = command("replay", "x.jsonl")
    assert ran.returncode == 1
    assert "error journal_invalid" in ran.stderr


def test_a_file_that_is_not_there_is_a_usage_error(command: Command) -> None:
    ran = command("replay", "nothing.jsonl")
    assert ran.returncode == 2
    assert "nothing.jsonl" in ran.stderr


def test_a_torn_file_is_told_and_says_so(command: Command, record: str, folder: Path) -> None:
    text = (folder / record).read_text()
    (folder / record).write_text(text[: len(text) // 2])
    ran = command("replay", record)
    assert ran.returncode == 0
    assert "The file ends before the run did" in ran.stdout
    assert "The user asked: “look it up”" in ran.stdout


LOGIN = """
from typing import Annotated, TypedDict
from agentfootprint.flow import SECRET, Flow, Run, Step


class State(TypedDict, total=False):
    input: str
    password: Annotated[str, SECRET]
    said: str
    end: str


flow: Flow[State] = Flow("login", state=State)


@flow.step(to="ask")
def read(step: Step[State]) -> None:
    step["password"] = "correct horse battery"
    step["said"] = "log in"


@flow.step
async def ask(step: Step[State]) -> None:
    step["end"] = await step.ask(f"Is {step['password']} right?")


if __name__ == "__main__":
    import asyncio
    answers = {"ask#0?0": "correct horse battery it is"}
    asyncio.run(flow.start("in", answers=answers)).footprint.save("login.footprint.jsonl", redact=False)
"""


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("login:flow",),
        ("login:flow", "--fork-at", "ask#0", "--set", 'said="again"'),
        ("login:flow", "--fork-at", "ask#0", "--set", 'password="another horse altogether"'),
    ],
)
def test_secrets_are_not_shown(
    command: Command, folder: Path, env: dict[str, str], options: tuple[str, ...]
) -> None:
    (folder / "login.py").write_text(LOGIN)
    subprocess.run([sys.executable, "login.py"], cwd=folder, env=env, check=True, timeout=60)
    ran = command("replay", "login.footprint.jsonl", *options)
    shown = ran.stdout + ran.stderr
    assert shown
    for secret in ("correct horse", "another horse"):
        assert secret not in shown
