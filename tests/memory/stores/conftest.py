"""Databases for the tests of a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.servers.stores import Place, place


@pytest.fixture(params=["postgres", "pgvector"])
async def where(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(request.param, tmp_path) as found:
        yield found


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Place]:
    async with place("postgres", tmp_path) as found:
        yield found


@pytest.fixture
async def with_vectors(tmp_path: Path) -> AsyncIterator[Place]:
    async with place("pgvector", tmp_path) as found:
        yield found
