"""`agentfootprint migrate`: the tables of memory, of shared state and of kept runs in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..errors import InputInvalid
from ..memory import PostgresStore
from ..observe.records.postgres import migrate as migrate_records
from ..state import PostgresState
from .codes import COMPLETED

__all__ = ["migrate"]


def migrate(dsn: str | None, schema: str, fingerprints: Sequence[str]) -> int:
    """Makes what is missing, and prints a line for each thing it did."""
    if not dsn:
        raise InputInvalid("name the database: agentfootprint migrate DSN, or AGENTFOOTPRINT_DSN")
    store, state = PostgresStore(dsn, schema=schema), PostgresState(dsn, schema=schema)
    done = asyncio.run(_migrate(store, state, fingerprints))
    for line in (kept := migrate_records(dsn, schema)):
        print(line)
    if not done and not kept:
        print("nothing to do: the tables are up to date")
    return COMPLETED


async def _migrate(store: PostgresStore, state: PostgresState, fingerprints: Sequence[str]) -> list[str]:
    done = [*await store.migrate(), *await state.migrate()]
    for line in done:
        print(line)
    for fingerprint in fingerprints:
        if await store.create_vector_index(fingerprint):
            done.append(fingerprint)
            print(f"made the index of the vectors of {fingerprint}")
    return done
