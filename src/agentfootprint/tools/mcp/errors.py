"""What goes wrong with a server of tools.

ToolServerError               it cannot be used as it is; says which and why
├── ToolServerUnavailable     it cannot be reached, or not now (.retry_after)
└── ToolChanged               it declares a tool otherwise than was approved (`pin=`)
"""

from __future__ import annotations

from ...errors import AgentFootprintError

__all__ = ["ToolChanged", "ToolServerError", "ToolServerUnavailable"]


class ToolServerError(AgentFootprintError):
    """A server of tools cannot be used as it is."""

    code = "tool_server"


class ToolServerUnavailable(ToolServerError):
    """A server of tools cannot be reached. `retry_after` are the seconds it asked to wait, if it did."""

    code = "tool_server_unavailable"
    retryable = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ToolChanged(ToolServerError):
    """A server declares a tool otherwise than was approved."""

    code = "tool_changed"
