"""One transaction of one tenant in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias

from ...identity import MemoryIdentity, namespace_prefix
from .postgres_migrations import ROLE

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.sql import Composed

__all__ = ["Statement", "tenant", "transact"]

Statement: TypeAlias = "tuple[LiteralString | Composed, Mapping[str, Any]]"

# Row-level security binds neither superusers nor, unless it is forced, owners: so nobody stays who connected.
# A statement is planned for who the role is then, so this is one of its own that comes first.
_AS_TENANT: LiteralString = (
    "SELECT set_config('role', %(role)s, true), set_config('agentfootprint.tenant', %(tenant)s, true)"
)


def tenant(identity: MemoryIdentity) -> str:
    """The tenant as the tables have it."""
    return namespace_prefix(MemoryIdentity(identity.tenant))


async def transact(
    connection: AsyncConnection[Any],
    identity: MemoryIdentity,
    *statements: Statement,
    prepare: bool | None = None,
) -> list[list[Any]]:
    """The rows of each statement. What a pipeline sends at once is committed together, or not at all.

    Args:
        prepare: False has the statements planned for these very values, each time.
    """
    cursors = [connection.cursor(binary=True) for _ in statements]
    async with connection.pipeline():
        await connection.execute(_AS_TENANT, {"role": ROLE, "tenant": tenant(identity)})
        for cursor, (statement, given) in zip(cursors, statements, strict=True):
            await cursor.execute(statement, given, prepare=prepare)
    return [await each.fetchall() if each.description else [] for each in cursors]
