"""The examples run, and say what they are there to show."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.flow.support import answers_to, stored, told

LOAN = Path(__file__).parents[2] / "examples" / "loan_decision.py"


def loan() -> Any:
    spec = importlib.util.spec_from_file_location("loan_decision", LOAN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["loan_decision"] = module
    spec.loader.exec_module(module)
    return module


def test_the_loan_decision_runs_as_a_script_and_explains_itself() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(LOAN)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "Ada asks for 20,000 USD\n  approved, terms: 4.0 % a year" in out
    assert "? Grant Ben a loan of 10,000 USD?" in out
    assert "approved by an officer, terms: 7.5 % a year" in out
    assert "Cleo asks for 5,000 USD\n  declined, terms: none" in out
    assert "Mallory" in out.partition("declined by an officer")[0]
    narrative, _, why = out.partition("Why this decision:\n")
    assert "called credit bureau, which answered; set score = 640" in narrative
    assert why.startswith("decision is 'approved by an officer', written by review#0\n")
    for reason in (
        "score = 640",
        "burden = 0.8",
        "assess#0 chose review because neither clearly good nor clearly bad",
        "low score: score is 640, not < 500",
        "asked 'Grant Ben a loan of 10,000 USD?', which was answered True",
    ):
        assert reason in why


@pytest.mark.parametrize(
    ("applicant", "income", "debts", "decision", "reason"),
    [
        (
            "Ada",
            90_000.0,
            5_000.0,
            "approved",
            "good score and light burden (sanctioned is False, is false; score is 780",
        ),
        ("Cleo", 90_000.0, 0.0, "declined", "low score (score is 480, < 500)"),
        ("Ada", 10_000.0, 5_000.0, "declined", "too heavy a burden (burden is 2.5, >= 2.0)"),
    ],
)
async def test_why_a_decision_was_taken_names_the_values_and_the_rule(
    applicant: str, income: float, debts: float, decision: str, reason: str
) -> None:
    module = loan()
    run = await module.loan.start(module.Application(applicant, income, debts, 20_000.0))
    assert run["decision"] == decision
    assert f"because {reason}" in run.footprint.why("decision")


async def test_the_middle_band_waits_for_a_person_also_in_another_process() -> None:
    module = loan()
    application = module.Application("Ben", 50_000.0, 30_000.0, 10_000.0)
    paused = await module.loan.start(application)
    assert paused.status == "paused"
    assert paused.asks[0].ask.data == {"score": 640, "burden": 0.8, "sanctioned": False}
    elsewhere = loan().loan
    run = await elsewhere.resume(stored(paused), answers=answers_to(paused, False))
    assert (run["decision"], run["terms"]) == ("declined by an officer", "none")
    assert told(await run.footprint.replay()) == told(run)


async def test_another_officer_s_what_if_is_a_fork_from_the_record() -> None:
    module = loan()
    run = await module.loan.start(module.Application("Cleo", 40_000.0, 0.0, 5_000.0))
    forked = await run.footprint.fork(at="assess#0", set={"score": 720})
    assert (run["decision"], forked["decision"], forked["terms"]) == ("declined", "approved", "4.0 % a year")
    assert "changed#0:score" in forked.footprint.slice("decision").ids()
    assert json.loads(forked.footprint.to_jsonl().splitlines()[0])["flow"] == "loan"
