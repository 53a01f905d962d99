"""Kept runs in PostgreSQL: the server itself keeps tenants apart, whatever our statements say."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from agentfootprint.errors import StoreError, StoreUnavailable
from agentfootprint.observe.records import postgres, sql
from agentfootprint.observe.records.postgres import PostgresRecords

from ..servers.databases import postgres_dsn
from .test_records import NAMES, kept, put

Place = tuple[str, str]
"""A dsn and a schema in its search path."""


def at(dsn: str, schema: str) -> str:
    return f"{dsn}{'&' if '?' in dsn else '?'}options=-csearch_path%3D{schema}"


def ask(dsn: str, *statements: str, given: Sequence[Any] = ()) -> list[Any]:
    """The rows of the last statement, which is given the values."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for before in statements[:-1]:
            connection.execute(before.encode())
        cursor = connection.execute(statements[-1].encode(), given)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def where() -> Iterator[Place]:
    schema = f"runs_{uuid.uuid4().hex}"
    dsn = postgres_dsn()
    ask(dsn, f"CREATE SCHEMA {schema}")
    yield at(dsn, schema), schema
    ask(dsn, f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture
def application(where: Place) -> Iterator[Place]:
    """The same place for a role that may log in, and nothing else; and the role."""
    dsn, role = where[0], f"app_{uuid.uuid4().hex}"
    ask(dsn, f"CREATE ROLE {role} LOGIN")
    parts = urlsplit(dsn)
    yield urlunsplit(parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}")), role
    ask(dsn, f"DROP OWNED BY {role} CASCADE")
    ask(dsn, f"DROP ROLE {role}")


@pytest.fixture
def records(where: Place) -> Iterator[PostgresRecords]:
    made = PostgresRecords(where[0])
    yield made
    made.close()


def count(where: Place) -> int:
    found: int = ask(where[0], "SELECT count(*) FROM agentfootprint_runs")[0][0]
    return found


@pytest.mark.parametrize("name", [None, "", "acme", "acme/x"])
def test_a_statement_without_its_condition_reaches_nothing_of_another_tenant(
    where: Place, records: PostgresRecords, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    for each in NAMES:
        put(records, kept("same", each, agent=f"of {each}"))
    assert ask(where[0], "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(True,)]
    for statement in ("_LIST", "_READ", "_DELETE", "_FORGET"):
        changed = getattr(sql, statement).replace("tenant = ?", "?::text IS NOT NULL")
        assert changed != getattr(sql, statement)
        monkeypatch.setattr(sql, statement, changed)
    assert [run.agent for run in records.list(name)] == [f"of {name}"]
    assert records.read(name, "same") is not None
    assert records.delete(name, "same")
    assert count(where) == len(NAMES) - 1
    assert records.read(name, "same") is None


def test_a_row_of_another_tenant_cannot_be_written(
    where: Place, records: PostgresRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = records._run
    monkeypatch.setattr(records, "_run", lambda key, *rest: run("globex/", *rest))
    with pytest.raises(InsufficientPrivilege, match="row-level security"):
        put(records, kept("r", "acme"))
    assert count(where) == 0


def test_a_table_that_does_not_keep_tenants_apart_is_refused(where: Place, records: PostgresRecords) -> None:
    put(records, kept())
    ask(where[0], "ALTER TABLE agentfootprint_runs NO FORCE ROW LEVEL SECURITY")
    with pytest.raises(StoreUnavailable, match="do not keep tenants apart"):
        PostgresRecords(where[0]).list("acme")


def test_a_table_that_was_made_before_is_taken_over_with_what_it_holds(
    where: Place, records: PostgresRecords
) -> None:
    for statement in (sql.TABLE.format(blob="BYTEA"), sql.BY_START, sql.BY_END):
        ask(where[0], statement)
    old = (sql._key("acme"), "old", "a", "acme", None, None, "completed", 1.0, 2.0, 3, 4, 5, b"")
    ask(where[0], sql._PUT.replace("?", "%s"), given=old)
    assert [run.run_id for run in records.list("acme")] == ["old"]
    assert records.list("globex") == []
    secured = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = to_regclass(%s)"
    assert ask(where[0], secured, given=["agentfootprint_runs"]) == [(True,)]


def test_a_role_that_may_log_in_and_nothing_else_is_enough(where: Place, application: Place) -> None:
    dsn, role = application
    alone = PostgresRecords(dsn)
    with pytest.raises(StoreError, match="may not make the run record tables") as refused:
        alone.list("acme")
    assert "create_tables" not in str(refused.value)
    assert postgres.migrate(where[0], where[1]) == ["brought the run record tables to version 1"]
    assert postgres.migrate(where[0], where[1]) == []
    with pytest.raises(StoreError, match=f"grant {postgres.ROLE}"):
        alone.list("acme")
    ask(where[0], f"GRANT {postgres.ROLE} TO {role}")
    put(alone, kept("mine", "acme"))
    put(alone, kept("theirs", "globex"))
    assert [run.run_id for run in alone.list("acme")] == ["mine"]
    # It may do what the role may, and that is nothing without a tenant.
    assert ask(dsn, f"SET ROLE {postgres.ROLE}", "SELECT count(*) FROM agentfootprint_runs") == [(0,)]
    alone.close()


def test_what_is_too_old_or_too_much_goes_of_every_tenant_also_where_the_owner_is_no_superuser(
    where: Place, application: Place, records: PostgresRecords
) -> None:
    dsn, role = application
    records.list("acme")  # The role of all databases of the server exists then.
    ask(where[0], f"DROP SCHEMA {where[1]} CASCADE")
    ask(where[0], f"CREATE SCHEMA {where[1]} AUTHORIZATION {role}")
    ask(where[0], f"GRANT {postgres.ROLE} TO {role}")
    own = PostgresRecords(dsn)
    for number in range(6):
        put(own, kept(f"r{number}", f"t{number % 2}", ended=float(number)))
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = %s"
    assert ask(where[0], owners, given=[where[1]]) == [(role,)]
    assert own.sweep(before=2.0, max_bytes=None) == 2
    [(stored,)] = ask(where[0], "SELECT max(stored) FROM agentfootprint_runs")
    assert own.sweep(before=None, max_bytes=2 * stored) == 2
    assert [run.run_id for name in ("t0", "t1") for run in own.list(name)] == ["r4", "r5"]
    assert own.sweep(before=None, max_bytes=10**9) == 0
    own.close()


def test_ten_instances_that_start_at_once_make_the_table_once(where: Place) -> None:
    many = [PostgresRecords(where[0]) for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda number: put(many[number], kept(f"r{number}")), range(10)))
    assert count(where) == 10
    assert ask(where[0], "SELECT version FROM agentfootprint_runs_migration") == [(1,)]
    for each in many:
        each.close()
