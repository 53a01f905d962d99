"""What embedding has used, told to whoever counts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

from ..messages import Usage

__all__ = ["EmbeddingUsage", "Meter", "charged_to", "metered", "tell"]

_log = logging.getLogger("agentfootprint.embedders")


@dataclass(frozen=True, slots=True)
class EmbeddingUsage:
    """One request to an embedding model: what a `PricingTable` is asked with.

    `usage` is None when the vendor did not say, or when an attempt ended so that nobody knows whether it is
    charged: unknown is not zero. `texts` counts pieces of split texts one by one. `charged` is False where
    nobody sends a bill: the model runs in this process.
    """

    provider: str
    model: str
    texts: int
    usage: Usage | None
    charged: bool = True


Meter: TypeAlias = Callable[[EmbeddingUsage], None]

_meters: ContextVar[tuple[Meter, ...]] = ContextVar("agentfootprint_embedding_meters", default=())
_payer: ContextVar[Meter | None] = ContextVar("agentfootprint_embedding_payer", default=None)


@contextmanager
def metered(meter: Meter) -> Iterator[None]:
    """Tells `meter` every request that embedders make within, whichever embedder, in this task and in those
    it starts. Meters may be nested: each is told. A meter that raises is logged and changes nothing."""
    token = _meters.set((*_meters.get(), meter))
    try:
        yield
    finally:
        _meters.reset(token)


@contextmanager
def charged_to(payer: Meter) -> Iterator[None]:
    """Tells `payer` too, and no other payer around it: of runs within runs the inner one pays."""
    token = _payer.set(payer)
    try:
        yield
    finally:
        _payer.reset(token)


def tell(used: EmbeddingUsage) -> None:
    """Called by embedders for every attempt that may be charged."""
    payer = _payer.get()
    for meter in (*_meters.get(), *(() if payer is None else (payer,))):
        try:
            meter(used)
        except Exception:
            # The vectors are there and paid for: they are not thrown away because somebody cannot count.
            _log.exception("a meter of embedding usage failed")
