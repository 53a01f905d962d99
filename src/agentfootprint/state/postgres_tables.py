"""Tables in PostgreSQL that keep tenants apart by themselves: made step by step, never backwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from ..errors import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from psycopg import AsyncConnection

__all__ = ["AS_TENANT", "Tables", "as_tenant"]

_LOCK = 0x61676D65
"""The advisory lock under which instances that start together make schemas, roles and tables."""

# Row-level security binds neither superusers nor, unless it is forced, owners: so nobody stays who connected.
# A statement is planned for who the role is then, so this is one of its own that comes first.
AS_TENANT: LiteralString = (
    "SELECT set_config('role', %(role)s, true), set_config('agentfootprint.tenant', %(tenant)s, true)"
)


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one kind of store, in one schema.

    Args:
        what: the kind, in a word.
        role: nobody logs in as this role and it owns nothing: row-level security binds it, as it does no
            superuser.
        journal: the table that says which steps were made.
        guarded: the tables whose rows are of tenants.
        steps: each brings the tables of version n to version n + 1; what was released is never changed.
        optional: whether the store can be told not to make them.
    """

    what: LiteralString
    role: LiteralString
    journal: LiteralString
    guarded: tuple[LiteralString, ...]
    steps: tuple[tuple[LiteralString, ...], ...]
    optional: bool = True

    @property
    def newest(self) -> int:
        return len(self.steps)

    async def version(self, connection: AsyncConnection[Any]) -> int | None:
        """The version of the tables that are there; None when there are none."""
        from psycopg import sql

        cursor = await connection.execute("SELECT to_regclass(%s) IS NOT NULL", (self.journal,))
        row = await cursor.fetchone()
        if not (row and row[0]):
            return None
        newest = sql.SQL("SELECT max(version) FROM {}").format(sql.Identifier(self.journal))
        row = await (await connection.execute(newest)).fetchone()
        return row[0] if row else None

    async def check(self, connection: AsyncConnection[Any], where: str) -> None:
        """Refuses tables that are missing, older, newer, or do not keep tenants apart.

        The connection is in a transaction, and goes on in it as the role.

        Raises:
            StoreUnavailable: they are; the message says what to do.
            StoreError: the role that is connected may not use them.
        """
        from psycopg import errors

        found, member = None, True
        row = await (await connection.execute("SELECT to_regrole(%s) IS NOT NULL", (self.role,))).fetchone()
        if row and row[0]:
            try:
                await connection.execute("SELECT set_config('role', %s, true)", (self.role,))
                found = await self.version(connection)
            except errors.InsufficientPrivilege:
                member = False
        if not member:
            raise StoreError(
                f"the role connected to PostgreSQL at {where} may not use the {self.what} tables: run "
                "`agentfootprint migrate` as one that may create tables, if nobody has, and grant "
                f"{self.role} to this one"
            )
        self._refuse_newer(found, where)
        if found != self.newest:
            have = "are not there" if found is None else f"are in version {found}, not {self.newest}"
            raise StoreUnavailable(
                f"the {self.what} tables in PostgreSQL at {where} {have}: run `agentfootprint migrate` as a "
                "role that may create tables"
            )
        row = await (await connection.execute(_SAFE, (self.role, self.role, list(self.guarded)))).fetchone()
        if not (row and row[0] == len(self.guarded)):
            raise StoreUnavailable(
                f"the {self.what} tables in PostgreSQL at {where} do not keep tenants apart: row-level "
                f"security must be enabled and forced, and the role {self.role} may neither bypass it nor "
                "own them"
            )

    async def migrate(self, connection: AsyncConnection[Any], schema: str, where: str) -> list[str]:
        """Makes what is missing, and tells what that was. The connection is in a transaction.

        Raises:
            StoreUnavailable: a newer release made the tables.
            StoreError: the role that is connected may not do it.
        """
        from psycopg import errors

        try:
            return await self._migrate(connection, schema, where)
        except errors.InsufficientPrivilege:
            pass
        then = ", and pass create_tables=False" if self.optional else ""
        raise StoreError(
            f"the role connected to PostgreSQL at {where} may not make the {self.what} tables: run "
            "`agentfootprint migrate` as one that may create tables and roles, and grant "
            f"{self.role} to the role of the application{then}"
        )

    async def _migrate(self, connection: AsyncConnection[Any], schema: str, where: str) -> list[str]:
        from psycopg import sql

        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        done: list[str] = []
        row = await (await connection.execute("SELECT to_regnamespace(%s) IS NULL", (schema,))).fetchone()
        if row and row[0]:
            await connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            done.append(f"made the schema {schema}")
        found = await self.version(connection)
        self._refuse_newer(found, where)
        if found == self.newest:
            return done
        role = sql.Literal(self.role)
        await connection.execute(sql.SQL(_MAKE_ROLE).format(name=role))
        await connection.execute(sql.SQL(_JOIN_ROLE).format(name=role))
        grant = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}")
        await connection.execute(grant.format(sql.Identifier(schema), sql.Identifier(self.role)))
        journal = sql.Identifier(self.journal)
        await connection.execute(sql.SQL(_JOURNAL).format(journal))
        for number in range(found or 0, self.newest):
            for statement in self.steps[number]:
                await connection.execute(statement)
            made = sql.SQL("INSERT INTO {} (version) VALUES (%s)").format(journal)
            await connection.execute(made, (number + 1,))
            done.append(f"brought the {self.what} tables to version {number + 1}")
        return done

    def _refuse_newer(self, found: int | None, where: str) -> None:
        if found is not None and found > self.newest:
            raise StoreUnavailable(
                f"PostgreSQL at {where} holds the {self.what} tables in version {found}, this release of "
                f"agentfootprint knows version {self.newest}: use the release that made them, or a newer one"
            )


async def as_tenant(
    connection: AsyncConnection[Any],
    role: LiteralString,
    tenant: str,
    statement: LiteralString,
    given: Mapping[str, Any],
) -> list[Any]:
    """The rows of one statement for one tenant. What a pipeline sends at once is committed together, or not
    at all."""
    cursor = connection.cursor(binary=True)
    async with connection.pipeline():
        await connection.execute(AS_TENANT, {"role": role, "tenant": tenant})
        await cursor.execute(statement, given)
    return await cursor.fetchall() if cursor.description else []


_JOURNAL: LiteralString = (
    "CREATE TABLE IF NOT EXISTS {} (version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())"
)
# Roles are of the whole server: another database may be making it at this moment.
_MAKE_ROLE: LiteralString = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN
    EXECUTE format('CREATE ROLE %I NOLOGIN', {name});
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""
# Since PostgreSQL 16 who made a role administers it, and may not become it before it says so.
_JOIN_ROLE: LiteralString = """
DO $$ BEGIN
  IF NOT pg_has_role(current_user, {name},
    CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
  THEN
    EXECUTE format('GRANT %I TO %I', {name}, current_user);
  END IF;
END $$
"""
_SAFE: LiteralString = (
    "SELECT count(*) FROM pg_class AS c JOIN pg_roles AS r ON r.rolname = %s"
    " WHERE relrowsecurity AND relforcerowsecurity AND NOT (rolsuper OR rolbypassrls)"
    " AND relowner <> to_regrole(%s)::oid"
    " AND c.oid IN (SELECT to_regclass(each) FROM unnest(%s::text[]) AS each)"
)
