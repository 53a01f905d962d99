"""A loan decision without any language model: checks side by side, rules, a person in the middle band.

    python examples/loan_decision.py

The flow reads like the policy it implements, and afterwards the run itself says why it was decided so.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from agentfootprint.flow import Decision, Flow, Run, Seq, Step, decide, ge, is_false, le, lt, rule


@dataclass(frozen=True)
class Application:
    applicant: str
    income: float
    """A year, in USD."""
    debts: float
    amount: float


@dataclass
class Loan:
    """The state: every key that a step may read or write, with its type."""

    input: Application
    score: int
    burden: float
    """Debts and the new loan, as a share of a year's income."""
    sanctioned: bool
    notes: Seq[str]
    decision: str
    terms: str


SCORES = {"Ada": 780, "Ben": 640, "Cleo": 480}
SANCTIONED = {"Mallory"}

loan = Flow("loan", state=Loan)


@loan.fork(branches=["credit_score", "affordability", "sanctions"], to="assess")
def checks(step: Step[Loan]) -> None:
    """Three checks, side by side."""


@loan.step(to="assess")
async def credit_score(step: Step[Loan]) -> None:
    """Asks the credit bureau."""

    async def bureau(applicant: str) -> int:
        await asyncio.sleep(0.01)
        return SCORES.get(applicant, 700)

    step.state.score = await step.call("credit bureau", bureau, step.state.input.applicant)
    step.append("notes", f"the bureau knows {step.state.input.applicant}")


@loan.step(to="assess")
def affordability(step: Step[Loan]) -> None:
    """Works out how heavy the loan would weigh."""
    application = step.state.input
    step.state.burden = round((application.debts + application.amount) / application.income, 2)
    step.append("notes", f"debts and loan are {step.state.burden:.0%} of a year's income")


@loan.step(to="assess")
def sanctions(step: Step[Loan]) -> None:
    """Looks the applicant up in the sanctions list."""
    step.state.sanctioned = step.state.input.applicant in SANCTIONED


@loan.decide(to={"approve": "approve", "decline": "decline", "review": "review"})
def assess(step: Step[Loan]) -> Decision:
    """The policy."""
    return decide(
        step,
        [
            rule("low score", "decline", score=lt(500)),
            rule("too heavy a burden", "decline", burden=ge(2.0)),
            rule(
                "good score and light burden", "approve", sanctioned=is_false(), score=ge(700), burden=le(1.0)
            ),
        ],
        "review",
        "neither clearly good nor clearly bad",
    )


@loan.step(to="confirm")
async def review(step: Step[Loan]) -> None:
    """A loan officer decides. The run waits here, for days if need be, in a database."""
    answer = await step.ask(
        f"Grant {step.state.input.applicant} a loan of {step.state.input.amount:,.0f} USD?",
        data={"score": step.state.score, "burden": step.state.burden, "sanctioned": step.state.sanctioned},
        schema={"type": "boolean"},
    )
    step.state.decision = "approved by an officer" if answer else "declined by an officer"


@loan.step(to="confirm")
def approve(step: Step[Loan]) -> None:
    step.state.decision = "approved"


@loan.step(to="confirm")
def decline(step: Step[Loan]) -> None:
    step.state.decision = "declined"


@loan.step
def confirm(step: Step[Loan]) -> None:
    """Writes the terms."""
    rate = 4.0 if step.state.score >= 700 else 7.5
    step.state.terms = f"{rate} % a year" if step.state.decision.startswith("approved") else "none"


async def decide_on(application: Application, *, officer: bool = True) -> Run:
    """Runs the flow; where it pauses, the officer answers."""
    run = await loan.start(application)
    if run.status == "paused":
        stored = json.dumps(run.snapshot())  # would lie in a database until somebody answers
        question = run.asks[0].ask
        print(f"  ? {question.question} {question.data} -> {'yes' if officer else 'no'}")
        run = await loan.resume(json.loads(stored), answers={question.id: officer})
    return run


async def main() -> None:
    for application in (
        Application("Ada", income=90_000, debts=5_000, amount=20_000),
        Application("Ben", income=50_000, debts=30_000, amount=10_000),
        Application("Cleo", income=40_000, debts=0, amount=5_000),
        Application("Mallory", income=900_000, debts=0, amount=5_000),
    ):
        print(f"{application.applicant} asks for {application.amount:,.0f} USD")
        run = await decide_on(application, officer=application.applicant == "Ben")
        print(f"  {run['decision']}, terms: {run['terms']}\n")
        if application.applicant == "Ben":
            print("What happened:\n" + run.footprint.narrative() + "\n")
            print("Why this decision:\n" + run.footprint.why("decision") + "\n")


if __name__ == "__main__":
    asyncio.run(main())
