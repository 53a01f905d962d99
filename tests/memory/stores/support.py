"""What tests of the PostgreSQL store share."""

from __future__ import annotations

from typing import Any

import psycopg

from agentfootprint.embedders import Embedding
from agentfootprint.identity import MemoryIdentity
from tests.servers.stores import Place

ACME = MemoryIdentity("acme", "alice", "t-1")
OTHER = MemoryIdentity("other", "bob", "t-1")


async def ask(where: Place, statement: str, *given: Any) -> list[Any]:
    _, address, schema = where
    options = {"options": f"-c search_path={schema}"}
    async with await psycopg.AsyncConnection.connect(address, autocommit=True, **options) as connection:  # type: ignore[arg-type]
        cursor = await connection.execute(statement.encode(), given)
        return await cursor.fetchall() if cursor.description else []


def towards(*numbers: float) -> Embedding:
    return Embedding.of([*numbers, *[0.0] * (4 - len(numbers))], "test@4")
