"""Kept runs: what is known of each, and the port to where they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ...identity import MemoryIdentity

__all__ = ["KeptRun", "RunRecords", "tenant_of"]


@dataclass(frozen=True, slots=True)
class KeptRun:
    """What is known of a kept run without reading it. Times are seconds since the epoch, `size` is in bytes.

    `status` is "completed", "stopped", "paused", "failed" or "cancelled".
    """

    run_id: str
    agent: str
    identity: MemoryIdentity | None
    status: str
    started: float
    ended: float
    steps: int
    size: int


class RunRecords(Protocol):
    """Where footprints are kept. Everything takes the tenant (None: runs without one, which are nobody
    else's) and never tells anything of another."""

    def put(self, run: KeptRun, lines: bytes) -> None:
        """Keeps a run, in place of what was kept of it before."""
        ...

    def list(
        self,
        tenant: str | None,
        *,
        agent: str | None = None,
        status: str | None = None,
        limit: int = 50,
    ) -> Sequence[KeptRun]:
        """The newest runs of a tenant, by their beginning."""
        ...

    def read(self, tenant: str | None, run_id: str) -> bytes | None:
        """A run's footprint as JSON Lines; None when the tenant has no such run."""
        ...

    def delete(self, tenant: str | None, run_id: str) -> bool:
        """Whether there was such a run of the tenant."""
        ...

    def forget(self, identity: MemoryIdentity) -> int:
        """Deletes the runs of an identity and of all below it; how many there were."""
        ...

    def sweep(self, *, before: float | None, max_bytes: int | None) -> int:
        """Deletes the runs that ended before a time, then the oldest until all fit; how many."""
        ...

    def close(self) -> None: ...


def tenant_of(identity: MemoryIdentity | None) -> str | None:
    return None if identity is None else identity.tenant


def below(identity: MemoryIdentity, other: MemoryIdentity | None) -> bool:
    """Whether `other` is the identity or below it."""
    if other is None or other.tenant != identity.tenant:
        return False
    for wanted, found in zip(identity.parts, other.parts, strict=True):
        if wanted is None:
            return True
        if wanted != found:
            return False
    return True
