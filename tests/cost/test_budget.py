"""Budgets say what they limit, or are refused when they are built."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint.cost import CostBudget, SpendingWindow
from agentfootprint.errors import ConfigurationError


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "needs a limit"),
        ({"usd": -1}, "usd"),
        ({"usd": "a lot"}, "usd"),
        ({"per_tenant_daily_usd": float("nan")}, "per_tenant_daily_usd"),
        ({"usd": 1, "on_exceed": "stop"}, "'halt' or 'warn'"),
        ({"usd": 1, "unpriced": "ignore"}, "'refuse' or 'allow'"),
        ({"usd": 1, "max_output_tokens": 0}, "max_output_tokens"),
        ({"per_tenant_daily_usd": 1, "windows": [SpendingWindow(2)]}, "same length"),
        ({"windows": SpendingWindow(2)}, "tuple of SpendingWindow"),
        ({"windows": (5,)}, "tuple of SpendingWindow"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        CostBudget(**options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"usd": -1}, "usd"),
        ({"usd": 1, "seconds": 0}, "seconds"),
        ({"usd": 1, "seconds": "60"}, "seconds"),
        ({"usd": 1, "per": "team"}, "per='team'"),
    ],
)
def test_a_window_that_cannot_be_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        SpendingWindow(**options)


def test_the_daily_limit_of_a_tenant_is_a_window_like_any_other() -> None:
    budget = CostBudget(per_tenant_daily_usd=200, windows=(SpendingWindow(1, 3600, "principal"),))
    assert budget.all_windows == (
        SpendingWindow(200, 86_400, "tenant"),
        SpendingWindow(1, 3600, "principal"),
    )
    assert budget.all_windows[0].limit == 200_000_000_000
