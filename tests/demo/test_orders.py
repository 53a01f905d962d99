from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentfootprint.demo import orders as module
from agentfootprint.demo.orders import Orders

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_demo_orders.py"
SHIPPED = Path(module.__file__).with_name("orders.csv")


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path / "orders.db")


def test_the_shipped_file_is_what_the_script_writes(tmp_path: Path) -> None:
    made = tmp_path / "orders.csv"
    subprocess.run([sys.executable, SCRIPT, made], check=True, timeout=60)
    assert made.read_bytes() == SHIPPED.read_bytes()
    assert len(made.read_bytes()) < 300_000


def test_the_database_is_made_once_from_the_shipped_file(tmp_path: Path) -> None:
    Orders(tmp_path / "orders.db").refund("alpine", "A-2444", "torn", "key")
    assert Orders(tmp_path / "orders.db").totals() == (3000, 1)


def test_an_order_of_another_shop_is_not_there(orders: Orders) -> None:
    assert orders.find("alpine", "A-2444") is not None
    assert orders.find("juno", "A-2444") is None
    assert orders.refund("juno", "A-2444", "torn", "key") is None
    assert orders.totals() == (3000, 0)


def test_two_shops_with_a_customer_of_one_name_see_their_own_orders(orders: Orders) -> None:
    assert {order.order_id[0] for order in orders.newest("alpine", "Ines Weber", 10)} == {"A"}
    assert {order.order_id[0] for order in orders.newest("juno", "Ines Weber", 10)} == {"J"}


def test_a_refund_asked_for_again_with_its_key_pays_once(orders: Orders) -> None:
    assert orders.refund("alpine", "A-2444", "torn", "run/call") == 1
    assert orders.refund("alpine", "A-2444", "torn", "run/call") == 1
    assert orders.refund("alpine", "A-2444", "torn", "another") is None
    assert orders.totals() == (3000, 1)
