"""Tools of MCP servers. The SDK is imported when a client is made."""

from __future__ import annotations

from .client import MCPClient
from .mock import MockMCPClient
from .session import Prompt, Resource
from .settings import Options

__all__ = ["MCPClient", "MockMCPClient", "Options", "Prompt", "Resource"]
