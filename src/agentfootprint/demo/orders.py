"""The shops' orders, in a SQLite database made from `orders.csv`."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

__all__ = ["Order", "Orders"]


@dataclass(frozen=True, slots=True)
class Order:
    order_id: str
    customer: str
    item: str
    quantity: int
    amount: str
    status: str
    ordered: str
    delivered: str


_SCHEMA = (
    "CREATE TABLE orders"
    " (tenant TEXT, order_id TEXT, customer TEXT, item TEXT, quantity INTEGER, amount TEXT, status TEXT,"
    " ordered TEXT, delivered TEXT, PRIMARY KEY (tenant, order_id))",
    "CREATE TABLE refunds"
    " (number INTEGER PRIMARY KEY, tenant TEXT, order_id TEXT, reason TEXT, key TEXT UNIQUE)",
)
_LOAD = (
    "INSERT INTO orders VALUES"
    " (:tenant, :order_id, :customer, :item, :quantity, :amount, :status, :ordered, :delivered)"
)
_FIND = (
    "SELECT order_id, customer, item, quantity, amount, status, ordered, delivered FROM orders"
    " WHERE tenant = ? AND order_id = ?"
)
_NEWEST = (
    "SELECT order_id, customer, item, quantity, amount, status, ordered, delivered FROM orders"
    " WHERE tenant = ? AND customer = ? ORDER BY ordered DESC, order_id DESC LIMIT ?"
)
_PAID = "SELECT number FROM refunds WHERE key = ?"
_MARK = "UPDATE orders SET status = 'refunded' WHERE tenant = ? AND order_id = ? AND status <> 'refunded'"
_PAY = "INSERT INTO refunds (tenant, order_id, reason, key) VALUES (?, ?, ?, ?)"
_TOTALS = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM refunds)"


class Orders:
    """Every question names the tenant whose orders it is about; no other shop's row is ever read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            self._create()

    def find(self, tenant: str, order_id: str) -> Order | None:
        with self._database() as db:
            row = db.execute(_FIND, (tenant, order_id)).fetchone()
        return None if row is None else Order(*row)

    def newest(self, tenant: str, customer: str, limit: int = 3) -> list[Order]:
        with self._database() as db:
            return [Order(*row) for row in db.execute(_NEWEST, (tenant, customer, limit))]

    def refund(self, tenant: str, order_id: str, reason: str, key: str) -> int | None:
        """Pays an order back; the number of the refund, None when it was paid back before.

        Asked again with the same `key`, it pays nothing and gives the same number: a call that is made
        again after a crash does no harm.
        """
        with self._database() as db:
            paid = db.execute(_PAID, (key,)).fetchone()
            if paid is not None:
                return int(paid[0])
            if db.execute(_MARK, (tenant, order_id)).rowcount == 0:
                return None
            return db.execute(_PAY, (tenant, order_id, reason, key)).lastrowid

    def totals(self) -> tuple[int, int]:
        """How many orders there are, and how many refunds were paid, in all shops."""
        with self._database() as db:
            orders, refunds = db.execute(_TOTALS).fetchone()
        return orders, refunds

    def _create(self) -> None:
        with self._database() as db, files(__package__).joinpath("orders.csv").open(encoding="utf-8") as rows:
            for statement in _SCHEMA:
                db.execute(statement)
            db.executemany(_LOAD, csv.DictReader(rows))

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction: tools run in threads, and a connection belongs to one."""
        with closing(sqlite3.connect(self._path)) as db, db:
            db.execute("BEGIN IMMEDIATE")
            yield db
