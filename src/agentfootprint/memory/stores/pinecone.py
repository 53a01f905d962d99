"""Memory entries in a Pinecone index: a namespace for each tenant, reads that lag behind writes."""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from ...embedders.base import Embedding
from ...errors import IdentityInvalid, InputInvalid, StoreCorrupt
from ...identity import MemoryIdentity, check_part, namespace, namespace_prefix
from ...loops import Closing
from ...state.values import alive, check_limit, from_json, to_json
from ..base import Filter, Match, MemoryEntry, Not, Page, Profile
from .pinecone_index import Index, Record, check_size
from .vectors import check_fingerprint, check_search

__all__ = ["PineconeStore"]

MAX_ID = 512
"""Characters of an id or of a namespace's name."""

FOREVER = 1e15
"""The deadline of what has none."""

_ENTRY, _PLACE, _SPACE = "e#", "p#", "s#"
_TAIL = 32 + 64 + 16
_CURSOR = re.compile("[0-9a-f]{96}")
_LONGEST_EXACT = 200


@dataclass(frozen=True, slots=True)
class _Home:
    """Where the entries of an identity are: what their ids begin with, in which namespace.

    Three kinds of records: the entry, under the digest of its id; its place, whose id sorts where `list`
    shows the entry; and one that says by which embedder the identity's entries were embedded.
    """

    space: str
    rest: str
    principal: str

    @property
    def fingerprint(self) -> str:
        return f"{self.rest}{_SPACE}"

    def entry(self, entry_id: str) -> str:
        return f"{self.rest}{_ENTRY}{hashlib.sha256(entry_id.encode()).hexdigest()}"

    def place(self, order: str, entry_id: str, expires: float | None) -> str:
        key = self.entry(entry_id)[-64:]
        due = _ordered(math.inf if expires is None else expires)
        return f"{self.rest}{_PLACE}{order}{key}{due}"

    def metadata(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"kind": kind, "home": self.rest, "principal": self.principal, **fields}


