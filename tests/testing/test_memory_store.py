"""The kit has teeth: each of these stores has one well-known fault, and the kit finds it."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import pytest

from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import InMemoryStore, MemoryEntry, Page
from agentfootprint.memory.stores.in_memory import _Row
from agentfootprint.testing import ManualClock, memory_store


class Make(Protocol):
    def __call__(self, *, clock: Callable[[], float]) -> InMemoryStore: ...


class Renamed(InMemoryStore):
    """Stores under another name than the one it was given."""

    def rename(self, identity: MemoryIdentity) -> MemoryIdentity:
        raise AssertionError("each fault renames in its own way")

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        return await super().put(self.rename(identity), entry, expected=expected)

    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        return await super().put_many(self.rename(identity), entries)

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        return await super().get(self.rename(identity), entry_id)

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        return await super().list(self.rename(identity), limit=limit, cursor=cursor)

    async def delete(self, identity: MemoryIdentity, entry_id: str) -> bool:
        return await super().delete(self.rename(identity), entry_id)

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        return await super().forget(self.rename(identity), descendants=descendants)


class JoinsWithColon(Renamed):
    def rename(self, identity: MemoryIdentity) -> MemoryIdentity:
        joined = ":".join(part for part in identity.parts if part is not None)
        return MemoryIdentity(joined.encode()[:256].decode(errors="ignore"))


class Normalises(Renamed):
    def rename(self, identity: MemoryIdentity) -> MemoryIdentity:
        parts = (part and unicodedata.normalize("NFC", part) for part in identity.parts)
        return MemoryIdentity(*parts)


class IgnoresTheTenant(Renamed):
    def rename(self, identity: MemoryIdentity) -> MemoryIdentity:
        return MemoryIdentity("all", identity.principal, identity.conversation_id)


class ListsChildren(InMemoryStore):
    """A parent sees what its children wrote."""

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        page = await super().list(identity, limit=limit, cursor=cursor)
        for each in list(self._spaces):
            if each != identity and each.parts[:2] == identity.parts[:2] and identity.conversation_id is None:
                page = Page(page.entries + (await InMemoryStore.list(self, each)).entries)
        return page


class ForgetsByWildcard(InMemoryStore):
    """The tenant `%` forgets everybody."""

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        if identity.tenant == "%":
            return sum([await InMemoryStore.forget(self, each) for each in list(self._spaces)])
        return await super().forget(identity, descendants=descendants)


class FoldsIds(InMemoryStore):
    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        return await super().put_many(identity, [replace(entry, id=entry.id.lower()) for entry in entries])


class IgnoresExpected(InMemoryStore):
    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        return await super().put(identity, entry)


class ChecksThenWrites(InMemoryStore):
    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        current = await super().get(identity, entry.id)
        if expected is not None and (current.version if current else "") != expected:
            return None
        await asyncio.sleep(0)
        return await super().put(identity, entry)


class ReusesVersions(InMemoryStore):
    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        stored = await super().put(identity, entry, expected=expected)
        return stored and replace(stored, version="1")


class ListsOldestFirst(InMemoryStore):
    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        page = await super().list(identity, limit=limit, cursor=cursor)
        return Page(page.entries[::-1], page.cursor)


class PagesByOffset(InMemoryStore):
    """What is written at the front shifts every later page."""

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        offset = int(cursor or 0)
        entries = (await super().list(identity, limit=10_000)).entries
        more = len(entries) > offset + limit
        return Page(entries[offset : offset + limit], str(offset + limit) if more else None)


class MovesWhatIsReplaced(InMemoryStore):
    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        if expected is None:
            await super().delete(identity, entry.id)
        return await super().put(identity, entry, expected=expected)


class PutsOneByOne(InMemoryStore):
    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        stored = []
        for entry in entries:
            await asyncio.sleep(0)
            stored.append(await self.put(identity, entry))
        return [entry for entry in stored if entry]


class PutsTheGoodOnes(InMemoryStore):
    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        stored = [await self.put(identity, entry) for entry in entries]
        return [entry for entry in stored if entry]


class LosesConcurrentPuts(InMemoryStore):
    """The list of ids is one value, read and written back."""

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        space = self._spaces.get(identity)
        before = list(space.rows.values()) if space else []
        await asyncio.sleep(0)
        await InMemoryStore.forget(self, identity)
        for row in before:
            await InMemoryStore.put(self, identity, row.entry())
        return await super().put(identity, entry, expected=expected)


class NoneIsAbsent(InMemoryStore):
    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        entry = await super().get(identity, entry_id)
        return entry if entry and entry.value is not None else None


class Shares(InMemoryStore):
    """Hands out the object it keeps."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self._kept: dict[str, MemoryEntry] = {}

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        entry = await super().get(identity, entry_id)
        return entry and self._kept.setdefault(entry_id, entry)


