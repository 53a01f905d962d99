"""Writes the orders of the demo: `python scripts/make_demo_orders.py [FILE]`. The same rows every time."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import TypeVar

T = TypeVar("T")

TARGET = Path(__file__).parents[1] / "src" / "agentfootprint" / "demo" / "orders.csv"
COLUMNS = ["tenant", "order_id", "customer", "item", "quantity", "amount", "status", "ordered", "delivered"]
TODAY = date(2026, 11, 20)

# Two shops that sell different things to people of the same names.
SHOPS = {
    "alpine": [
        ("Trekking backpack 45 l", 129),
        ("Two-person tent", 249),
        ("Down sleeping bag", 189),
        ("Gas stove", 59),
        ("Head torch", 39),
        ("Hiking boots", 169),
        ("Trekking poles", 79),
        ("Merino base layer", 65),
        ("Water filter", 45),
        ("Climbing harness", 75),
    ],
    "juno": [
        ("Studio headphones", 179),
        ("Turntable", 349),
        ("Condenser microphone", 229),
        ("Audio interface", 149),
        ("Bookshelf speakers", 299),
        ("Phono preamp", 119),
        ("XLR cable 5 m", 19),
        ("Microphone stand", 49),
        ("Record cleaning kit", 35),
        ("Portable recorder", 199),
    ],
}
FIRST = ["Ines", "Jonas", "Amara", "Luca", "Sofia", "Noah", "Yuki", "Elif", "Mateo", "Priya", "Hanna", "Omar"]
LAST = [
    "Costa",
    "Weber",
    "Okafor",
    "Rossi",
    "Novak",
    "Larsen",
    "Tanaka",
    "Demir",
    "Garcia",
    "Nair",
    "Virtanen",
]


def rows(orders_per_shop: int = 1500) -> Iterator[list[str]]:
    for shop, catalogue in SHOPS.items():
        random = Random(shop)

        def pick(choices: Sequence[T], random: Random = random) -> T:
            # `random()` alone gives the same numbers on every version of Python.
            return choices[int(random.random() * len(choices))]

        for number in range(orders_per_shop):
            item, price = pick(catalogue)
            quantity = pick([1, 1, 1, 1, 2, 3])
            # Orders are numbered in the order they came; the last ones are still on their way.
            ordered = TODAY - timedelta(days=365 * (orders_per_shop - number - 1) // orders_per_shop)
            arrives = ordered + timedelta(days=pick([2, 3, 4, 5, 7, 9]))
            status = "delivered" if arrives <= TODAY else pick(["shipped", "processing"])
            if status == "delivered" and random.random() < 0.04:
                status = "refunded"
            yield [
                shop,
                f"{shop[0].upper()}-{1000 + number}",
                f"{pick(FIRST)} {pick(LAST)}",
                item,
                str(quantity),
                f"{price * quantity}.00",
                status,
                ordered.isoformat(),
                arrives.isoformat() if arrives <= TODAY else "",
            ]


def main(target: Path) -> None:
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
