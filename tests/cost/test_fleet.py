"""Runs of a tenant in several processes spend no more than the limit, together, to the cent."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentfootprint import MemoryIdentity
from agentfootprint.cost import SpendingWindow
from agentfootprint.cost.ledger import Ledger
from tests.servers.stores import SHARED, Place, place, state_at

CENT = 10_000_000
"""In nano-USD."""

PROCESSES, RUNS, LIMIT = 4, 5, 1000
"""Twenty runs want about a dollar each at four calls of 25 cents; the tenant has ten."""


@contextlib.contextmanager
def fleet(where: Place) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "tests.cost.spender", *where, str(LIMIT / 100), str(RUNS)]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(PROCESSES)]
    try:
        yield started
    finally:
        for each in started:
            each.kill()
            each.wait()
            for end in (each.stdin, each.stdout):
                assert end is not None
                end.close()


async def left(where: Place) -> int | None:
    """What the tenant's window has left in the end."""
    async with state_at(*where) as state:
        return await Ledger(state, "agent", [SpendingWindow(LIMIT / 100)], MemoryIdentity("acme")).left()


@pytest.mark.parametrize("store", SHARED)
async def test_twenty_runs_in_four_processes_stay_within_the_budget_of_their_tenant(
    store: str, tmp_path: Path
) -> None:
    async with place(store, tmp_path) as where:
        with fleet(where) as started:
            for each in started:
                assert each.stdout is not None
                assert each.stdout.readline() == "ready\n"
            for each in started:
                assert each.stdin is not None
                each.stdin.write("go\n")
                each.stdin.flush()
            told = [json.loads(each.stdout.readline()) for each in started if each.stdout is not None]
        paid = sum(each["paid"] for each in told)
        assert paid <= LIMIT
        assert paid == sum(each["cents"] for each in told)
        assert sum(each.get("completed", 0) + each.get("stopped", 0) for each in told) == PROCESSES * RUNS
        assert any(each.get("stopped") for each in told)
        assert await left(where) == (LIMIT - paid) * CENT
