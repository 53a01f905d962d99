"""Where a run ends although the model asks for more, as rules of its decisions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..flow import eq, ge, nonempty, rule
from ..flow.rules import Check, Rule, check

__all__ = ["Limits", "limit_rules", "retry_rules"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a run ends although the model asks for more; None is no limit."""

    max_iterations: int | None = 20
    max_tool_calls: int | None = None
    max_total_tokens: int | None = None
    cost_budget: bool = False

    def within(self, tokens: int | None, *, cost_budget: bool) -> Limits:
        """The same in a run that has so many tokens left, and perhaps a budget, around it."""
        least = min((each for each in (tokens, self.max_total_tokens) if each is not None), default=None)
        return replace(self, max_total_tokens=least, cost_budget=self.cost_budget or cost_budget)


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
    rules.append(rule("the model asked for tools", "tools", pending=nonempty()))
    return tuple(rules)


def retry_rules(limits: Limits) -> tuple[Rule, ...]:
    """The limits at which no other answer is asked for."""
    rules = []
    if limits.max_iterations is not None:
        rules.append(rule("max_iterations", "settle", iteration=ge(limits.max_iterations)))
    if limits.max_total_tokens is not None:
        rules.append(rule("max_tokens", "settle", usage=_all_spent(limits.max_total_tokens)))
    return tuple(rules)


def _all_spent(most: int) -> Check:
    # What a vendor does not report is not nothing: a limit that cannot be held counts as reached.
    return check(
        f"has {most} tokens or more, or tokens that were not reported",
        lambda usage: usage.total_tokens >= most or usage.unreported > 0,
    )