class PineconeStore(Closing):
    """A `SearchableStore` of profile `eventual` in Pinecone (`pip install 'agentfootprint[pinecone]'`).

    The index is one of dense vectors with the metric `cosine`, made by you, with as many dimensions as the
    embedder. Each tenant is a namespace of it. An entry is two vectors: itself, and its place in `list`;
    what has no embedding gets a constant vector that no search sees. Value and metadata of an entry are
    metadata in Pinecone, which keeps 40 KB with a vector: more raises `UnsupportedValue`. So does
    `IdentityInvalid` what no id can hold: a tenant of more than 511 characters, or a principal and a
    conversation of more than 396 together, where a character other than letters, digits and `-` counts
    three for each byte of its UTF-8.

    A page of `list` costs ids up to that page and the page's entries; `forget` counts by listing ids and
    deletes by filter. What has expired is no longer seen; `delete` and `forget` remove it. Two embedders that
    begin with an identity at the same moment are not told apart, yet a search never compares their vectors.

    Args:
        index: the host of the index, as Pinecone's console shows it, or an open `pinecone.AsyncIndex`, which
            is used in its own event loop and left open.
        api_key: of the project; default: `PINECONE_API_KEY`.
        timeout: seconds for an attempt of a request; the SDK makes up to four.
        clock: seconds since the epoch.

    Raises:
        MissingExtra: `pinecone` is not installed.
        ConfigurationError: the host or the key cannot be used.
        StoreError (when used): there is no such index, it has another metric, or the key is refused.
        StoreUnavailable (when used): Pinecone cannot be reached, does not answer or is throttled. A write
            whose answer was lost may have happened; it may be made again.
    """

    durable = True
    profile: Profile = "eventual"

    def __init__(
        self,
        index: Any,
        *,
        api_key: str | None = None,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._index = Index(index, api_key, timeout)
        self._clock = clock
        self._last = 0

    async def put(self, identity: MemoryIdentity, entry: MemoryEntry) -> MemoryEntry:
        return (await self.put_many(identity, [entry]))[0]

    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        self._index.check_open()
        home, now = _home(identity), self._clock()
        texts = [_texts(home, entry) for entry in entries]
        embeddings = [entry.embedding for entry in entries if entry.embedding is not None]
        if not entries:
            return []
        dimension = await self._index.dimension()
        wanted = dict.fromkeys(home.entry(entry.id) for entry in entries)
        there = await self._index.fetch(home.space, [*wanted, *([home.fingerprint] if embeddings else [])])
        known = _fingerprint(there.get(home.fingerprint))
        for each in embeddings:
            check_fingerprint(known, each.fingerprint)
            known = each.fingerprint
        for each in embeddings[:1]:
            await self._index.check_dimension(each.dimensions)

        blank = [1.0, *[0.0] * (dimension - 1)]
        records: dict[str, Record] = {}
        if embeddings:
            said = home.metadata("space", fingerprint=known)
            records[home.fingerprint] = {"id": home.fingerprint, "values": blank, "metadata": said}
        stale: set[str] = set()
        stored: list[MemoryEntry] = []
        for entry, text in zip(entries, texts, strict=True):
            key = home.entry(entry.id)
            before = there.get(key)
            old = None if before is None else self._entry(before)
            if before is not None:
                stale.add(before["metadata"]["place"])
            if old is None or not alive(old.expires, now):
                created = now if entry.created is None else entry.created
                number = self._number()
            else:
                assert old.created is not None
                assert before is not None
                created = old.created if entry.created is None else entry.created
                number = before["metadata"]["place"][-_TAIL + 16 : -_TAIL + 32]
            place = home.place(_ordered(created, newest_first=True) + number, entry.id, entry.expires)
            written = replace(entry, created=created, version=secrets.token_hex(8))
            metadata = {**text, "created": repr(created), "place": place, "version": written.version}
            values = blank if entry.embedding is None else list(entry.embedding.vector)
            there[key] = {"id": key, "values": values, "metadata": metadata}
            if before is not None:
                records.pop(before["metadata"]["place"], None)
            records[key] = there[key]
            records[place] = {"id": place, "values": blank, "metadata": home.metadata("place")}
            stored.append(written)
        await self._index.upsert(home.space, list(records.values()))
        await self._index.delete(home.space, sorted(stale - set(records)))
        return stored

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        self._index.check_open()
        check_part("a memory entry's id", entry_id)
        home = _home(identity)
        key = home.entry(entry_id)
        await self._index.dimension()
        record = (await self._index.fetch(home.space, [key])).get(key)
        entry = None if record is None else self._entry(record)
        return entry if entry is not None and alive(entry.expires, self._clock()) else None

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        self._index.check_open()
        check_limit(limit, 1)
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise InputInvalid("a cursor must be one that `list` of this store returned as `page.cursor`")
        home, now = _home(identity), self._clock()
        await self._index.dimension()
        entries: list[MemoryEntry] = []
        tails: list[str] = []
        waiting: list[str] = []

        async def take() -> None:
            """Reads entries at their places. A place that is not its entry's is one that a write left."""
            keys = {place: f"{home.rest}{_ENTRY}{place[-80:-16]}" for place in waiting}
            there = await self._index.fetch(home.space, list(keys.values()))
            for place, key in keys.items():
                record = there.get(key)
                if record is not None and record["metadata"]["place"] == place:
                    entries.append(self._entry(record))
                    tails.append(place[-_TAIL:-16])
            waiting.clear()

        async for place in self._index.ids(home.space, f"{home.rest}{_PLACE}"):
            if (cursor is None or place[-_TAIL:-16] > cursor) and _due(place) > now:
                waiting.append(place)
            if len(waiting) + len(entries) > limit:
                await take()
                if len(entries) > limit:
                    break
        if waiting:
            await take()
        if len(entries) <= limit:
            return Page(tuple(entries))
        return Page(tuple(entries[:limit]), tails[limit - 1])

    async def search(
        self,
        identity: MemoryIdentity,
        query: Embedding,
        *,
        k: int = 10,
        min_score: float | None = None,
        where: Filter | None = None,
    ) -> Sequence[Match]:
        self._index.check_open()
        wanted, home = check_search(k, where), _home(identity)
        await self._index.dimension()
        known = _fingerprint((await self._index.fetch(home.space, [home.fingerprint])).get(home.fingerprint))
        if known is None:
            return []
        check_fingerprint(known, query.fingerprint)
        await self._index.check_dimension(query.dimensions)
        conditions: list[dict[str, Any]] = [
            {"kind": {"$eq": "entry"}},
            {"home": {"$eq": home.rest}},
            {"fingerprint": {"$eq": query.fingerprint}},
            {"due": {"$gt": self._clock()}},
            *(_condition(key, value) for key, value in wanted.items()),
        ]
        # Some more than are asked for: among equals Pinecone does not know which is the newest.
        most = max(2 * k, k + 20)
        found = await self._index.query(home.space, query.vector, most, {"$and": conditions})
        found.sort(key=lambda each: (-each[1], each[0]["metadata"]["place"]))
        matches = (Match(self._entry(record), score) for record, score in found)
        return [match for match in matches if min_score is None or match.score >= min_score][:k]

    async def delete(self, identity: MemoryIdentity, entry_id: str) -> bool:
        self._index.check_open()
        check_part("a memory entry's id", entry_id)
        home = _home(identity)
        key = home.entry(entry_id)
        await self._index.dimension()
        record = (await self._index.fetch(home.space, [key])).get(key)
        # Deleted also if it is not seen: it may have been written a moment ago.
        place = [] if record is None else [record["metadata"]["place"]]
        await self._index.delete(home.space, [key, *place])
        return record is not None and alive(self._entry(record).expires, self._clock())

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        self._index.check_open()
        home, now = _home(identity), self._clock()
        prefix = namespace_prefix(identity).partition("/")[2] if descendants else home.rest
        await self._index.dimension()
        places: set[str] = set()
        entries: set[str] = set()
        async for each in self._index.ids(home.space, prefix):
            rest, kind, tail = each.rpartition("/")
            if tail.startswith(_ENTRY):
                entries.add(f"{rest}{kind}{tail[len(_ENTRY) :]}")
            elif tail.startswith(_PLACE) and _due(each) > now:
                places.add(f"{rest}{kind}{each[-80:-16]}")
        ours = {"kind": {"$in": ["entry", "place", "space"]}}
        reach = {home.rest: {"home": {"$eq": home.rest}}, home.principal: {"principal": {"$eq": prefix}}}
        # By filter, for that reaches also what is not listed yet.
        await self._index.delete_where(home.space, {"$and": [ours, reach[prefix]]} if prefix else ours)
        return len(places & entries)

    async def check(self) -> None:
        await self._index.check()

    async def aclose(self) -> None:
        await self._index.aclose()

    def __repr__(self) -> str:
        return f"<PineconeStore in {self._index.where}>"

    def _number(self) -> str:
        """What tells entries of one time apart: smaller with every entry written."""
        self._last = max(self._last + 1, time.time_ns())
        return f"{2**64 - 1 - self._last:016x}"

    def _entry(self, record: Record) -> MemoryEntry:
        kept, where = record["metadata"], f"the record {record['id']!r} of {self._index.where}"
        try:
            entry_id, fingerprint, due = str(kept["id"]), str(kept["fingerprint"]), float(kept["due"])
            value, metadata, created = kept["value"], kept["metadata"], float(kept["created"])
            version, values = str(kept["version"]), record["values"]
            embedding = Embedding.of(values, fingerprint) if fingerprint else None
        except (KeyError, TypeError, ValueError) as error:
            raise StoreCorrupt(
                f"{where} is not what was written ({type(error).__name__}): delete it"
            ) from None
        return MemoryEntry(
            entry_id,
            from_json(value, where),
            from_json(metadata, where),
            created,
            None if due >= FOREVER else due,
            version,
            embedding,
        )


def _home(identity: MemoryIdentity) -> _Home:
    tenant, _, rest = namespace(identity).partition("/")
    if len(tenant) + 1 > MAX_ID:
        raise IdentityInvalid(
            f"tenant is {len(tenant)} characters long when encoded, a namespace of Pinecone has at most "
            f"{MAX_ID - 1} for it: pass a shorter stable id"
        )
    longest = MAX_ID - len(_PLACE) - _TAIL
    if len(rest) > longest:
        raise IdentityInvalid(
            f"principal and conversation_id are {len(rest)} characters long when encoded, an id of Pinecone "
            f"has at most {longest} for them: pass shorter stable ids"
        )
    return _Home(f"{tenant}/", rest, f"{rest.partition('/')[0]}/")


def _texts(home: _Home, entry: MemoryEntry) -> dict[str, Any]:
    """The metadata that Pinecone keeps of an entry, as far as the entry says it."""
    text = to_json(dict(entry.metadata))
    fields = {
        _field(key): _scalar(value)
        for key, value in entry.metadata.items()
        if value is None or isinstance(value, (str, int, float))
    }
    made = home.metadata(
        "entry",
        id=entry.id,
        value=to_json(entry.value),
        metadata=text,
        due=FOREVER if entry.expires is None else entry.expires,
        fingerprint="" if entry.embedding is None else entry.embedding.fingerprint,
        **fields,
    )
    check_size(entry.id, {**made, "created": "-" * 24, "place": "-" * MAX_ID, "version": "-" * 16})
    return made


def _field(key: str) -> str:
    """The name of a key of an entry's metadata in Pinecone's: no operator, and no name of ours."""
    return "." + quote(key, safe="", errors="surrogatepass")


def _scalar(value: str | int | float | bool | None) -> str:
    """A text that is the same for values that are the same as JSON, and for no others."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_EXACT else f"#{hashlib.sha256(text.encode()).hexdigest()}"


def _condition(key: str, wanted: Any) -> dict[str, Any]:
    name = _field(key)
    if isinstance(wanted, Not):
        return {"$or": [{name: {"$exists": False}}, {name: {"$ne": _scalar(wanted.value)}}]}
    return {name: {"$eq": _scalar(wanted)}}


def _fingerprint(record: Record | None) -> str | None:
    return None if record is None else str(record["metadata"]["fingerprint"])


def _ordered(number: float, *, newest_first: bool = False) -> str:
    """A float as sixteen hexadecimal digits that sort as the floats do."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))
    bits = bits ^ (2**64 - 1) if bits >> 63 else bits | 1 << 63
    return f"{bits ^ (2**64 - 1) if newest_first else bits:016x}"


def _due(place: str) -> float:
    bits = int(place[-16:], 16)
    bits = bits & ~(1 << 63) if bits >> 63 else bits ^ (2**64 - 1)
    due: float = struct.unpack(">d", struct.pack(">Q", bits))[0]
    return due
