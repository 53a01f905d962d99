"""Embedding as the rooms above ask for it: whichever embedder it is, the run around it hears of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ..errors import AgentFootprintError
from ..events import EmbeddingEnded
from ..flow.current import tell_run
from ..messages import Usage
from .base import Embedder, Embedding, Purpose
from .usage import EmbeddingUsage, metered

__all__ = ["embed", "error_code", "usage_of"]


async def embed(
    embedder: Embedder, texts: Sequence[str], *, purpose: Purpose = "document"
) -> Sequence[Embedding]:
    """`embedder.embed(...)`, told as one `embedding.ended` with what its requests used."""
    used: list[EmbeddingUsage] = []
    begun = time.monotonic()
    error = None
    try:
        with metered(used.append):
            return await embedder.embed(texts, purpose=purpose)
    except BaseException as failed:
        error = error_code(failed)
        raise
    finally:
        if texts:
            took = time.monotonic() - begun
            names, usage = _names(embedder), usage_of(used)
            tell_run(EmbeddingEnded, *names, len(texts), embedder.dimensions, usage, took, error)


def usage_of(used: Sequence[EmbeddingUsage]) -> Usage | None:
    """The tokens of several requests; None when nobody said anything."""
    return sum((each.usage or Usage(unreported=1) for each in used), Usage()) if used else None


def error_code(error: BaseException) -> str:
    """What failed, in a word that may be a label."""
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return error.code if isinstance(error, AgentFootprintError) else type(error).__name__


def _names(embedder: Embedder) -> tuple[str, str]:
    """Provider and model: of an embedder that names neither, the name in its fingerprint."""
    name, _, _ = embedder.fingerprint.rpartition("@")
    provider, _, model = name.partition(":")
    found = getattr(embedder, "name", None), getattr(embedder, "model", None)
    return (
        found[0] if isinstance(found[0], str) else provider,
        found[1] if isinstance(found[1], str) else model or provider,
    )
