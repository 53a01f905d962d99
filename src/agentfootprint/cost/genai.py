"""The prices of the vendors, from the package genai-prices."""

from __future__ import annotations

import functools
from decimal import Decimal
from typing import Any

from ..errors import MissingExtra
from ..messages import Usage

__all__ = ["GenAIPrices"]

_VENDORS = {"bedrock": "aws", "gemini": "google", "xai": "x-ai"}
"""Names of providers that the package spells otherwise."""


class GenAIPrices:
    """What vendors list for their models, with tiers and cache prices, from the package genai-prices
    (`pip install 'agentfootprint[prices]'`). It holds them itself: nothing is fetched.

    A model it does not know, or one of a vendor it does not know, has no price; give it one with
    `PriceList({...}, otherwise=GenAIPrices())`. A `MockProvider` costs nothing.

    Raises:
        MissingExtra: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            import genai_prices
            from genai_prices import data_snapshot
        except ImportError:
            raise MissingExtra("GenAIPrices", "prices") from None
        self._usage: Any = genai_prices.Usage
        snapshot = data_snapshot.get_snapshot()
        known = {vendor.id for vendor in snapshot.providers}

        @functools.lru_cache(maxsize=1024)
        def find(provider: str, model: str) -> tuple[Any, Any] | None:
            vendor = _VENDORS.get(provider, provider)
            if vendor not in known:
                return None
            try:
                return snapshot.find_provider_model(model, None, vendor, None)
            except LookupError:
                return None

        self._find = find

    def cost(self, provider: str, model: str, usage: Usage) -> Decimal | None:
        if provider == "mock":
            return Decimal(0)
        found = self._find(provider, model)
        if found is None:
            return None
        vendor, priced = found
        counted = self._usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        )
        total: Decimal = priced.calc_price(counted, vendor).total_price
        return total
