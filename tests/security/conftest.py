"""Every test begins with nothing paid."""

from __future__ import annotations

import pytest

from tests.security.support import PAID


@pytest.fixture(autouse=True)
def _nothing_paid() -> None:
    PAID.clear()
