"""The items of the memory store in DynamoDB.

A tenant is a partition. In it lie, under the rest of an identity's namespace: for each entry an item by its
id, which holds everything and names its place; for each place an item that sorts by `created` and number and
names the id; and the pieces of what is too long for one item. An entry's item is the truth: places and pieces
are written before it and deleted after it, so one that no entry names counts for nothing. A place and a piece
never change, and their names say by which write they were made, and when.
"""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...embedders.base import Embedding
from ...errors import IdentityInvalid, InputInvalid, StoreCorrupt
from ...identity import MemoryIdentity, check_part, namespace
from ...state.dynamodb_table import PIECES, Item, Write, pieces_of, times
from ...state.values import alive, from_json, to_json
from ..base import MemoryEntry

__all__ = [
    *("ID", "Draft", "age", "belongings", "content", "entry_key", "entry_of", "expires_of", "is_entry"),
    *("number_of", "partition", "pieces", "place_key", "place_name", "place_of", "placed", "version_of"),
]

MAX_KEY_BYTES = 1024
"""Of a sort key, which is DynamoDB's limit."""

PLACE_BYTES = 100
"""Room for the name of a place, which is longer than a short id."""

VERSION, PLACE, ID, CREATED, EXPIRES = "versionToken", "placeName", "entryId", "createdText", "expiresText"


def partition(space: str) -> tuple[str, str]:
    """The partition of a namespace's tenant, and what its sort keys begin with there."""
    tenant, _, rest = space.partition("/")
    return f"{tenant}/memory", rest


def _key(identity: MemoryIdentity, kind: str, name: str) -> Item:
    pk, rest = partition(namespace(identity))
    start = f"{rest}#{kind}#"
    size = len(start) + max(len(name.encode()), PLACE_BYTES)
    if size > MAX_KEY_BYTES:
        raise IdentityInvalid(
            f"principal, conversation and id take {size} bytes of a key that may have {MAX_KEY_BYTES} in "
            "DynamoDB, three for each byte that is no letter or digit: pass shorter ones"
        )
    return {"pk": {"S": pk}, "sk": {"S": start + name}}


def entry_key(identity: MemoryIdentity, entry_id: str) -> Item:
    check_part("a memory entry's id", entry_id)
    return _key(identity, "entry", entry_id)


def place_key(identity: MemoryIdentity, name: str) -> Item:
    return _key(identity, "place", name)


def place_name(created: float, number: int, version: str) -> str:
    """Sorts by `created` and then by number."""
    bits: int = struct.unpack(">Q", struct.pack(">d", created + 0.0))[0]
    order = bits ^ (2**64 - 1 if bits >> 63 else 2**63)
    return f"{order:016x}.{number:019d}.{version}"


def is_entry(item: Item) -> bool:
    return PLACE in item


def place_of(item: Item) -> Item:
    """The key of an entry's place."""
    rest = item["sk"]["S"].partition("#")[0]
    return {"pk": item["pk"], "sk": {"S": f"{rest}#place#{item[PLACE]['S']}"}}


def belongings(item: Item) -> Iterator[Item]:
    """The keys of what is there for an entry beside its item."""
    yield place_of(item)
    yield from pieces(item)


def pieces(item: Item) -> list[Item]:
    return pieces_of(item) if PIECES in item else []


def number_of(item: Item) -> int:
    return int(item[PLACE]["S"].split(".")[1])


def expires_of(item: Item) -> float | None:
    return float(item[EXPIRES]["S"]) if EXPIRES in item else None


def version_of(item: Item | None, now: float) -> str:
    """Of the entry that is there, if one is."""
    if item is None or not alive(expires_of(item), now):
        return ""
    version: str = item[VERSION]["S"]
    return version


def age(item: Item) -> float:
    """Seconds since a place or a piece was made."""
    _, kind, name, *_ = item["sk"]["S"].split("#")
    version = name.rpartition(".")[2] if kind == "place" else name
    return (time.time_ns() - int(version.partition("-")[0], 16)) / 1e9


def content(entry: MemoryEntry) -> str:
    fingerprint, data = None, None
    if entry.embedding is not None:
        fingerprint = entry.embedding.fingerprint
        data = base64.b64encode(entry.embedding.data).decode()
    parts = (entry.value, dict(entry.metadata), fingerprint, data)
    return f"[{','.join(map(to_json, parts))}]"


def entry_of(item: Item, text: str, where: str) -> MemoryEntry:
    entry_id = item["sk"]["S"].split("#", 2)[2]
    where = f"the memory entry {entry_id!r} in {where}"
    try:
        value, metadata, fingerprint, data = from_json(text, where)
        return MemoryEntry(
            entry_id,
            value,
            metadata,
            float(item[CREATED]["S"]),
            expires_of(item),
            item[VERSION]["S"],
            None if fingerprint is None else Embedding(fingerprint, base64.b64decode(data)),
        )
    except (KeyError, TypeError, ValueError, InputInvalid):
        raise StoreCorrupt(
            f"{where} is not what was written: restore it from a backup or delete it"
        ) from None


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry on its way into the table, by the key of its item."""

    entry: MemoryEntry
    version: str
    number: int
    item: Item

    @classmethod
    def of(cls, identity: MemoryIdentity, entry: MemoryEntry, version: str, number: int) -> Draft:
        item = {**entry_key(identity, entry.id), VERSION: {"S": version}, **times(entry.expires)}
        if entry.expires is not None:
            item[EXPIRES] = {"S": repr(float(entry.expires))}
        return cls(entry, version, number, item)

    @property
    def sk(self) -> str:
        sk: str = self.item["sk"]["S"]
        return sk

    def write(self, old: Item | None, created: float, now: float) -> Write:
        """What puts it in the place of what is there. An entry that stays where it is keeps its place."""
        text = {"S": repr(created)}
        there = old is not None and alive(expires_of(old), now)
        number = number_of(old) if old is not None and there else self.number
        place = {"S": place_name(created, number, self.version)}
        if there and old is not None and (old[CREATED], old.get(EXPIRES)) == (text, self.item.get(EXPIRES)):
            place = old[PLACE]
        # A version that is the new one already was written by an attempt whose answer was lost.
        condition, values = f"{VERSION} = :new OR attribute_not_exists(pk)", {":new": {"S": self.version}}
        if old is not None:
            condition = f"{VERSION} = :new OR {VERSION} = :old"
            values[":old"] = old[VERSION]
        return {**self.item, CREATED: text, PLACE: place}, condition, values

    def place(self, item: Item) -> Item | None:
        """The place that the item needs and that is not there yet."""
        if not item[PLACE]["S"].endswith(f".{self.version}"):
            return None
        return {**place_of(item), ID: {"S": self.entry.id}, **times(self.entry.expires)}


def placed(
    entries: Sequence[MemoryEntry], drafts: Mapping[str, Draft], olds: Mapping[str, Item], now: float
) -> tuple[list[MemoryEntry], list[Write]]:
    """The entries as they will be stored, and the writes that store the last one of each id."""
    stored: list[MemoryEntry] = []
    times_of: dict[str, float] = {}
    for entry in entries:
        draft = drafts[entry.id]
        old, created = olds.get(draft.sk), entry.created
        if created is None:
            created = now if not version_of(old, now) or old is None else float(old[CREATED]["S"])
            created = times_of.get(entry.id, created)
        times_of[entry.id] = float(created)
        stored.append(replace(entry, created=float(created), version=draft.version))
    return stored, [
        draft.write(olds.get(draft.sk), times_of[entry_id], now) for entry_id, draft in drafts.items()
    ]
