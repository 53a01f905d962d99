"""Runs as files in a folder: `<tenant>/<run>.footprint.jsonl`, each readable by itself."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError
from ...flow.codec import portable
from ...identity import MemoryIdentity
from .base import KeptRun, below, tenant_of

__all__ = ["FolderRecords"]

_SUFFIX = ".footprint.jsonl"
_UNFINISHED = ".unfinished"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_PART = 200  # bytes of a name that every file system takes
_STALE = 3600.0


class FolderRecords:
    """Written beside and renamed, so that a file is whole or not there; readable by its owner only."""

    def __init__(self, path: str) -> None:
        self._root = Path(path)
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"cannot keep runs in {path}: {error.strerror}") from error

    def put(self, run: KeptRun, lines: bytes) -> None:
        path = self._path(tenant_of(run.identity), run.run_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        head, _, rest = lines.partition(b"\n")
        marked = portable({**json.loads(head), "kept": _told(run)}).encode()
        descriptor, beside = tempfile.mkstemp(_UNFINISHED, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(marked + b"\n" + rest)
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise

    def list(
        self,
        tenant: str | None,
        *,
        agent: str | None = None,
        status: str | None = None,
        limit: int = 50,
    ) -> Sequence[KeptRun]:
        found = [
            run
            for path in self._files(self._folder(tenant))
            if (run := _known(path)) is not None
            and tenant_of(run.identity) == tenant
            and agent in (None, run.agent)
            and status in (None, run.status)
        ]
        return sorted(found, key=lambda run: (-run.started, run.run_id))[:limit]

    def read(self, tenant: str | None, run_id: str) -> bytes | None:
        try:
            return self._path(tenant, run_id).read_bytes()
        except FileNotFoundError:
            return None

    def delete(self, tenant: str | None, run_id: str) -> bool:
        try:
            self._path(tenant, run_id).unlink()
        except FileNotFoundError:
            return False
        return True

    def forget(self, identity: MemoryIdentity) -> int:
        count = 0
        for path in self._files(self._folder(identity.tenant)):
            run = _known(path)
            if run is not None and below(identity, run.identity):
                path.unlink(missing_ok=True)
                count += 1
        return count

    def sweep(self, *, before: float | None, max_bytes: int | None) -> int:
        kept: list[tuple[float, int, Path]] = []
        total, count = 0, 0
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.stat()
                except OSError:  # another process was quicker
                    continue
                if name.endswith(_UNFINISHED):
                    if status.st_mtime < time.time() - _STALE:
                        path.unlink(missing_ok=True)
                elif name.endswith(_SUFFIX):
                    kept.append((status.st_mtime, status.st_size, path))
                    total += status.st_size
        # A file is written when its run has ended.
        for ended, size, path in sorted(kept, key=lambda each: each[0]):
            too_old = before is not None and ended < before
            if not too_old and (max_bytes is None or total <= max_bytes):
                break
            path.unlink(missing_ok=True)
            total -= size
            count += 1
        return count

    def close(self) -> None:
        pass

    def _folder(self, tenant: str | None) -> Path:
        if tenant is None:
            return self._root / "~"
        return self._root.joinpath(*_parts("_" + _named(tenant)))

    def _path(self, tenant: str | None, run_id: str) -> Path:
        *folders, last = _parts(_named(run_id) or "_")
        return self._folder(tenant).joinpath(*(f"{each}+" for each in folders), last + _SUFFIX)

    def _files(self, folder: Path) -> Iterator[Path]:
        if folder.is_dir():
            yield from folder.glob(f"*{_SUFFIX}")
            yield from folder.glob(f"*+/**/*{_SUFFIX}")


def _named(text: str) -> str:
    """Injective, also on file systems that do not tell capitals from small letters."""
    raw = text.encode("utf-8", "surrogatepass")
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02x}" for byte in raw)


def _parts(name: str) -> list[str]:
    """A long name as a path of several: none is cut or hashed."""
    return [name[at : at + _PART] for at in range(0, len(name), _PART)]


def _told(run: KeptRun) -> dict[str, Any]:
    parts = None if run.identity is None else list(run.identity.parts)
    return {
        "agent": run.agent,
        "identity": parts,
        "status": run.status,
        "ended": run.ended,
        "steps": run.steps,
    }


def _known(path: Path) -> KeptRun | None:
    """What the first line of a file says; None of one that is not ours, or is gone."""
    try:
        with path.open("rb") as file:
            head = json.loads(file.readline())
            size = os.fstat(file.fileno()).st_size
        kept = head["kept"]
        parts = kept["identity"]
        return KeptRun(
            run_id=str(head["run"]),
            agent=str(kept["agent"]),
            identity=None if parts is None else MemoryIdentity(*parts),
            status=str(kept["status"]),
            started=float(head["started"]),
            ended=float(kept["ended"]),
            steps=int(kept["steps"]),
            size=size,
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
