"""`agentfootprint migrate`: the tables of memory and of shared state in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..errors import InputInvalid
from ..memory import PostgresStore
from ..state import PostgresState
from .codes import COMPLETED

__all__ = ["migrate"]


def migrate(dsn: str | None, schema: str, fingerprints: Sequence[str]) -> int:
    """Makes what is missing, and prints a line for each thing it did."""
    if not dsn:
        raise InputInvalid("name the database: agentfootprint migrate DSN, or AGENTFOOTPRINT_DSN")
    asyncio.run(_migrate(PostgresStore(dsn, schema=schema), PostgresState(dsn, schema=schema), fingerprints))
    return COMPLETED


async def _migrate(store: PostgresStore, state: PostgresState, fingerprints: Sequence[str]) -> None:
    done = [*await store.migrate(), *await state.migrate()]
    for line in done:
        print(line)
    for fingerprint in fingerprints:
        if await store.create_vector_index(fingerprint):
            done.append(fingerprint)
            print(f"made the index of the vectors of {fingerprint}")
    if not done:
        print("nothing to do: the tables are up to date")
