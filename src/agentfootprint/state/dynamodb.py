"""Shared state in DynamoDB: one conditional write for every decision."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import StoreConflict
from ..identity import MemoryIdentity, namespace, namespace_prefix
from ..loops import Closing
from .base import JSON, LogRecord, Record, StateKey
from .dynamodb_table import DUE, GRACE, TRIES, Item, Table, n, number, times, wait
from .values import check_limit, deadline, from_json, to_json, total

__all__ = ["DynamoDBState"]

_VERSION, _TOTAL, _FIRST = "versionToken", "runningTotal", "firstSequence"


class DynamoDBState(Closing):
    """A `StateStore` in one DynamoDB table (`pip install 'agentfootprint[dynamodb]'`).

    The table has the string keys `pk` (partition) and `sk` (sort), and time to live on `expiresAt`;
    `create_table()` makes it. All records of a tenant are one partition, so that a tenant is forgotten
    by queries and never by a scan; a partition takes about 1,000 writes a second. Reads are strongly
    consistent. Deadlines are in the items; DynamoDB's time to live only collects.

    Args:
        table: its name.
        client: a boto3 `dynamodb` client of one's own; it is left open. Turn its retries off, or a lost
            answer may count twice.
        region, endpoint_url: as in boto3; credentials are found as boto3 finds them.
        max_connections: requests at once; each occupies a thread.
        clock: seconds since the epoch.

    Raises:
        MissingExtra: boto3 is not installed.
        StoreError: boto3 has no region or credentials; when used: there is no such table, or no right to
            use it.
        StoreUnavailable (when used): DynamoDB cannot be reached or is throttled. An increment or append
            whose answer was lost may have happened; a compare-and-set is asked again, since its outcome
            can be told.
    """

    durable = True

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
        self._table = Table("DynamoDBState", table, client, region, endpoint_url, max_connections)
        self._clock = clock

    async def create_table(self) -> None:
        """Makes the table, paid by request, unless it is there, and waits until it can be used."""
        await self._table.create()

    async def get(self, key: StateKey) -> Record | None:
        for lost in range(TRIES):
            item = await self._table.get(_key(key, "record"))
            if item is None or number(item, DUE) <= self._clock():
                return None
            text = await self._table.value_of(item)
            if text is not None:
                return Record(from_json(text, f"the record {key.encoded!r}"), item[_VERSION]["S"])
            await wait(lost)
        raise _contended(key)

    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: JSON, *, ttl: float | None = None
    ) -> Record | None:
        text, now, version = to_json(value), self._clock(), secrets.token_hex(8)
        # A version that is the new one already was written by an attempt whose answer was lost.
        condition = f"{_VERSION} = :new OR attribute_not_exists(pk) OR {DUE} <= :now"
        values = {":new": {"S": version}, ":now": n(now)}
        if expected is not None:
            condition = f"{_VERSION} = :new OR ({_VERSION} = :expected AND {DUE} > :now)"
            values[":expected"] = {"S": expected}
        bare = {**_key(key, "record"), _VERSION: {"S": version}, **times(deadline(now, ttl))}
        item = await self._table.with_value(bare, text, version)
        replaced = await self._table.put(item, condition, values, again=True)
        if replaced is None:
            await self._table.drop_pieces(item)
            return None
        if replaced.get(_VERSION) != item[_VERSION]:
            await self._table.drop_pieces(replaced)
        return Record(from_json(text, key.encoded), version)

    async def increment(
        self, key: StateKey, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        fresh = total(0, by, limit)
        now = self._clock()
        place, due = _key(key, "counter"), times(deadline(now, ttl))
        for lost in range(TRIES):
            item = await self._table.get(place)
            if item is None or number(item, DUE) <= now:
                if fresh is None:
                    return None
                # What expired is replaced as it stands, so that two that find it do not both begin anew.
                condition, values = "attribute_not_exists(pk)", {}
                if item is not None:
                    condition = f"{DUE} = :due AND {_TOTAL} = :total"
                    values = {":due": item[DUE], ":total": item[_TOTAL]}
                if await self._table.put({**place, _TOTAL: n(by), **due}, condition, values) is not None:
                    return fresh
            else:
                after = total(int(item[_TOTAL]["N"]), by, limit)
                if after is None or by == 0:
                    return after
                most = 2**63 - 1 if limit is None else min(limit, 2**63 - 1)
                bounds = {":least": n(-(2**63) - min(by, 0)), ":most": n(most - by)}
                added = await self._table.update(
                    place,
                    f"SET {_TOTAL} = {_TOTAL} + :by",
                    f"{DUE} = :due AND {_TOTAL} BETWEEN :least AND :most",
                    {":by": n(by), ":due": item[DUE], **bounds},
                )
                if added is not None:
                    return int(added[_TOTAL]["N"])
            await wait(lost)
        raise _contended(key)

    async def append(self, key: StateKey, value: JSON, *, ttl: float | None = None) -> int:
        text, due = to_json(value), times(deadline(self._clock(), ttl))
        token = secrets.token_hex(8)
        for lost in range(TRIES):
            # An entry is written only behind the one before it: readers never miss one.
            last = await self._last_sequence(key)
            sequence = await self._first_sequence(key) if last is None else last + 1
            bare = {**_key(key, f"entry#{sequence:020d}"), **due}
            item = await self._table.with_value(bare, text, token)
            if await self._table.put(item, "attribute_not_exists(pk)") is not None:
                return sequence
            await wait(lost)
        raise _contended(key)

    async def _last_sequence(self, key: StateKey) -> int | None:
        low, high = (_key(key, f"entry#{at}") for at in ("", "~"))
        values = {":low": low["sk"], ":high": high["sk"]}
        between = "sk BETWEEN :low AND :high"
        async for item in self._table.query(low["pk"]["S"], between, values, limit=1, newest_first=True):
            return _sequence_of(item)
        return None

    async def _first_sequence(self, key: StateKey) -> int:
        """Where an empty log begins: at the microseconds, so that one that was collected goes on counting.

        Those who begin it at once agree on it by an item that holds for half of the time that an entry
        surely stays in the table.
        """
        place, now = _key(key, "first"), time.time()
        item = await self._table.get(place)
        if item is not None and number(item, DUE) > now:
            return int(item[_FIRST]["N"])
        condition, values = "attribute_not_exists(pk)", {}
        if item is not None:
            condition, values = f"{_FIRST} = :old", {":old": item[_FIRST]}
        made = {**place, _FIRST: n(time.time_ns() // 1000), **times(now + GRACE / 2)}
        if await self._table.put(made, condition, values) is None:
            return await self._first_sequence(key)
        return int(made[_FIRST]["N"])

    async def read(self, key: StateKey, *, after: int = 0, limit: int | None = None) -> Sequence[LogRecord]:
        check_limit(limit, 0)
        found: list[LogRecord] = []
        now = self._clock()
        low, high = _key(key, f"entry#{max(after + 1, 0):020d}"), _key(key, "entry#~")
        values = {":low": low["sk"], ":high": high["sk"]}
        if limit == 0:
            return found
        async for item in self._table.query(low["pk"]["S"], "sk BETWEEN :low AND :high", values, limit=limit):
            if number(item, DUE) <= now:
                continue
            sequence = _sequence_of(item)
            text = await self._table.value_of(item)
            if text is not None:  # Otherwise it is just being deleted.
                where = f"entry {sequence} of the log {key.encoded!r}"
                found.append(LogRecord(sequence, from_json(text, where)))
            if len(found) == limit:
                break
        return found

    async def delete(self, key: StateKey) -> None:
        place = _key(key, "")
        await self._forget(place["pk"]["S"], place["sk"]["S"])

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        prefix = namespace_prefix(identity) if descendants else f"{namespace(identity)}|"
        tenant, _, rest = prefix.partition("/")
        return await self._forget(f"{tenant}/", rest)

    async def _forget(self, pk: str, prefix: str) -> int:
        """Deletes what lies in a partition under a prefix; how many keys of it had not expired."""
        now = self._clock()
        alive: set[str] = set()
        doomed: list[Item] = []
        condition, values = ("begins_with(sk, :sk)", {":sk": {"S": prefix}}) if prefix else ("", {})
        async for item in self._table.query(pk, condition, values):
            name, part = item["sk"]["S"].split("#")[:2]
            if part in ("record", "counter", "entry") and number(item, DUE) > now:
                alive.add(name)
            doomed.append(item)
        await self._table.remove(doomed)
        return len(alive)

    async def check(self) -> None:
        await self._table.check()

    async def aclose(self) -> None:
        await self._table.aclose()

    def __repr__(self) -> str:
        return f"<DynamoDBState in {self._table.where}>"


def _key(key: StateKey, part: str) -> Item:
    """A tenant is a partition; what belongs to no identity spreads over a partition for each record."""
    encoded = key.encoded
    tenant, _, rest = encoded.partition("/") if key.identity is not None else (encoded, "", "")
    return {"pk": {"S": f"{tenant}/"}, "sk": {"S": f"{rest}#{part}"}}


def _sequence_of(item: Item) -> int:
    return int(item["sk"]["S"].rpartition("#")[2])


def _contended(key: StateKey) -> StoreConflict:
    return StoreConflict(f"{TRIES} writes of {key.encoded!r} in a row were lost to other instances")
