"""What a run's calls of models, and what it has others ask of models, cost: written down with its steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..cost.prices import usd_of
from ..embedders.usage import EmbeddingUsage, charged_to
from ..errors import CostBudgetExceeded
from ..events import CostTicked, LimitReached
from ..flow import Seq
from ..flow.again import Stored
from ..flow.codec import decode
from ..flow.nested import CUT, NESTED, told_in
from ..messages import Usage
from .spending import Spent

if TYPE_CHECKING:
    from ..flow import Run, Step, StepRecord
    from ..messages import LLMResponse
    from .session import Session

__all__ = [
    "Charge",
    "bill",
    "charges_in",
    "knows_of",
    "metering",
    "paid",
    "spent_by",
    "take_charges",
    "used",
    "used_by",
]

T = TypeVar("T")

EMBEDDED = "embedded"
"""The call that counts what a tool had embedded."""

LOST = "lost"
"""The call by which a step that breaks off leaves what it has spent."""


async def paid(
    c: Step[Any], own: Session, asking: Callable[..., Awaitable[LLMResponse]]
) -> LLMResponse | None:
    """What `asking` for the model's answer brings; None, and `stop` says why, when the budget refuses."""
    reply: LLMResponse | None = None
    with bill(c, own, "model"):
        try:
            reply = await asking(raises=(CostBudgetExceeded,))
        except CostBudgetExceeded:
            pass
    spent: Spent = c["cost"]
    if reply is None or spent.cut:
        own.tell(LimitReached, c, "cost_budget", float(usd_of(spent.nano + spent.held)))
        c["stop"] = "cost_budget"
    return reply


@dataclass(frozen=True, slots=True)
class Charge:
    """What something beside the run's own model has spent for it: finding a memory, a run within it. None is
    what is not counted there, or not priced."""

    spent: Spent | None = None
    usage: Usage | None = None

    @staticmethod
    def of(run: Run) -> Charge:
        """All that a run has spent so far."""
        return Charge(spent_by(run), used_by(run))

    def since(self, before: Charge) -> Charge:
        """What was spent after `before`."""
        spent, usage = self.spent, self.usage
        if spent is not None and before.spent is not None:
            spent = spent - before.spent
        if usage is not None and before.usage is not None:
            usage = usage - before.usage
        return Charge(spent, usage)


def take_charges(c: Step[Any], own: Session) -> None:
    """What was charged since the model was asked last becomes part of the run's cost and usage."""
    charges: Seq[Charge] | None = c.get("charges")
    counted = c.get("charged", 0) if charges else 0
    if charges is None or counted == len(charges):
        return
    new = charges[counted:]
    c["charged"] = len(charges)
    c["usage"] = sum((each.usage for each in new if each.usage is not None), c["usage"])
    if own.spending is not None:
        c["cost"] = sum((each.spent for each in new if each.spent is not None), c.get("cost") or Spent())


def used(c: Step[Any], own: Session, usage: Usage) -> None:
    """What models were asked in a step becomes part of the run's usage, and of those around it."""
    c["usage"] = c["usage"] + usage
    if own.allowance is not None:
        own.allowance.count(usage)


def knows_of(own: Session, run: Run) -> None:
    """What a run has spent and used by its record is held against what it may."""
    if own.spending is not None and (spent := spent_by(run)) is not None:
        own.spending.account.knows_of(spent.nano + spent.held)
    if own.allowance is not None:
        own.allowance.knows_of(used_by(run))


@contextmanager
def bill(c: Step[Any], own: Session, kind: Literal["model", "memory"]) -> Iterator[None]:
    """What is spent within becomes part of the run's cost. `kind` says what the models are asked for."""
    spending = own.spending
    assert spending is not None
    before = c.get("cost") or Spent()
    while c.was_called(LOST):
        before = c.call_now(LOST, spending.so_far, returns=Spent)
    spending.begin(kind, before, partial(own.tell, CostTicked, c), partial(own.tell, LimitReached, c))
    begun = spending.so_far()
    try:
        yield
    except BaseException:
        # What a step writes is taken back when it breaks off; what it spent is not.
        c.call_now(LOST, spending.so_far, returns=Spent)
        raise
    # Where a fork has asked the model anew, what it cost before is not what it costs now.
    anew = ("anew",) if c.run.patched and spending.so_far() != begun else ()
    c["cost"] = c.call_now("cost", lambda *_: spending.so_far(), *anew, returns=Spent)


async def metering(c: Step[Any], own: Session, call_id: str, work: Awaitable[T]) -> T:
    """Does a call of a tool; what it has an embedder asked is counted, also when it breaks off."""
    spending = own.spending
    if spending is None:
        return await work
    embedded: list[EmbeddingUsage] = []

    async def count() -> Spent:
        spending.go_on(spent_by(c.run) or Spent())
        return await spending.embedded(embedded, partial(own.tell, CostTicked, c))

    try:
        with charged_to(embedded.append):
            return await work
    finally:
        while c.was_called(EMBEDDED, call_id):
            # What the call had embedded before it paused stands in the record.
            await c.call(EMBEDDED, count, key=call_id, returns=Spent)
        if embedded:
            await c.call(EMBEDDED, count, key=call_id, returns=Spent)


def spent_by(run: Run) -> Spent | None:
    """What a run has spent, the steps it stands in included; None when its agent prices nothing."""
    found: Spent | None = run.get("cost")
    broken = run.root.open
    for call in reversed(() if broken is None else broken.calls):
        if call.name == LOST:
            lost: Spent = decode(Spent, call.result.data) if type(call.result) is Stored else call.result
            return lost
    if found is None:
        return None
    return sum((each.spent for each in _open_charges(run) if each.spent is not None), found)


def used_by(run: Run) -> Usage:
    """The tokens that a run has used, the steps it stands in included."""
    usage: Usage = run.get("usage", Usage())
    return sum((each.usage for each in _open_charges(run) if each.usage is not None), usage)


def _open_charges(run: Run) -> list[Charge]:
    """What was charged since the model was asked last, also in steps that have not been joined yet."""
    known: Seq[Charge] = run.get("charges", Seq())
    found = list(known[run.get("charged", 0) :])
    for child in run.root.children or ():
        if child.done:
            found += child.state["charges"].value[len(known) :] if "charges" in child.state else ()
        elif child.open is not None:
            found += charges_in(child.open)
    return found


def charges_in(step: StepRecord) -> list[Charge]:
    """What was charged in the calls of a step: for runs within it, for embedding."""
    charges = []
    for call in step.calls:
        if call.end is None or call.error is not None:
            continue
        if call.name == EMBEDDED:
            spent = decode(Spent, call.result.data) if type(call.result) is Stored else call.result
            charges.append(Charge(spent))
        elif call.name in (NESTED, CUT) and (told := told_in(call).get("charge")) is not None:
            charges.append(decode(Charge, told))
    return charges
