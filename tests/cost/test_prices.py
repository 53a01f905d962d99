"""What tokens cost: to the cent, and unknown rather than guessed."""

from __future__ import annotations

import builtins
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfootprint.cost import GenAIPrices, Price, PriceList, PricingTable
from agentfootprint.cost.prices import nano_usd, usd_of
from agentfootprint.errors import ConfigurationError, MissingExtra
from agentfootprint.messages import Usage

SONNET = Price(input=3, output=15, cache_read=0.3, cache_write="3.75")


def test_input_output_and_cached_tokens_have_prices_of_their_own() -> None:
    usage = Usage(1_000_000, 100_000, cache_read_tokens=500_000, cache_write_tokens=200_000)
    # 0.3 M plain, 0.5 M read from the cache, 0.2 M written to it, 0.1 M out.
    assert SONNET.of(usage) == Decimal("0.9") + Decimal("0.15") + Decimal("0.75") + Decimal("1.5")


def test_what_is_not_charged_differently_is_charged_as_input() -> None:
    usage = Usage(1_000_000, 0, cache_read_tokens=400_000, cache_write_tokens=100_000)
    assert Price(input=2, output=8).of(usage) == 2


def test_floats_are_taken_as_they_print() -> None:
    assert Price(input=0.1, output=0.2).of(Usage(1_000_000, 1_000_000)) == Decimal("0.3")


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "much", None, True, [1]])
def test_a_price_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="output"):
        Price(input=1, output=wrong)


def test_a_list_finds_a_model_with_or_without_its_provider() -> None:
    table = PriceList({"m-1": Price(input=1, output=1), "azure:m-1": Price(input=2, output=2)})
    assert isinstance(table, PricingTable)
    usage = Usage(1_000_000, 0)
    assert table.cost("openai", "m-1", usage) == 1
    assert table.cost("azure", "m-1", usage) == 2
    assert table.cost("openai", "m-2", usage) is None


def test_a_model_is_not_taken_for_another_whose_name_begins_alike() -> None:
    assert PriceList({"gpt-5.1": SONNET}).cost("openai", "gpt-5.1-mini", Usage(1, 1)) is None


def test_what_a_list_does_not_have_the_next_table_is_asked_for() -> None:
    table = PriceList({"mine": Price(input=0, output=0)}, otherwise=GenAIPrices())
    assert table.cost("local", "mine", Usage(9, 9)) == 0
    assert table.cost("openai", "gpt-5.1", Usage(1000, 100)) == GenAIPrices().cost(
        "openai", "gpt-5.1", Usage(1000, 100)
    )


def test_a_list_wants_prices() -> None:
    with pytest.raises(ConfigurationError, match="'m' must be a Price"):
        PriceList({"m": 3})  # type: ignore[dict-item]


@given(st.integers(0, 10**15))
def test_billionths_of_a_dollar_lose_nothing(nano: int) -> None:
    assert nano_usd(usd_of(nano)) == nano


def test_less_than_a_billionth_is_rounded_up() -> None:
    assert nano_usd(Decimal("0.0000000001")) == 1


class TestGenAIPrices:
    """Facts of the package's own data: list prices of 2025, which do not change for these models."""

    table = GenAIPrices()

    @pytest.mark.parametrize(
        ("provider", "model", "usd"),
        [
            ("anthropic", "claude-sonnet-4-5-20250929", "18"),
            ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0", "1.5"),
            ("openai", "gpt-4o-mini", "0.75"),
        ],
    )
    def test_vendors_list_prices(self, provider: str, model: str, usd: str) -> None:
        total = sum(
            self.table.cost(provider, model, usage) or Decimal("NaN")
            for usage in [Usage(10_000, 0), Usage(0, 10_000)]
        )
        assert total * 100 == Decimal(usd)

    def test_reading_the_cache_is_cheaper_and_writing_it_dearer(self) -> None:
        def cost(**more: int) -> Decimal:
            found = self.table.cost("anthropic", "claude-sonnet-4-5", Usage(1000, 0, **more))
            assert found is not None
            return found

        assert cost(cache_read_tokens=1000) < cost() < cost(cache_write_tokens=1000)

    @pytest.mark.parametrize(("provider", "model"), [("openai", "nobody-knows"), ("ollama", "gpt-4o-mini")])
    def test_what_it_does_not_know_has_no_price(self, provider: str, model: str) -> None:
        assert self.table.cost(provider, model, Usage(1, 1)) is None

    def test_a_mock_costs_nothing(self) -> None:
        assert self.table.cost("mock", "mock", Usage(5, 5)) == 0

    def test_without_the_package_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def without(name: str, *arguments: Any, **options: Any) -> Any:
            if name.startswith("genai_prices"):
                raise ImportError(name)
            return real(name, *arguments, **options)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(MissingExtra, match=r"agentfootprint\[prices\]"):
            GenAIPrices()
