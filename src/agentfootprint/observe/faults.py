"""What went wrong inside a recorder: counted, remembered and logged once, never thrown at the run."""

from __future__ import annotations

import logging
import threading

__all__ = ["Faults", "logger"]

logger = logging.getLogger("agentfootprint.observe")


class Faults:
    """The failures of one recorder. Safe to use from several threads."""

    __slots__ = ("_lock", "failures", "last_error", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures = 0
        self.last_error: BaseException | None = None
        self._lock = threading.Lock()

    def note(self, error: BaseException, during: str) -> None:
        """Count a failure; the first one is logged with its place but not its text, which may quote data."""
        where = _place(error)
        # Its frames would keep the whole run alive.
        error.__traceback__ = None
        with self._lock:
            self.failures += 1
            self.last_error = error
            first = self.failures == 1
        if first:
            warn(
                "recorder %s failed on %s: %s at %s. Runs go on without it; further failures are counted "
                "(failures, last_error), not logged",
                self.name,
                during,
                type(error).__name__,
                where,
            )


def warn(message: str, *details: object) -> None:
    """Log, whatever the handlers do: a broken log handler must not reach the run either."""
    try:
        logger.warning(message, *details)
    except Exception:
        pass


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    if trace is None:
        return "an unknown place"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
