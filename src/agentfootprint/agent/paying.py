"""The model's answer, and what it cost written down with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..cost.prices import usd_of
from ..errors import CostBudgetExceeded
from ..events import CostTicked, LimitReached
from ..flow.again import Stored
from ..flow.codec import decode
from .spending import Spent

if TYPE_CHECKING:
    from ..flow import Run, Step
    from ..messages import LLMResponse
    from .session import Session

__all__ = ["paid", "spent_by"]

LOST = "lost"
"""The call by which a step that breaks off leaves what it has spent."""

_NOTHING = Spent()


async def paid(
    c: Step[Any], own: Session, asking: Callable[..., Awaitable[LLMResponse]]
) -> LLMResponse | None:
    """What `asking` for the model's answer brings; None, and `stop` says why, when the budget refuses."""
    spending = own.spending
    assert spending is not None
    before: Spent = c.get("cost", _NOTHING)
    while c.was_called(LOST):
        before = c.call_now(LOST, spending.so_far, returns=Spent)
    spending.begin(before, partial(own.tell, CostTicked, c, "model"), partial(own.tell, LimitReached, c))
    reply: LLMResponse | None = None
    try:
        reply = await asking(raises=(CostBudgetExceeded,))
    except CostBudgetExceeded:
        pass
    except BaseException:
        # What a step writes is taken back when it breaks off; what it spent is not.
        c.call_now(LOST, spending.so_far, returns=Spent)
        raise
    spent = c.call_now("cost", spending.so_far, returns=Spent)
    c["cost"] = spent
    if reply is None or spent.cut:
        own.tell(LimitReached, c, "cost_budget", float(usd_of(spent.nano + spent.held)))
        c["stop"] = "cost_budget"
    return reply


def spent_by(run: Run) -> Spent | None:
    """What a run has spent, the step it broke off in included; None when its agent prices nothing."""
    broken = run.root.open
    for call in reversed(() if broken is None else broken.calls):
        if call.name == LOST:
            spent: Spent = decode(Spent, call.result.data) if type(call.result) is Stored else call.result
            return spent
    found: Spent | None = run.get("cost")
    return found
