"""The `agentfootprint` command: talk to an agent, run one turn, read and replay what it left."""

from __future__ import annotations

import sys

from ..errors import MissingExtra

__all__ = ["main"]


def main() -> None:
    """Runs the command with the arguments of the process, and exits with its code."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        print(MissingExtra("the agentfootprint command", "cli"), file=sys.stderr)
        raise SystemExit(1) from None
    from .commands import app

    app(prog_name="agentfootprint")
