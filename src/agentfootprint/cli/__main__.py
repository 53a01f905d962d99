"""`python -m agentfootprint.cli`: the command of exactly this Python."""

from __future__ import annotations

from . import main

main()
