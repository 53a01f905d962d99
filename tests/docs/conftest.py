from __future__ import annotations

import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What an example changes in the environment is changed back: other tests run in this process too."""
    with patch.dict(os.environ):
        yield
