"""Footprints kept beyond their run: in a folder, in SQLite, in PostgreSQL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...errors import ConfigurationError
from ..sampling import Sampling

if TYPE_CHECKING:
    from .base import RunRecords
    from .recorder import RunRecorder

__all__ = ["open_records", "record_to"]

MONTH = 30 * 24 * 3600.0
GIBIBYTE = 1024**3

_SQLITE = (".db", ".sqlite", ".sqlite3")
_POSTGRES = ("postgres://", "postgresql://")


def record_to(
    target: str | os.PathLike[str],
    *,
    retention: float | None = MONTH,
    max_bytes: int | None = GIBIBYTE,
    sampling: Sampling | None = None,
) -> RunRecorder:
    """A recorder that keeps the footprint of every run when it ends, pauses or breaks off; `agentfootprint
    runs` lists, shows and exports them. Values labelled secret are left out, all else is content: keep it as
    you keep conversations.

    A run that is resumed takes the place of what was kept of it. Writing happens in a thread behind the run:
    a full disk or a server that is gone is counted, and costs the run nothing.

    Args:
        target: a folder (made if need be), an SQLite file (named `.db`, `.sqlite` or `.sqlite3`), or the
            dsn of a PostgreSQL database (`postgresql://…`), which keeps tenants apart by row-level security:
            its table and role are made if they can be, else `agentfootprint migrate` makes them.
        retention: seconds after which a run is deleted; None: never.
        max_bytes: of all runs together; the oldest are deleted to make room. It may be exceeded by a
            twentieth, and by what other processes write within a minute.
        sampling: which runs are kept; all unless given.

    Raises:
        ConfigurationError: a limit makes no sense, or nothing can be written there.
        MissingExtra: a dsn, and psycopg is not installed.
    """
    if retention is not None and not retention > 0:
        raise ConfigurationError(f"retention={retention} keeps nothing: use seconds, or None for ever")
    if max_bytes is not None and max_bytes < 1:
        raise ConfigurationError(f"max_bytes={max_bytes} leaves no room: use a positive number, or None")
    from .recorder import RunRecorder

    return RunRecorder(open_records(target), retention, max_bytes, sampling)


def open_records(target: str | os.PathLike[str]) -> RunRecords:
    """What `record_to` writes to, to be read."""
    path = os.fspath(target)
    if path.startswith(_POSTGRES):
        from .postgres import PostgresRecords

        return PostgresRecords(path)
    if path.endswith(_SQLITE):
        from .sql import SQLiteRecords

        return SQLiteRecords(path)
    from .folder import FolderRecords

    return FolderRecords(path)
