"""Development checks: a value that is changed in place after it was written is found and named.

On with `python -X dev`, `AGENTFOOTPRINT_DEV=1`, or the pytest plugin; off in production, where it
would cost a hash of every value a step touches.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from ..errors import MutatedInPlace
from .codec import digest
from .journal import StepRecord, Version

if TYPE_CHECKING:
    from .step import Step

__all__ = ["Guard", "development"]


def development() -> bool:
    setting = os.environ.get("AGENTFOOTPRINT_DEV")
    return sys.flags.dev_mode if setting is None else setting not in ("", "0")


class Guard:
    """Hashes values when they are written and again whenever a step that touched them closes."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # Keyed by identity, kept alive with the version so that no id is used twice.
        self._known: dict[int, tuple[Version, str]] = {}

    def wrote(self, step: Step[Any], version: Version) -> None:
        self._known[id(version)] = (version, digest(version.value))

    def closes(self, step: StepRecord) -> None:
        for version in (*step.reads, *step.writes):
            known = self._known.get(id(version))
            if known is not None and digest(version.value) != known[1]:
                raise MutatedInPlace(
                    f"the value of {version.key!r} was changed in place, seen in step {step.id!r}: "
                    "write a new value instead of changing the one that was read or written"
                )
