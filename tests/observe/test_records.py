"""Kept runs: each as it was, of its own tenant alone, for as long and as much as was said."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agentfootprint import Agent, MemoryIdentity, ask_human, is_paused, tool
from agentfootprint.errors import ConfigurationError, Overloaded, ProviderError, StoreError
from agentfootprint.events import ToolStarted
from agentfootprint.flow import Footprint
from agentfootprint.observe import Sampling, open_records, record_to
from agentfootprint.observe.records.base import KeptRun, RunRecords
from agentfootprint.observe.records.folder import FolderRecords
from agentfootprint.providers import MockProvider

from ..servers.databases import postgres_dsn

call = MockProvider.call
HEAD = b'{"footprint":1,"flow":"agent","hash":"h","run":"r","started":1.0,"redacted":false}\n'

NAMES = (
    None,
    "",
    "~",
    "a",
    "A",
    "acme",
    "acme/x",
    "acme%2fx",
    "..",
    "../acme",
    "ü",
    "x" * 250,
    "a\n",
    "_acme",
)


@pytest.fixture(params=["folder", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param != "postgres":
        yield str(tmp_path / ("runs" if request.param == "folder" else "runs.db"))
        return
    schema = f"runs_{uuid.uuid4().hex}"
    dsn = postgres_dsn()
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {schema}".encode())
        yield f"{dsn}{'&' if '?' in dsn else '?'}options=-csearch_path%3D{schema}"
        admin.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@pytest.fixture
def records(place: str) -> Iterator[RunRecords]:
    made = open_records(place)
    yield made
    made.close()


def kept(run_id: str = "r", tenant: str | None = "acme", **changes: Any) -> KeptRun:
    known: dict[str, Any] = {
        "agent": "support",
        "identity": None if tenant is None else MemoryIdentity(tenant, "alice", "c-1"),
        "status": "completed",
        "started": 1.0,
        "ended": 2.0,
        "steps": 3,
        "size": len(HEAD),
    }
    return KeptRun(run_id, **{**known, **changes})


def line(run_id: str) -> bytes:
    return HEAD.replace(b'"run":"r"', f'"run":"{run_id}"'.encode())


def put(records: RunRecords, run: KeptRun) -> None:
    records.put(run, line(run.run_id).replace(b"1.0", str(run.started).encode()))


async def test_a_run_is_kept_whole_and_found_again(place: str) -> None:
    recorder = record_to(place)
    replies: list[Any] = [call("lookup", order_id="A-1"), "It has shipped."]

    @tool
    async def lookup(order_id: str) -> str:
        """Looks an order up."""
        return "shipped"

    agent = Agent(MockProvider(replies=replies), tools=[lookup], name="support", recorders=[recorder])
    me = MemoryIdentity("acme", "alice", "t-42")
    result = await agent.run("Where is it?", identity=me)
    await recorder.flush()
    (run,) = recorder.runs.list("acme")
    assert (run.run_id, run.agent, run.identity, run.status) == (result.run_id, "support", me, "completed")
    assert run.steps == len(result.footprint.steps)
    lines = recorder.runs.read("acme", run.run_id)
    assert lines is not None
    read = Footprint.from_lines(lines.splitlines(), agent.flow)
    assert read.narrative() == result.footprint.narrative()
    await agent.aclose()


async def test_how_a_run_ended_is_kept_and_a_resumed_run_takes_its_place(place: str) -> None:
    recorder = record_to(place)

    @tool
    async def refund() -> str:
        """Pays back."""
        return str(await ask_human("Refund?"))

    def agent(*replies: Any) -> Agent[Any, str]:
        return Agent(MockProvider(replies=list(replies)), tools=[refund], recorders=[recorder])

    def statuses() -> list[str]:
        return sorted(run.status for run in recorder.runs.list(None))

    asking = agent(call("refund"))
    paused = await asking.run("Refund")
    assert is_paused(paused)
    with pytest.raises(ProviderError):
        await agent(MockProvider.fail(Overloaded("busy"))).run("Hi")
    gate = asyncio.Event()

    @tool
    async def wait() -> str:
        """Waits."""
        await gate.wait()
        return ""

    slow = Agent(MockProvider(reply=call("wait")), tools=[wait], recorders=[recorder])
    async with slow.stream("Hi") as events:
        async for event in events:
            if isinstance(event, ToolStarted):
                break
    await recorder.flush()
    assert statuses() == ["cancelled", "failed", "paused"]
    await asking.replace(provider=MockProvider(reply="Done")).resume(paused.checkpoint, answer="yes")
    await recorder.flush()
    assert statuses() == ["cancelled", "completed", "failed"]
    await recorder.aclose()


def test_a_tenant_sees_its_own_runs_alone(records: RunRecords) -> None:
    for number, name in enumerate(NAMES):
        put(records, kept("same", name, agent=f"agent-{number}"))
        put(records, kept(f"own-{number}", name, agent=f"agent-{number}"))
    for number, name in enumerate(NAMES):
        assert {run.agent for run in records.list(name)} == {f"agent-{number}"}
        assert len(records.list(name)) == 2
        assert records.read(name, f"own-{number}") is not None
        other = (number + 1) % len(NAMES)
        assert records.read(name, f"own-{other}") is None
        assert not records.delete(name, f"own-{other}")
    for name in NAMES[1::2]:
        assert records.delete(name, "same")
    assert [len(records.list(name)) for name in NAMES] == [2 - number % 2 for number in range(len(NAMES))]


def test_ids_cannot_lead_elsewhere(records: RunRecords, tmp_path: Path) -> None:
    (tmp_path / "outside.footprint.jsonl").write_bytes(HEAD)
    for run_id in ("../outside", "../../outside", "/etc/passwd", "..", ".", "", "x" * 700):
        assert records.read("acme", run_id) is None
        put(records, kept(run_id))
        assert records.read("acme", run_id) is not None
        assert [run.run_id for run in records.list("acme")].count(run_id) == 1
    assert (tmp_path / "outside.footprint.jsonl").read_bytes() == HEAD
    assert records.list("..") == []


def test_runs_are_listed_newest_first_and_by_agent_and_status(records: RunRecords) -> None:
    for number in range(6):
        status = "failed" if number % 2 else "completed"
        put(records, kept(f"r{number}", started=float(number), status=status, agent=f"a{number % 3}"))
    assert [run.run_id for run in records.list("acme", limit=3)] == ["r5", "r4", "r3"]
    assert [run.run_id for run in records.list("acme", status="failed")] == ["r5", "r3", "r1"]
    assert [run.run_id for run in records.list("acme", agent="a0", status="failed")] == ["r3"]


def test_forgetting_reaches_all_below_and_nobody_else(records: RunRecords) -> None:
    people = [
        MemoryIdentity("acme", "alice", "c-1"),
        MemoryIdentity("acme", "alice", "c-2"),
        MemoryIdentity("acme", "bob", "c-1"),
        MemoryIdentity("acme"),
        MemoryIdentity("zeta", "alice", "c-1"),
    ]

    def left() -> list[int]:
        return sorted(int(run.run_id) for name in ("acme", "zeta") for run in records.list(name))

    for number, person in enumerate(people):
        put(records, kept(str(number), identity=person))
    assert records.forget(MemoryIdentity("acme", "alice", "c-1")) == 1
    assert left() == [1, 2, 3, 4]
    assert records.forget(MemoryIdentity("acme", "alice")) == 1
    assert left() == [2, 3, 4]
    assert records.forget(MemoryIdentity("acme")) == 2
    assert left() == [4]


def test_what_is_too_old_or_too_much_goes_the_oldest_first(records: RunRecords, place: str) -> None:
    now = time.time()
    for number in range(6):
        ended = now - 100 + number
        put(records, kept(f"r{number}", tenant=f"t{number % 2}", ended=ended))
        for path in Path(place).rglob(f"r{number}.footprint.jsonl") if os.path.isdir(place) else ():
            os.utime(path, (ended, ended))

    def left() -> set[str]:
        return {run.run_id for name in ("t0", "t1") for run in records.list(name)}

    assert records.sweep(before=now - 97.5, max_bytes=None) == 3
    assert left() == {"r3", "r4", "r5"}
    assert records.sweep(before=None, max_bytes=10**9) == 0
    assert records.sweep(before=None, max_bytes=1) == 3
    assert left() == set()


def test_many_threads_may_keep_runs_at_once(place: str) -> None:
    places = [open_records(place) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(places[number % 4], kept(f"r{number}")), range(80)))
    assert len(places[0].list("acme", limit=1000)) == 80
    for each in places:
        each.close()


async def test_sizes_and_ages_hold_while_runs_are_written(tmp_path: Path) -> None:
    recorder = record_to(tmp_path / "runs", max_bytes=60_000, retention=3600)
    agent = Agent(MockProvider(reply="x" * 1000), recorders=[recorder])
    for _ in range(60):
        await agent.run("Hi")
    await recorder.flush()
    total = sum(path.stat().st_size for path in (tmp_path / "runs").rglob("*") if path.is_file())
    assert 30_000 < total <= 66_000
    assert recorder.faults.failures == 0


async def test_sampling_keeps_the_runs_that_failed(tmp_path: Path) -> None:
    recorder = record_to(tmp_path / "runs", sampling=Sampling(rate=0))
    await Agent(MockProvider(reply="Yes"), recorders=[recorder]).run("Hi")
    failing = Agent(MockProvider(replies=[MockProvider.fail(Overloaded("busy"))]), recorders=[recorder])
    with pytest.raises(ProviderError):
        await failing.run("Hi")
    await recorder.flush()
    assert [run.status for run in recorder.runs.list(None)] == ["failed"]
    assert recorder.unsampled == 1


async def test_a_full_disk_costs_the_run_nothing_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("agentfootprint.observe.records.folder.os.replace", full)
    agent = Agent(MockProvider(reply="Yes"))
    handle = agent.attach(record_to(tmp_path / "runs"))
    assert (await agent.run("Hi")).output == "Yes"
    await agent.aclose()
    assert handle.failures == 1
    assert isinstance(handle.last_error, OSError)
    assert [path for path in (tmp_path / "runs").rglob("*") if path.is_file()] == []


async def test_a_disk_that_hangs_costs_the_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, reached = threading.Event(), threading.Event()

    def hang(self: FolderRecords, run: KeptRun, lines: bytes) -> None:
        reached.set()
        gate.wait(60)

    monkeypatch.setattr(FolderRecords, "put", hang)
    recorder = record_to(tmp_path / "runs")
    agent = Agent(MockProvider(reply="Yes"), recorders=[recorder])
    await agent.run("Hi")
    await asyncio.to_thread(reached.wait, 30)
    for _ in range(50):
        assert (await agent.run("Hi")).output == "Yes"
    gate.set()
    await recorder.flush()
    assert recorder.dropped == 0


async def test_a_run_larger_than_all_that_may_be_kept_is_counted(tmp_path: Path) -> None:
    agent = Agent(MockProvider(reply="Yes"))
    handle = agent.attach(record_to(tmp_path / "runs", max_bytes=100))
    await agent.run("Hi")
    await agent.aclose()
    assert isinstance(handle.last_error, StoreError)


@pytest.mark.parametrize("wrong", [{"retention": 0}, {"retention": -1}, {"max_bytes": 0}])
def test_limits_that_make_no_sense_are_refused(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        record_to(tmp_path / "runs", **wrong)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file/runs", "missing/runs.db"):
        with pytest.raises(ConfigurationError):
            record_to(tmp_path / name)
