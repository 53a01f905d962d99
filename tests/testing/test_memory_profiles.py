"""The kits of the profiles find what is wrong, and do not ask for what is not promised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agentfootprint.errors import IdentityInvalid, UnsupportedValue
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import InMemoryStore, MemoryEntry, Page
from agentfootprint.testing import memory_profiles, memory_search, memory_store


def check(name: str) -> Any:
    return next(each for each in memory_profiles.checks("eventual") if each.__name__ == name)


class Forgetful(InMemoryStore):
    """It says that it wrote, and did not."""

    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        stored = await super().put_many(identity, entries)
        await self.delete(identity, entries[-1].id) if entries else None
        return stored


class HalfListed(InMemoryStore):
    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        page = await super().list(identity, limit=limit, cursor=cursor)
        return Page(page.entries[:1])


class Picky(InMemoryStore):
    """It refuses identities, but not in every call."""

    def __init__(self, longest: int, *, everywhere: bool) -> None:
        super().__init__()
        self.longest, self.everywhere = longest, everywhere

    def _check(self, identity: MemoryIdentity) -> None:
        if len((identity.tenant or "").encode()) > self.longest:
            raise IdentityInvalid("too long")

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        self._check(identity)
        return await super().get(identity, entry_id)

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        self._check(identity)
        return await super().put(identity, entry, expected=expected)

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        if self.everywhere:
            self._check(identity)
        return await super().forget(identity, descendants=descendants)


class Small(InMemoryStore):
    """It takes less than it must."""

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        if len(str(entry.value)) > 1000:
            raise UnsupportedValue("too large")
        return await super().put(identity, entry, expected=expected)

    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        if any(len(str(entry.value)) > 1000 for entry in entries):
            raise UnsupportedValue("too large")
        return await super().put_many(identity, entries)


def test_the_profile_full_is_the_kit_as_it_is() -> None:
    assert memory_profiles.checks("full") is memory_store.CHECKS
    assert memory_profiles.ttl_checks("full") is memory_store.TTL_CHECKS
    assert memory_profiles.search_checks("full") is memory_search.CHECKS
    assert memory_profiles.search_ttl_checks("full") is memory_search.TTL_CHECKS


def test_tenancy_expiry_and_forget_are_checked_in_every_profile() -> None:
    for profile in ("eventual", "log"):
        names = {each.__name__ for each in memory_profiles.checks(profile)}
        left_out = {each.__name__ for each in memory_store.CHECKS} - names
        assert left_out == {
            "values_come_back_as_written",
            "put_many_is_all_or_nothing",
            "expected_names_the_version_to_replace",
            "one_of_many_writers_wins",
        }
        assert len(memory_profiles.ttl_checks(profile)) == len(memory_store.TTL_CHECKS)


@pytest.mark.parametrize("each", memory_profiles.checks("log") + memory_profiles.search_checks("eventual"))
async def test_a_store_that_promises_more_passes(each: memory_profiles.Check) -> None:
    async with InMemoryStore() as store:
        await each(store)


@pytest.mark.parametrize("store", [Forgetful(), HalfListed()])
async def test_what_is_never_seen_is_found(store: InMemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_profiles, "PATIENCE", 0.05)
    with pytest.raises(AssertionError, match="is not seen within"):
        await check("put_many_writes_one_after_the_other")(store)


async def test_refusing_is_for_long_parts_and_in_every_call() -> None:
    name = "long_identities_are_taken_or_refused"
    with pytest.raises(AssertionError, match="no part is over 32 bytes"):
        await check(name)(Picky(16, everywhere=True))
    with pytest.raises(AssertionError, match="another call does not"):
        await check(name)(Picky(32, everywhere=False))


async def test_entries_of_some_size_must_be_taken() -> None:
    with pytest.raises(AssertionError, match="an entry of 8192 bytes is refused"):
        await check("values_of_some_size_come_back_as_written")(Small())
