"""How much is told: what every exporter means by "minimal", "standard" and "everything"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from ..errors import ConfigurationError
from ..events import Event

__all__ = ["TIERS", "Tier", "check_tier", "told_at"]

Tier: TypeAlias = Literal["minimal", "standard", "everything"]
"""`minimal`: how runs begin and end, and trouble. `standard`: models, tools, memories and decisions as
well. `everything`: also each step of the flow and what is put in front of the model."""

TIERS: tuple[Tier, ...] = ("minimal", "standard", "everything")


def check_tier(tier: str) -> Tier:
    """Raises ConfigurationError: there is no such tier."""
    for known in TIERS:
        if known == tier:
            return known
    raise ConfigurationError(f"tier={tier!r} is unknown: use 'minimal', 'standard' or 'everything'")


def told_at(tier: Tier, table: Mapping[Tier, Iterable[type[Event]]]) -> frozenset[type[Event]]:
    """The kinds of events of a tier and of those below it."""
    upto = TIERS[: TIERS.index(tier) + 1]
    return frozenset(kind for each in upto for kind in table.get(each, ()))
