"""One transaction of one tenant in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias

from ...identity import MemoryIdentity, namespace_prefix
from .postgres_migrations import ROLE

if TYPE_CHECKING:
    from psycopg import AsyncConnection

__all__ = ["Setting", "Statement", "tenant", "transact"]

Statement: TypeAlias = "tuple[LiteralString | bytes, Mapping[str, Any]]"
Setting: TypeAlias = "tuple[LiteralString, Mapping[str, Any]]"

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
    settings: Setting = ("", {}),
) -> list[list[Any]]:
    """The rows of each statement. What a pipeline sends at once is committed together, or not at all.

    Args:
        prepare: False has the statements planned for these very values, each time.
        settings: what else is set for the transaction, as `, set_config(…)`, and its values.
    """
    also, given = settings
    cursors = [connection.cursor(binary=True) for _ in statements]
    async with connection.pipeline():
        whose = {"role": ROLE, "tenant": tenant(identity), **given}
        await connection.execute(f"{_AS_TENANT}{also}", whose)
        for cursor, (statement, values) in zip(cursors, statements, strict=True):
            await cursor.execute(statement, values, prepare=prepare)
    return [await each.fetchall() if each.description else [] for each in cursors]
