"""What model calls cost: prices, and budgets that are kept before money is spent."""

from __future__ import annotations

from .budget import CostBudget, SpendingWindow
from .genai import GenAIPrices
from .prices import Price, PriceList, PricingTable

__all__ = ["CostBudget", "GenAIPrices", "Price", "PriceList", "PricingTable", "SpendingWindow"]
