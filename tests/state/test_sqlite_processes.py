"""What only several processes can show: races, forks, kills, limits of the operating system."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from agentfootprint.identity import MemoryIdentity
from agentfootprint.state import SQLiteState, StateKey

KEY = StateKey(MemoryIdentity("acme"), "test", "key")

PREAMBLE = """
import asyncio, os, sys, threading
from agentfootprint.errors import StoreUnavailable
from agentfootprint.identity import MemoryIdentity
from agentfootprint.state import SQLiteState, StateKey
KEY = StateKey(MemoryIdentity("acme"), "test", "key")
path = sys.argv[1]
"""


def start(script: str, path: Path) -> subprocess.Popen[str]:
    source = str(Path(__file__).parents[2] / "src")
    return subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            PREAMBLE + textwrap.dedent(script),
            str(path),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_processes_that_start_at_once_lose_no_update(path: Path) -> None:
    script = """
    async def main():
        async with SQLiteState(path, timeout=30) as store:
            for _ in range(25):
                await store.increment(KEY)
                await store.append(KEY, os.getpid())
                while True:
                    record = await store.get(KEY)
                    version, value = (record.version, record.value) if record else (None, 0)
                    if await store.compare_and_set(KEY, version, value + 1):
                        break
    asyncio.run(main())
    """
    for process in [start(script, path) for _ in range(4)]:
        finish(process)

    async def totals() -> tuple[int | None, int, int]:
        async with SQLiteState(path) as store:
            record = await store.get(KEY)
            assert record is not None
            return await store.increment(KEY, 0), record.value, len(await store.read(KEY))

    assert asyncio.run(totals()) == (100, 100, 100)


def test_a_killed_writer_leaves_a_usable_file(path: Path) -> None:
    process = start(
        """
        async def main():
            store = SQLiteState(path)
            while True:
                await store.append(KEY, "x" * 20_000)
                record = await store.get(KEY)
                done = (record.value if record else 0) + 1
                await store.compare_and_set(KEY, record and record.version, done)
                print(done, flush=True)
        asyncio.run(main())
        """,
        path,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 20:
            break
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=30)
    confirmed = max(int(number) for number in (line, *rest.split()))

    async def check() -> None:
        async with SQLiteState(path) as store:
            integrity = await store._file.read(lambda db: db.execute("PRAGMA integrity_check").fetchone())
            record = await store.get(KEY)
            assert integrity == ("ok",)
            assert record is not None
            assert record.value in (confirmed, confirmed + 1), "what was confirmed is there"
            assert len(await store.read(KEY)) in (record.value, record.value + 1)
            assert await store.compare_and_set(KEY, record.version, "goes on") is not None

    asyncio.run(check())


def test_a_store_in_use_survives_a_fork(path: Path) -> None:
    """Parent and children go on with the same object while a thread of the parent writes."""
    out = finish(
        start(
            """
            store = SQLiteState(path, timeout=30)
            stop = threading.Event()
            written = 0

            async def write_until_stopped():
                global written
                while not stop.is_set():
                    await store.increment(KEY)
                    written += 1

            async def write(times):
                for _ in range(times):
                    await store.increment(KEY)

            asyncio.run(write(1))
            thread = threading.Thread(target=lambda: asyncio.run(write_until_stopped()))
            thread.start()
            children = []
            for _ in range(5):
                child = os.fork()
                if child == 0:
                    asyncio.run(write(10))
                    asyncio.run(store.aclose())
                    os._exit(0)
                children.append(child)
                asyncio.run(write(2))
            for child in children:
                assert os.waitpid(child, 0)[1] == 0, "a child failed"
            stop.set()
            thread.join()
            total = asyncio.run(store.increment(KEY, 0))
            check = asyncio.run(store._file.read(lambda db: db.execute("PRAGMA integrity_check").fetchone()))
            asyncio.run(store.aclose())
            print(total - written, check[0])
            """,
            path,
        )
    )
    assert out.split() == [str(1 + 5 * 10 + 5 * 2), "ok"]


def test_a_fork_behind_the_interpreters_back_is_refused(path: Path) -> None:
    out = finish(
        start(
            """
            store = SQLiteState(path)
            asyncio.run(store.increment(KEY))
            store._file._pid = -1      # what a fork in C code leaves behind
            try:
                asyncio.run(store.increment(KEY))
            except StoreUnavailable as error:
                print(error)
            """,
            path,
        )
    )
    assert "create or first use it after the fork" in out


def test_a_disk_that_refuses_to_write_is_named_and_loses_nothing(path: Path) -> None:
    out = finish(
        start(
            """
            import resource
            async def main():
                async with SQLiteState(path) as store:
                    record = await store.compare_and_set(KEY, None, "kept")
                    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
                    try:
                        await store.compare_and_set(KEY, record.version, "x" * 400_000)
                    except StoreUnavailable as error:
                        print(error)
                    assert await store.get(KEY) == record
                    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                    assert await store.compare_and_set(KEY, record.version, "x" * 400_000)
            asyncio.run(main())
            """,
            path,
        )
    )
    assert "nothing was stored" in out


def test_a_file_or_folder_this_user_may_not_write_is_named() -> None:
    script = """
    async def attempt(path):
        try:
            async with SQLiteState(path) as store:
                await store.increment(KEY)
                print("written")
        except StoreUnavailable as error:
            print(error)

    here = os.path.dirname(path)
    os.chmod(here, 0o755)
    for name, mode in (("open", 0o777), ("closed", 0o555)):
        os.mkdir(f"{here}/{name}")
        asyncio.run(attempt(f"{here}/{name}/state.db"))
        os.chmod(f"{here}/{name}/state.db", 0o444)
        os.chmod(f"{here}/{name}", mode)
    if os.getuid() == 0:
        os.setuid(65534)        # root may write anything
    asyncio.run(attempt(f"{here}/open/state.db"))
    asyncio.run(attempt(f"{here}/closed/new.db"))
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            lines = finish(start(script, Path(folder) / "state.db")).splitlines()
        finally:
            os.chmod(f"{folder}/closed", 0o755)
    assert lines[:2] == ["written", "written"]
    assert "it is read-only for this user" in lines[2]
    assert "its folder must exist and be writable" in lines[3]
