"""Memory entries in Redis: one script, and so one round trip, for every decision."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...embedders.base import Embedding
from ...errors import InputInvalid, StoreConflict, StoreCorrupt
from ...identity import MemoryIdentity, check_part, namespace, namespace_prefix
from ...loops import Closing
from ...state.redis_server import GRACE, Argument, RedisServer
from ...state.values import alive, check_limit, from_json, to_json
from ..base import MemoryEntry, Page, Profile, stored
from .cursor import read_cursor, write_cursor
from .redis_scripts import DELETE, FORGET, LIST, NAME, PUT, STRIKE

if TYPE_CHECKING:
    import redis.asyncio

__all__ = ["RedisStore"]

TRIES = 20
"""Times that a name can be struck out by others before the contention is taken for a fault."""

CHUNK = 500
"""Identities that are forgotten in one round trip."""


class RedisStore(Closing):
    """A `MemoryStore` in Redis 6.2 or newer (`pip install 'agentfootprint[redis]'`), without a search.

    Every call is one round trip, but the first `put` of an identity, which first enters the identity into
    the names of its tenant: it takes three. `forget` with `descendants` finds them there and scans nothing.
    All keys of an identity share a hash slot. How long entries are there is in the entries; Redis's own
    expiry, a minute after the last of them, only collects. The names of identities are kept for up to a tenth
    longer than their entries; those of entries that do not expire until they are deleted or forgotten.

    A user with fewer rights needs the keys `~PREFIX:memory:*` and the commands `evalsha`, `eval`, `hello`,
    `hget`, `hmget`, `hset`, `hsetnx`, `hdel`, `hincrby`, `zadd`, `zrem`, `zcard`, `zcount`, `zrange`,
    `zrevrange`, `zrangebyscore`, `zrangebylex`, `exists`, `del`, `unlink`, `pexpire`, `pexpireat`, `persist`
    and `time`.

    Args:
        url: `redis://`, `rediss://` or `unix://`, also with user and password.
        client: a `redis.asyncio.Redis` of one's own instead, made with `decode_responses=False`; it is
            left open.
        prefix: what all keys begin with; a `RedisState` may have the same.
        clock: seconds since the epoch.

    Raises:
        MissingExtra: the redis package is not installed.
        StoreUnavailable (when used): Redis cannot be reached. What reads or puts is asked again, since
            its outcome can be told; a `delete` or `forget` whose answer was lost may have happened.
        StoreError (when used): Redis does not let the user do what was asked.
    """

    durable = True
    profile: Profile = "full"

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        *,
        client: redis.asyncio.Redis | None = None,
        prefix: str = "agentfootprint",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._server = RedisServer("RedisStore", url, client)
        self._prefix = prefix
        self._clock = clock

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        written = await self._write(identity, [entry], expected)
        return written[0] if written else None

    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        return list(await self._write(identity, entries, None)) if entries else []

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        check_part("a memory entry's id", entry_id)
        record = await self._server.ask("hget", self._keys(identity)[0], entry_id, again=True)
        entry = None if record is None else self._entry(entry_id, record)[0]
        return entry if entry is not None and alive(entry.expires, self._clock()) else None

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        check_limit(limit, 1)
        before = ("", "")
        if cursor is not None:
            created, number = read_cursor(cursor)
            before = (repr(created), f"{max(number, 0):016d}")
        arguments = [repr(self._clock()), str(limit), *before]
        more, found = await self._server.script(LIST, self._keys(identity), arguments, again=True)
        pairs = zip(found[::2], found[1::2], strict=True)
        placed = [self._entry(entry_id.decode(), record) for entry_id, record in pairs]
        entries = tuple(entry for entry, _ in placed)
        if not more:
            return Page(entries)
        return Page(entries, write_cursor(entries[-1].created or 0.0, placed[-1][1]))

    async def delete(self, identity: MemoryIdentity, entry_id: str) -> bool:
        check_part("a memory entry's id", entry_id)
        arguments = [repr(self._clock()), entry_id]
        there, ended = await self._server.script(DELETE, self._keys(identity), arguments)
        if ended:
            name = f"{namespace(identity)} {ended.decode()}"
            await self._server.script(STRIKE, self._names(identity), [name], again=True)
        return bool(there)

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        now = repr(self._clock())
        count = 0
        if descendants:
            low = namespace_prefix(identity)
            high = f"({low[:-1]}0"  # The successor of the "/" that it ends with.
        else:
            # Its entries go first: its name, and what is left of older ones, only after them.
            count = await self._server.script(FORGET, self._keys(identity), [now])
            low = f"{namespace(identity)} "
            high = f"({low[:-1]}!"
        names, low = self._names(identity), f"[{low}"
        while True:
            found = await self._server.ask("zrangebylex", names[0], low, high, start=0, num=CHUNK, again=True)
            if not found:
                return count
            spaces = dict.fromkeys(name.decode().partition(" ")[0] for name in found)
            each = [(self._keys_of(space), [now]) for space in spaces]
            count += sum(await self._server.scripts(FORGET, each))
            await self._server.script(STRIKE, names, found, again=True)
            low = f"({found[-1].decode()}"

    async def check(self) -> None:
        await self._server.check()

    async def aclose(self) -> None:
        """Closes the connections of the running event loop; those of others are closed as their loops end."""
        await self._server.aclose()

    def __repr__(self) -> str:
        return f"<RedisStore at {self._server.where}>"

    async def _write(
        self, identity: MemoryIdentity, entries: Sequence[MemoryEntry], expected: str | None
    ) -> Sequence[MemoryEntry]:
        """The entries as stored; none when the expected version is not there."""
        now = self._clock()
        versions = [secrets.token_hex(8) for _ in entries]
        given = _arguments(entries, versions)
        condition = b"" if expected is None else f"={expected}".encode("utf-8", "surrogatepass")
        generation, until, keys = "-", _named_until(entries, now), self._keys(identity)
        fresh = versions[0]
        for _ in range(TRIES):
            head = (repr(now), condition, f"{generation} {until} {fresh}")
            outcome = await self._server.script(PUT, keys, (*head, *given), again=True)
            if outcome == 1:
                return [
                    _stored(entry, now if entry.created is None else entry.created, version)
                    for entry, version in zip(entries, versions, strict=True)
                ]
            word, *rest = outcome
            if word == b"lost":
                return []
            if word == b"done":
                return list(map(_stored, entries, rest, versions))
            generation = rest[0].decode()
            name = [repr(now), f"{namespace(identity)} {generation}", until]
            await self._server.script(NAME, self._names(identity), name, again=True)
            fresh = secrets.token_hex(8)  # One that was forgotten must not come back.
        raise StoreConflict(
            f"an identity in {self!r} was forgotten {TRIES} times in a row while it was written"
        )

    def _keys(self, identity: MemoryIdentity) -> Sequence[str]:
        return self._keys_of(namespace(identity))

    def _keys_of(self, space: str) -> Sequence[str]:
        start = f"{self._prefix}:memory:{{{space}}}"
        return [f"{start}:entries", f"{start}:order", f"{start}:deadlines", f"{start}:head"]

    def _names(self, identity: MemoryIdentity) -> Sequence[str]:
        start = f"{self._prefix}:memory:{{{namespace_prefix(identity.scoped('tenant'))}}}"
        return [f"{start}:names", f"{start}:untils"]

    def _entry(self, entry_id: str, record: bytes) -> tuple[MemoryEntry, int]:
        """An entry and its number."""
        where = f"the memory entry {entry_id!r} in Redis at {self._server.where}"
        try:
            line, _, rest = record.partition(b"\n")
            version, created, number, expires, *sizes = line.decode().split(" ")
            ends = [int(size) for size in sizes]
            value, metadata, fingerprint, data = (rest[a:b] for a, b in zip([0, *ends], ends, strict=False))
            entry = MemoryEntry(
                entry_id,
                from_json(value.decode(), where),
                from_json(metadata.decode(), where),
                float(created),
                None if expires == "-" else float(expires),
                version,
                Embedding(fingerprint.decode(), data) if fingerprint else None,
            )
            return entry, int(number)
        except (ValueError, InputInvalid):
            raise StoreCorrupt(
                f"{where} is not what was written: restore it from a backup or delete it"
            ) from None


def _arguments(entries: Sequence[MemoryEntry], versions: Sequence[str]) -> list[Argument]:
    found: list[Argument] = []
    for entry, version in zip(entries, versions, strict=True):
        line = f"{version} {_time(entry.created)} {_time(entry.expires)}"
        found += (entry.id, line, _body(entry))
    return found


def _stored(entry: MemoryEntry, created: float | bytes, version: str) -> MemoryEntry:
    return stored(
        entry.id, entry.value, entry.metadata, float(created), entry.expires, version, entry.embedding
    )


def _body(entry: MemoryEntry) -> bytes:
    """Where each of the parts ends, and the parts."""
    value = to_json(entry.value).encode()
    metadata = to_json(dict(entry.metadata)).encode() if entry.metadata else b"{}"
    kind, data = b"", b""
    if entry.embedding is not None:
        kind, data = entry.embedding.fingerprint.encode(), entry.embedding.data
    first = len(value)
    second = first + len(metadata)
    third = second + len(kind)
    return b"%d %d %d %d\n%b%b%b%b" % (first, second, third, third + len(data), value, metadata, kind, data)


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else repr(float(seconds))


def _named_until(entries: Sequence[MemoryEntry], now: float) -> str:
    """A tenth longer than the entries are there, so that not every later one has to be named again."""
    latest = 0.0
    for entry in entries:
        if entry.expires is None:
            return "-"
        latest = max(latest, entry.expires)
    return repr(latest + max(latest - now, 0.0) / 10 + GRACE)
