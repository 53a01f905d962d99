"""`agent.enable`: switching a view of the agent on, named by what it is for."""

from __future__ import annotations

from .base import Recorder
from .registry import Handle, Recorders

__all__ = ["Enable"]


class Enable:
    """Each method attaches a recorder to the agent and returns its handle."""

    __slots__ = ("_recorders",)

    def __init__(self, recorders: Recorders) -> None:
        self._recorders = recorders

    def observability(self, recorder: Recorder) -> Handle:
        """Let a recorder such as `console_observability()` see every run that starts from now on."""
        return self._recorders.attach(recorder)

    def live_status(self, recorder: Recorder) -> Handle:
        """Let a recorder such as `chat_bubble_live_status(on_line=print)` tell what the agent is doing."""
        return self._recorders.attach(recorder)