class DropsMetadata(InMemoryStore):
    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        return await super().put(identity, replace(entry, metadata={}), expected=expected)


class GuessesCursors(InMemoryStore):
    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        cursor = cursor if cursor and ":" in cursor else None
        return await super().list(identity, limit=max(limit, 1), cursor=cursor)


class KeepsForEver(InMemoryStore):
    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=lambda: 0.0)


class ExpiredFillPages(InMemoryStore):
    """Filters a page after it was cut."""

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        rows: dict[str, _Row] = self._spaces[identity].rows if identity in self._spaces else {}
        newest = sorted(rows.values(), key=lambda row: row.place, reverse=True)[:limit]
        now = self._clock()
        return Page(tuple(row.entry() for row in newest if row.expires is None or row.expires > now))


FAULTS: list[tuple[Make, memory_store.Check]] = [
    (JoinsWithColon, memory_store.tenants_never_meet),
    (JoinsWithColon, memory_store.forget_reaches_exactly_whom_it_names),
    (Normalises, memory_store.tenants_never_meet),
    (IgnoresTheTenant, memory_store.tenants_never_meet),
    (ListsChildren, memory_store.tenants_never_meet),
    (ForgetsByWildcard, memory_store.tenants_never_meet),
    (ForgetsByWildcard, memory_store.forget_reaches_exactly_whom_it_names),
    (FoldsIds, memory_store.ids_never_meet),
    (IgnoresExpected, memory_store.expected_names_the_version_to_replace),
    (ChecksThenWrites, memory_store.one_of_many_writers_wins),
    (ReusesVersions, memory_store.versions_are_never_reused),
    (ListsOldestFirst, memory_store.lists_are_newest_first),
    (PagesByOffset, memory_store.paging_is_stable_while_others_write),
    (MovesWhatIsReplaced, memory_store.a_replaced_entry_keeps_its_place),
    (MovesWhatIsReplaced, memory_store.paging_is_stable_while_others_write),
    (PutsOneByOne, memory_store.put_many_is_all_or_nothing),
    (PutsTheGoodOnes, memory_store.what_is_not_json_is_refused),
    (LosesConcurrentPuts, memory_store.concurrent_puts_are_all_kept),
    (NoneIsAbsent, memory_store.none_is_not_absent),
    (Shares, memory_store.stored_values_are_not_shared),
    (DropsMetadata, memory_store.entries_come_back_as_written),
    (GuessesCursors, memory_store.bad_pages_are_refused),
]


@pytest.mark.parametrize(("faulty", "check"), FAULTS)
async def test_the_kit_finds(faulty: Make, check: memory_store.Check) -> None:
    assert check in memory_store.CHECKS
    with pytest.raises(AssertionError):
        await check(faulty(clock=ManualClock()))


@pytest.mark.parametrize("faulty", [KeepsForEver, ExpiredFillPages])
async def test_the_kit_finds_in_time(faulty: Make) -> None:
    clock = ManualClock()
    with pytest.raises(AssertionError):
        await memory_store.expired_entries_are_absent(faulty(clock=clock), clock.advance)
