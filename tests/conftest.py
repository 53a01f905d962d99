"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

# The same examples on every run, and no deadline: a slow machine is no bug.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
