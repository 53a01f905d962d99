"""What indexing did: the report, and how far it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from ..cost.prices import PricingTable
from ..embedders.usage import EmbeddingUsage
from ..flow import Footprint
from ..messages import Usage
from .document import printable

__all__ = ["FileReport", "IndexProgress", "IndexReport", "cost_of"]

_log = logging.getLogger("agentfootprint.retrieval")


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one document: how many of its chunks were embedded and written, were there already, only
    moved, or were removed because it has them no longer; or why nothing was done."""

    source: str
    added: int = 0
    unchanged: int = 0
    moved: int = 0
    removed: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far indexing is: documents done of all, the one that was worked on, chunks embedded so far."""

    done: int
    documents: int
    source: str
    embedded: int


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What `index` did. `print(report)` tells it.

    `added`, `unchanged`, `moved` and `removed` count chunks; those of `gone` documents, which were removed as
    a whole, are among the removed. `failed` are the documents that could not be indexed, with the reason:
    what was there of them is there still. `skipped` are files of a folder that were left out.

    `usage` are the tokens that were embedded, failed documents included; `usage.unreported` counts requests
    whose vendor did not say. `cost` is in USD: None without a `pricing_table`, or when a price is not known.
    """

    corpus: str
    files: tuple[FileReport, ...]
    gone: tuple[FileReport, ...]
    skipped: tuple[str, ...]
    usage: Usage
    cost: Decimal | None
    footprint: Footprint = field(repr=False, compare=False)

    @property
    def documents(self) -> int:
        """How many documents are indexed now, of those that were given."""
        return len(self.files) - len(self.failed)

    @property
    def added(self) -> int:
        return sum(each.added for each in self.files)

    @property
    def unchanged(self) -> int:
        return sum(each.unchanged for each in self.files)

    @property
    def moved(self) -> int:
        return sum(each.moved for each in self.files)

    @property
    def removed(self) -> int:
        return sum(each.removed for each in (*self.files, *self.gone))

    @property
    def failed(self) -> tuple[FileReport, ...]:
        return tuple(each for each in self.files if each.error is not None)

    @property
    def _embedded(self) -> str:
        more = " + unreported" if self.usage.unreported else ""
        return f"{self.usage.input_tokens} tokens{more}" + ("" if self.cost is None else f", ${self.cost:f}")

    def __str__(self) -> str:
        lines = [
            f"{self.corpus}: {self.documents} documents; chunks: {self.added} added, "
            f"{self.unchanged} unchanged, {self.moved} moved, {self.removed} removed"
        ]
        if self.usage != Usage():
            lines.append(f"embedded: {self._embedded}")
        lines += [f"failed: {' '.join(str(each.error).split())}" for each in self.failed]
        lines += [f"gone: {printable(each.source)}" for each in self.gone]
        lines += [f"skipped: {printable(each)}" for each in self.skipped]
        return "\n".join(lines)


def cost_of(used: Sequence[EmbeddingUsage], table: PricingTable) -> Decimal | None:
    """What requests to embedders cost together, in USD; None when one has no known price."""
    total = Decimal(0)
    for each in used:
        if not each.charged:
            continue
        try:
            cost = None if each.usage is None else table.cost(each.provider, each.model, each.usage)
        except Exception:
            # The corpus is indexed: its report is not lost for want of a price.
            _log.exception("the pricing table failed on %s:%s", each.provider, each.model)
            return None
        if cost is None:
            return None
        total += cost
    return total
