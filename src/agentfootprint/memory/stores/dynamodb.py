"""Memory entries in DynamoDB: an item for each entry, and one for its place among the others."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ...errors import InputInvalid, StoreConflict, StoreUnavailable
from ...identity import MemoryIdentity, namespace, namespace_prefix
from ...loops import Closing
from ...state.dynamodb_table import MOST, PIECE, TRIES, Item, Table, wait
from ...state.values import alive, check_limit
from ..base import MemoryEntry, Page, Profile
from . import dynamodb_items as items
from .cursor import read_cursor, write_cursor

__all__ = ["DynamoDBStore"]

TRANSACTION = 3_000_000
"""Bytes of values in one transaction, which holds at most 4 MB; what is over goes on in further items."""

UNFINISHED = 600.0
"""Seconds for which what belongs to no entry may belong to one that is just being written."""


class DynamoDBStore(Closing):
    """A `MemoryStore` in one DynamoDB table (`pip install 'agentfootprint[dynamodb]'`), without a search.

    The table has the string keys `pk` (partition) and `sk` (sort), and time to live on `expiresAt`;
    `create_table()` makes it, and a `DynamoDBState` may share it. All entries of a tenant are the partition
    `TENANT/memory`, which a policy can grant with `dynamodb:LeadingKeys`; it takes about 1,000 writes a
    second. Reads are strongly consistent, but a `list` at the moment of a `put_many` may see a part of it.
    When entries expire is in them; DynamoDB's time to live only collects.

    Of a `put` that was broken off, items may be left that no call returns; a later `forget` deletes them.

    Args:
        table: its name.
        client: a boto3 `dynamodb` client of one's own; it is left open.
        region, endpoint_url: as in boto3; credentials are found as boto3 finds them.
        max_connections: requests at once; each occupies a thread.
        clock: seconds since the epoch.

    Raises:
        MissingExtra: boto3 is not installed.
        StoreError: boto3 has no region or credentials; when used: there is no such table, or no right to
            use it.
        IdentityInvalid (when used): principal, conversation and id together are too long for a key. Up to
            700 bytes they are not; in the first two, one that is no letter or digit counts as three.
        InputInvalid (when used): a `put_many` of more than 100 different ids.
        StoreUnavailable (when used): DynamoDB cannot be reached or is throttled. What reads or puts is asked
            once more, since its outcome can be told; a `delete` or `forget` whose answer was lost may have
            happened.
    """

    durable = True
    profile: Profile = "full"

    def __init__(
        self,
        table: str,
        *,
        client: Any = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        max_connections: int = 10,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = Table("DynamoDBStore", table, client, region, endpoint_url, max_connections)
        self._clock = clock
        self._last_number = 0

    async def create_table(self) -> None:
        """Makes the table, paid by request, unless it is there, and waits until it can be used."""
        await self._table.create()

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        written = await self._write(identity, [entry], expected)
        return written[0] if written else None

    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        if len({entry.id for entry in entries}) > MOST:
            raise InputInvalid(
                f"DynamoDB writes at most {MOST} entries or none: put {MOST} at a time, if they need not be "
                "there all at once"
            )
        return list(await self._write(identity, entries, None)) if entries else []

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        return await self._read(items.entry_key(identity, entry_id))

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        check_limit(limit, 1)
        low, high = items.place_key(identity, ""), items.place_key(identity, "~")
        if cursor is not None:
            # Places of this number have their version behind it, and so lie above.
            created, number = read_cursor(cursor)
            high = items.place_key(identity, items.place_name(created, max(number, 0), ""))
        found: list[tuple[MemoryEntry, int]] = []
        chunk: list[Item] = []
        size = min(limit + 1, MOST)
        between, values = "sk BETWEEN :low AND :high", {":low": low["sk"], ":high": high["sk"]}
        places = self._table.query(low["pk"]["S"], between, values, limit=size, newest_first=True)
        async with contextlib.aclosing(places):
            async for place in places:
                chunk.append(place)
                if len(chunk) == size:
                    found += await self._placed(identity, chunk)
                    chunk = []
                    if len(found) > limit:
                        break
        found += await self._placed(identity, chunk)
        entries = tuple(entry for entry, _ in found[:limit])
        if len(found) <= limit:
            return Page(entries)
        return Page(entries, write_cursor(entries[-1].created or 0.0, found[limit - 1][1]))

    async def delete(self, identity: MemoryIdentity, entry_id: str) -> bool:
        item = await self._table.take(items.entry_key(identity, entry_id))
        if item is None:
            return False
        await self._tidy(items.belongings(item))
        return alive(items.expires_of(item), self._clock())

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        pk, prefix = items.partition(namespace_prefix(identity) if descendants else f"{namespace(identity)}#")
        condition, values = ("begins_with(sk, :sk)", {":sk": {"S": prefix}}) if prefix else ("", {})
        now, count = self._clock(), 0
        doomed: list[Item] = []
        rest: list[Item] = []
        async for item in self._table.query(pk, condition, values):
            if items.is_entry(item):
                count += alive(items.expires_of(item), now)
                doomed.append({"pk": item["pk"], "sk": item["sk"]})
                rest += items.belongings(item)
            elif items.age(item) > UNFINISHED:
                rest.append({"pk": item["pk"], "sk": item["sk"]})
        # An entry goes before its place: one that is put in between gets a place of its own.
        await self._table.remove([*doomed, *rest])
        return count

    async def check(self) -> None:
        await self._table.check()

    async def aclose(self) -> None:
        await self._table.aclose()

    def __repr__(self) -> str:
        return f"<DynamoDBStore in {self._table.where}>"

    async def _read(self, key: Item, item: Item | None = None) -> MemoryEntry | None:
        """An entry that is there and has not expired."""
        for lost in range(TRIES):
            item = await self._table.get(key) if item is None else item
            if item is None or not alive(items.expires_of(item), self._clock()):
                return None
            text = await self._table.value_of(item)
            if text is not None:
                return items.entry_of(item, text, self._table.where)
            item = None  # It was just replaced.
            await wait(lost)
        raise self._contended()

    async def _placed(
        self, identity: MemoryIdentity, places: Sequence[Item]
    ) -> Sequence[tuple[MemoryEntry, int]]:
        """The entries at these places, with their numbers. A place counts only if its entry names it."""
        keys = [items.entry_key(identity, place[items.ID]["S"]) for place in places]
        there = await self._table.get_many(keys)
        found = []
        for place, key in zip(places, keys, strict=True):
            item = there.get(key["sk"]["S"])
            if item is not None and items.place_of(item)["sk"] == place["sk"]:
                entry = await self._read(key, item)
                if entry is not None:
                    found.append((entry, items.number_of(item)))
        return found

    async def _write(
        self, identity: MemoryIdentity, entries: Sequence[MemoryEntry], expected: str | None
    ) -> Sequence[MemoryEntry]:
        """The entries as stored; none when the expected version is not there."""
        drafts = await self._drafts(identity, entries)
        ahead: dict[str, Item] = {}
        for lost in range(TRIES):
            now = self._clock()
            olds = await self._table.get_many([draft.item for draft in drafts.values()])
            if expected is not None:
                (draft,) = drafts.values()
                if items.version_of(olds.get(draft.sk), now) != expected:
                    mine = (key for draft in drafts.values() for key in items.pieces(draft.item))
                    await self._tidy([*ahead.values(), *mine])
                    return []
            stored, writes = items.placed(entries, drafts, olds, now)
            needed = [draft.place(write[0]) for draft, write in zip(drafts.values(), writes, strict=True)]
            places = {place["sk"]["S"]: place for place in needed if place is not None}
            await self._table.write([place for sk, place in places.items() if sk not in ahead])
            ahead |= places
            if await self._table.put_all(writes, secrets.token_hex(16)):
                kept = {items.place_of(write[0])["sk"]["S"] for write in writes}
                gone = [*ahead.values(), *(key for old in olds.values() for key in items.belongings(old))]
                await self._tidy(key for key in gone if key["sk"]["S"] not in kept)
                return stored
            await wait(lost)
        raise self._contended()

    async def _drafts(
        self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]
    ) -> dict[str, items.Draft]:
        """The last entry of each id, with its value and as if it were a new one."""
        last = {entry.id: entry for entry in entries}
        texts = {entry_id: items.content(entry) for entry_id, entry in last.items()}
        for entry in entries:
            if entry is not last[entry.id]:
                items.content(entry)  # What is not JSON is refused, though it would be replaced at once.
        room = min(PIECE, TRANSACTION // len(last))
        made: dict[str, items.Draft] = {}
        for entry_id, entry in last.items():
            number = self._last_number = max(self._last_number + 1, time.time_ns())
            version = f"{time.time_ns():x}-{secrets.token_hex(8)}"
            draft = items.Draft.of(identity, entry, version, number)
            item = await self._table.with_value(draft.item, texts[entry_id], version, room)
            made[entry_id] = replace(draft, item=item)
        return made

    async def _tidy(self, keys: Iterable[Item]) -> None:
        """Deletes what belongs to no entry any more. What was asked for has happened: it does not fail."""
        with contextlib.suppress(StoreUnavailable):
            await self._table.remove([*keys])

    def _contended(self) -> StoreConflict:
        return StoreConflict(f"{TRIES} tries in {self._table.where} in a row were lost to other instances")
