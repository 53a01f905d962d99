"""The tables of shared state in PostgreSQL."""

from __future__ import annotations

from typing import LiteralString

from .postgres_tables import Tables

__all__ = ["ROLE", "TABLES"]

ROLE: LiteralString = "agentfootprint_state"

_GUARDED: tuple[LiteralString, ...] = (
    "agentfootprint_record",
    "agentfootprint_counter",
    "agentfootprint_log",
)

# What the tenant of a row is, the server reads from its key itself; for whom a transaction is, it is told
# apart from that. The operator's own keys begin with "~~~|", which is no tenant's.
_POLICY: LiteralString = (
    "(split_part(split_part(key, '|', 1), '/', 1) || '/' ="
    " (SELECT current_setting('agentfootprint.tenant', true)))"
)


def _guard(table: LiteralString) -> tuple[LiteralString, ...]:
    return (
        f"CREATE INDEX IF NOT EXISTS {table}_expires ON {table} (expires) WHERE expires IS NOT NULL",
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY agentfootprint_tenant ON {table} USING {_POLICY}",
        # Who owns them collects what has expired, and may be no superuser.
        f"CREATE POLICY agentfootprint_expired ON {table} TO CURRENT_USER"
        " USING (expires <= extract(epoch FROM clock_timestamp())::float8 - 60) WITH CHECK (false)",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {ROLE}",
    )


# By the server's clock too, so that nobody collects what others still see, and a minute later: clocks differ.
_COLLECTING: LiteralString = """
CREATE FUNCTION agentfootprint_state_collect(until double precision, most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
WITH
  due AS (SELECT least(until, extract(epoch FROM clock_timestamp())::float8 - 60) AS before),
  r AS (DELETE FROM agentfootprint_record WHERE key IN (
    SELECT key FROM agentfootprint_record WHERE expires <= (SELECT before FROM due)
    LIMIT least(most, 1000) FOR UPDATE SKIP LOCKED) RETURNING key),
  c AS (DELETE FROM agentfootprint_counter WHERE key IN (
    SELECT key FROM agentfootprint_counter WHERE expires <= (SELECT before FROM due)
    LIMIT least(most, 1000) FOR UPDATE SKIP LOCKED) RETURNING key),
  l AS (DELETE FROM agentfootprint_log WHERE sequence IN (
    SELECT sequence FROM agentfootprint_log WHERE expires <= (SELECT before FROM due)
    LIMIT least(most, 1000) FOR UPDATE SKIP LOCKED) RETURNING sequence)
SELECT (SELECT count(*) FROM r) + (SELECT count(*) FROM c) + (SELECT count(*) FROM l);
END
"""

TABLES = Tables(
    "state",
    ROLE,
    "agentfootprint_state_migration",
    _GUARDED,
    (
        (
            # Keys compare byte by byte: those of an identity are one range of the index. Tables that are
            # there were made before they kept tenants apart.
            'CREATE TABLE IF NOT EXISTS agentfootprint_record (key text COLLATE "C" PRIMARY KEY,'
            " value text NOT NULL, version text NOT NULL, expires double precision)",
            'CREATE TABLE IF NOT EXISTS agentfootprint_counter (key text COLLATE "C" PRIMARY KEY,'
            " total bigint NOT NULL, expires double precision)",
            "CREATE TABLE IF NOT EXISTS agentfootprint_log (sequence bigint GENERATED ALWAYS AS IDENTITY"
            ' PRIMARY KEY, key text COLLATE "C" NOT NULL, value text NOT NULL, expires double precision)',
            "CREATE INDEX IF NOT EXISTS agentfootprint_log_key ON agentfootprint_log (key, sequence)",
            *(statement for table in _GUARDED for statement in _guard(table)),
            _COLLECTING,
            "REVOKE ALL ON FUNCTION agentfootprint_state_collect FROM PUBLIC",
            f"GRANT EXECUTE ON FUNCTION agentfootprint_state_collect TO {ROLE}",
            f"GRANT SELECT ON agentfootprint_state_migration TO {ROLE}",
        ),
    ),
)
