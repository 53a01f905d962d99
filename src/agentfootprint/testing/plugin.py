"""The pytest plugin: switches the development checks of the engine on."""

from __future__ import annotations

import os


def pytest_configure() -> None:
    os.environ.setdefault("AGENTFOOTPRINT_DEV", "1")
