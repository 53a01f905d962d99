"""Where a run ends although the model asks for more, as rules of its decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..flow import eq, ge, nonempty, rule
from ..flow.rules import Check, Rule, check
from ..messages import Usage

__all__ = ["Allowance", "Held", "Limits", "limit_rules", "retry_rules"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a run ends although the model asks for more; None is no limit. `around`: the tokens of the runs
    around it are limited."""

    max_iterations: int | None = 20
    max_tool_calls: int | None = None
    max_total_tokens: int | None = None
    cost_budget: bool = False
    around: bool = False

    def within(self, held: Held) -> Limits:
        """The same in a run that is nested in another one."""
        return replace(self, cost_budget=self.cost_budget or held.budget, around=held.tokens)


class Allowance:
    """The tokens that a run may use, and those of the run that has called it: what a nested run uses, those
    above it have used too.

    Args:
        limit: None sets no limit of its own.
        above: of the run that this one is nested in.
    """

    __slots__ = ("_limit", "_unreported", "_used", "above")

    def __init__(self, limit: int | None, above: Allowance | None = None) -> None:
        self.above = above
        self._limit = limit
        self._used = 0
        self._unreported = 0

    def knows_of(self, used: Usage) -> None:
        """So much was used by the record. What is counted here beyond that, others have used meanwhile."""
        self._used = max(self._used, used.total_tokens)
        self._unreported = max(self._unreported, used.unreported)

    def count(self, used: Usage) -> None:
        """Counts the tokens of an answer, here and above."""
        for each in self._upwards():
            each._used += used.total_tokens
            each._unreported += used.unreported

    def left(self) -> int | None:
        """What the tightest limit has left, at least 0; None without any."""
        limited = [each for each in self._upwards() if each._limit is not None]
        return min((each._left for each in limited), default=None)

    @property
    def _left(self) -> int:
        # What a vendor does not report is not nothing.
        return 0 if self._unreported else max(0, (self._limit or 0) - self._used)

    def _upwards(self) -> Iterator[Allowance]:
        allowance: Allowance | None = self
        while allowance is not None:
            yield allowance
            allowance = allowance.above


@dataclass(frozen=True, slots=True)
class Held:
    """What the runs around a nested one hold it to, as its record has it: whether they limit its tokens and
    its money, and whether its calls are priced there. So it is run again as it ran."""

    tokens: bool = False
    budget: bool = False
    priced: bool = False


def limit_rules(limits: Limits) -> tuple[Rule, ...]:
    """The rules of `route`, in the order tried. The names of limits are those of `StopReason`."""
    rules = [rule("the last answer was asked for", "answer", stop=nonempty())]
    if limits.cost_budget:
        rules.insert(0, rule("cost_budget", "answer", stop=eq("cost_budget")))
    if limits.max_iterations is not None:
        rules.append(rule("max_iterations", "limit", pending=nonempty(), iteration=ge(limits.max_iterations)))
    if limits.max_tool_calls is not None:
        rules.append(
            rule("max_tool_calls", "limit", pending=nonempty(), tool_count=ge(limits.max_tool_calls + 1))
        )
    if limits.max_total_tokens is not None:
        spent = _all_spent(limits.max_total_tokens)
        rules.append(rule("max_tokens", "limit", pending=nonempty(), usage=spent))
    if limits.around:
        rules.append(rule("max_tokens", "limit", pending=nonempty(), tokens_left=eq(0)))
    rules.append(rule("the model asked for tools", "tools", pending=nonempty()))
    return tuple(rules)


def retry_rules(limits: Limits) -> tuple[Rule, ...]:
    """The limits at which no other answer is asked for."""
    rules = []
    if limits.max_iterations is not None:
        rules.append(rule("max_iterations", "settle", iteration=ge(limits.max_iterations)))
    if limits.max_total_tokens is not None:
        rules.append(rule("max_tokens", "settle", usage=_all_spent(limits.max_total_tokens)))
    if limits.around:
        rules.append(rule("max_tokens", "settle", tokens_left=eq(0)))
    return tuple(rules)


def _all_spent(most: int) -> Check:
    # What a vendor does not report is not nothing: a limit that cannot be held counts as reached.
    return check(
        f"has {most} tokens or more, or tokens that were not reported",
        lambda usage: usage.total_tokens >= most or usage.unreported > 0,
    )
