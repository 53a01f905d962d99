"""The conformance kits of a memory store in the profile that it declares.

    import pytest
    from agentfootprint.testing import ManualClock, memory_profiles

    @pytest.mark.parametrize("check", memory_profiles.checks("eventual"))
    async def test_my_store(check):
        async with MyStore(...) as store:
            await check(store)

`ttl_checks`, `search_checks` and `search_ttl_checks` are used likewise. For `full` they are those of
`memory_store` and `memory_search`. For the other profiles most of those run unchanged, on a caller that has
patience: it reads until it sees what it wrote, at most `PATIENCE` seconds, and compares versions before it
writes, since the store does not. What the profile does not promise is left out, and its limits are checked.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial, wraps
from typing import Any, TypeAlias, cast

from hypothesis.errors import UnsatisfiedAssumption

from ..embedders.base import Embedding
from ..errors import IdentityInvalid, UnsupportedValue
from ..identity import MemoryIdentity, namespace, namespace_prefix
from ..memory.base import (
    Filter,
    Match,
    MemoryEntry,
    MemoryStore,
    Page,
    Profile,
    SearchableStore,
)
from . import memory_search, memory_store
from .kit import VALUES, Advance, must_raise, same

__all__ = ["PATIENCE", "Check", "TTLCheck", "checks", "search_checks", "search_ttl_checks", "ttl_checks"]

Check: TypeAlias = Callable[[Any], Awaitable[None]]
TTLCheck: TypeAlias = Callable[[Any, Advance], Awaitable[None]]

PATIENCE = 60.0
"""Seconds within which what was written must be seen."""

LEAST_PART = 32
"""Bytes of UTF-8 that every store takes as a part of an identity."""

LEAST_VALUE = 8 * 1024
"""Bytes of JSON that every store takes as the value and the metadata of an entry."""

_ME = MemoryIdentity("kit", "alice", "t-1")


class _Patient:
    """A caller of a store whose reads lag: each write returns when it is seen."""

    durable = True
    profile: Profile = "full"

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._written: dict[MemoryIdentity, dict[str, str]] = {}
        self._vectors: dict[MemoryIdentity, Embedding] = {}
        self._taken: set[MemoryIdentity] = set()

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        await self._check_taken(identity)
        if expected is not None:
            now = await self._store.get(identity, entry.id)
            if (now.version if now else "") != expected:
                return None
        stored = await self._store.put(identity, entry)
        assert stored is not None, "put without `expected` must write and return the entry"
        await self._seen(identity, [stored])
        return stored

    async def put_many(
        self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]
    ) -> Sequence[MemoryEntry]:
        await self._check_taken(identity)
        stored = await self._store.put_many(identity, entries)
        await self._seen(identity, stored)
        return stored

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        return await self._store.get(identity, entry_id)

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        return await self._store.list(identity, limit=limit, cursor=cursor)

    async def search(
        self,
        identity: MemoryIdentity,
        query: Embedding,
        *,
        k: int = 10,
        min_score: float | None = None,
        where: Filter | None = None,
    ) -> Sequence[Match]:
        searchable = cast(SearchableStore, self._store)
        return await searchable.search(identity, query, k=k, min_score=min_score, where=where)

    async def delete(self, identity: MemoryIdentity, entry_id: str) -> bool:
        deleted = await self._store.delete(identity, entry_id)
        if deleted:
            self._written.get(identity, {}).pop(entry_id, None)
            await self._gone(identity, {entry_id})
        return deleted

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        await self._check_taken(identity)
        count = await self._store.forget(identity, descendants=descendants)
        prefix = namespace_prefix(identity) if descendants else namespace(identity)
        for each in [each for each in self._written if namespace(each).startswith(prefix)]:
            await self._gone(each, set(self._written.pop(each)))
            self._vectors.pop(each, None)
        return count

    async def aclose(self) -> None:
        await self._store.aclose()

    async def _seen(self, identity: MemoryIdentity, stored: Sequence[MemoryEntry]) -> None:
        """Waits until every entry, or what was written over it since, is read, listed and found."""
        last = {entry.id: entry for entry in stored}
        written = self._written.setdefault(identity, {})
        for entry in last.values():
            assert entry.version, "the store sets `version`"
            written[entry.id] = entry.version
            if entry.embedding is not None:
                self._vectors[identity] = entry.embedding

        async def seen() -> bool:
            awaited = {
                each: written[each]
                for each, entry in last.items()
                if each in written and (entry.expires is None or entry.expires > time.time())
            }
            for each, version in awaited.items():
                read = await self._store.get(identity, each)
                if read is None or read.version != version:
                    return False
            listed = {entry.id: entry.version for entry in await self._all(identity)}
            if any(listed.get(each) != version for each, version in awaited.items()):
                return False
            found = await self._found(identity)
            vectors = {each for each in awaited if last[each].embedding}
            return found is None or {each: awaited[each] for each in vectors} == {
                each: version for each, version in found.items() if each in awaited
            }

        await _until(seen, f"what was written for {identity} is not seen")

    async def _gone(self, identity: MemoryIdentity, ids: set[str]) -> None:
        async def gone() -> bool:
            listed = {entry.id for entry in await self._all(identity)}
            return not ids & (listed | set(await self._found(identity) or ()))

        await _until(gone, f"what was deleted for {identity} is still seen")

    async def _found(self, identity: MemoryIdentity) -> dict[str, str | None] | None:
        """What a search finds, whatever it means; None where there is nothing to search."""
        vector = self._vectors.get(identity)
        if vector is None:
            return None
        matches = await cast(SearchableStore, self._store).search(identity, vector, k=1000)
        return {match.entry.id: match.entry.version for match in matches}

    async def _all(self, identity: MemoryIdentity) -> Sequence[MemoryEntry]:
        found: list[MemoryEntry] = []
        cursor: str | None = None
        while True:
            page = await self._store.list(identity, limit=1000, cursor=cursor)
            found += page.entries
            cursor = page.cursor
            if cursor is None:
                return found

    async def _check_taken(self, identity: MemoryIdentity) -> None:
        """An identity with a long part may be refused, but then in every call. The example does not count."""
        if identity in self._taken:
            return
        try:
            await self._store.get(identity, "absent")
        except IdentityInvalid:
            longest = max(len((part or "").encode()) for part in identity.parts)
            assert longest > LEAST_PART, f"{identity} is refused, though no part is over {LEAST_PART} bytes"
            entry = MemoryEntry("absent", 1)
            for call in (
                partial(self._store.put, identity, entry),
                partial(self._store.put_many, identity, [entry]),
                partial(self._store.list, identity),
                partial(self._store.delete, identity, "absent"),
                partial(self._store.forget, identity),
            ):
                await must_raise(IdentityInvalid, call, f"get refuses {identity}, another call does not")
            raise UnsatisfiedAssumption(f"{identity} is refused") from None
        self._taken.add(identity)


async def _until(true: Callable[[], Awaitable[bool]], what: str) -> None:
    end = time.monotonic() + PATIENCE
    wait = 0.0
    while not await true():
        assert time.monotonic() < end, f"{what} within {PATIENCE:g} seconds"
        await asyncio.sleep(wait)
        wait = min(2 * wait + 0.001, 1.0)


async def values_of_some_size_come_back_as_written(store: MemoryStore) -> None:
    for number, value in enumerate(VALUES):
        entry = MemoryEntry(f"value {number}", value, {"value": value})
        size = 2 * len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        try:
            written = await store.put(_ME, entry)
        except UnsupportedValue:
            assert size > LEAST_VALUE, f"value {number} of {size} bytes is refused"
            assert await store.get(_ME, entry.id) is None, f"value {number} was refused and written"
            good = MemoryEntry("good", 1)
            call = partial(store.put_many, _ME, [good, entry])
            await must_raise(UnsupportedValue, call, f"put refuses value {number}, put_many does not")
            assert await store.get(_ME, "good") is None, "a refused put_many has written"
            continue
        read = await store.get(_ME, entry.id)
        assert read is not None, "what was written is absent"
        assert same(read.value, value), f"value {number} came back as something else"
        assert same(read.metadata, {"value": value}), f"value {number} came back as something else"
        assert written is not None
        assert read.version == written.version, "get must return the version that put returned"
    almost = "é" * ((LEAST_VALUE - 100) // 4)
    try:
        await store.put(_ME, MemoryEntry("large", almost, {"value": almost}))
    except UnsupportedValue:
        raise AssertionError(f"an entry of {LEAST_VALUE} bytes is refused") from None
    large = await store.get(_ME, "large")
    assert large is not None
    assert (large.value, large.metadata) == (almost, {"value": almost})


async def put_many_writes_one_after_the_other(store: MemoryStore) -> None:
    assert list(await store.put_many(_ME, [])) == []
    batch = [MemoryEntry(f"entry {number}", number) for number in range(20)]
    stored = await store.put_many(_ME, batch)
    assert [entry.id for entry in stored] == [entry.id for entry in batch]
    listed = (await store.list(_ME)).entries
    assert list(listed) == list(stored)[::-1], "put_many must return the entries as stored"
    await store.put_many(_ME, [MemoryEntry("twice", "first"), MemoryEntry("twice", "second")])
    twice = await store.get(_ME, "twice")
    assert twice is not None
    assert twice.value == "second", "of two entries with one id the later counts"


async def long_identities_are_taken_or_refused(store: MemoryStore) -> None:
    for length in (1, LEAST_PART // 4, 25, 64):
        part = "🦊" * length
        for identity in (
            MemoryIdentity(part),
            MemoryIdentity("kit", part),
            MemoryIdentity("kit", None, part),
            MemoryIdentity(part, part, part),
        ):
            try:
                await store.put(identity, MemoryEntry("one", length))
            except UnsatisfiedAssumption:
                continue
            read = await store.get(identity, "one")
            assert read is not None
            assert read.value == length
            assert await store.forget(identity) == 1


_REPLACED: dict[Any, Check | None] = {
    memory_store.values_come_back_as_written: values_of_some_size_come_back_as_written,
    memory_store.put_many_is_all_or_nothing: put_many_writes_one_after_the_other,
    memory_store.expected_names_the_version_to_replace: None,
    memory_store.one_of_many_writers_wins: None,
    memory_search.a_put_that_lost_changes_no_embedding: None,
    memory_search.one_embedder_wins_a_race: None,
    memory_search.after_forget_vectors_may_be_wider: None,
}
"""What the other profiles do not promise, and what they promise instead."""


def checks(profile: Profile) -> tuple[Check, ...]:
    """Independent checks: each is awaited with a store and raises AssertionError saying what is wrong."""
    if profile == "full":
        return memory_store.CHECKS
    return (*_patient(memory_store.CHECKS), *_patient((long_identities_are_taken_or_refused,)))


def ttl_checks(profile: Profile) -> tuple[TTLCheck, ...]:
    """Checks that also take a callable which moves the store's time on."""
    return memory_store.TTL_CHECKS if profile == "full" else _patient(memory_store.TTL_CHECKS)


def search_checks(profile: Profile) -> tuple[Check, ...]:
    """Checks of a `SearchableStore`."""
    return memory_search.CHECKS if profile == "full" else _patient(memory_search.CHECKS)


def search_ttl_checks(profile: Profile) -> tuple[TTLCheck, ...]:
    """Checks of a `SearchableStore` that also take a callable which moves the store's time on."""
    return memory_search.TTL_CHECKS if profile == "full" else _patient(memory_search.TTL_CHECKS)


def _patient(given: Sequence[Callable[..., Awaitable[None]]]) -> tuple[Callable[..., Awaitable[None]], ...]:
    kept = (_REPLACED.get(check, check) for check in given)
    return tuple(_with_patience(check) for check in kept if check is not None)


def _with_patience(check: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(check)
    async def patient(store: MemoryStore, *advance: Advance) -> None:
        await check(_Patient(store), *advance)

    return patient
