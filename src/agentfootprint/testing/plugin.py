"""The pytest plugin: development checks of the engine are on, and no real model is asked by accident.

A test that means to ask a real model calls `agentfootprint.providers.allow_real_calls()`, or the session runs
with AGENTFOOTPRINT_NO_REAL_CALLS=0.
"""

from __future__ import annotations

import os


def pytest_configure() -> None:
    os.environ.setdefault("AGENTFOOTPRINT_DEV", "1")
    os.environ.setdefault("AGENTFOOTPRINT_NO_REAL_CALLS", "1")
