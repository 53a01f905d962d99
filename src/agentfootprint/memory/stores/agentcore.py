"""Memory entries as events of an Amazon Bedrock AgentCore memory."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from ...errors import IdentityInvalid, StoreCorrupt, UnsupportedValue
from ...identity import MemoryIdentity, check_part, namespace, namespace_prefix
from ...loops import Closing
from ...state.values import alive, check_limit, from_json, to_json
from ..base import MemoryEntry, Page, Profile
from .agentcore_events import Event, Events, Session
from .cursor import read_cursor, write_cursor

__all__ = ["AgentCoreStore", "Payloads", "session_of"]

MAX_ACTOR, MAX_SESSION = 255, 100
"""Characters of an actor's and of a session's id."""

MAX_EVENT = 100_000
"""Bytes of an entry as JSON: what AgentCore takes as one payload of an event."""

_ENTRY, _WRITTEN, _EXPIRES = "agentfootprint.entry", "agentfootprint.written", "agentfootprint.expires"

# An id has letters, digits, "-" and "_" and begins with a letter. In a namespace "=" comes before a digit or
# a letter in upper case, so what follows a "_" tells what it was.
_IN_IDS = str.maketrans({"=": "_", "~": "_n", "/": "__"})


Payloads: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry, the event that it is, and where it stands among those of one time."""

    entry: MemoryEntry
    event_id: str
    number: int
    written: int


_Entries: TypeAlias = dict[str, list[_Found]]
"""Entries by their ids, each with all of its events, the newest last."""


class AgentCoreStore(Closing):
    """A `MemoryStore` of profile `log` in an AgentCore memory (`pip install 'agentfootprint[agentcore]'`).

    An entry is an event, tenant and principal are its actor, the conversation is its session. Events cannot
    be changed: one that is written again is a new event, and the older ones are deleted after it; until they
    are, the newest is read. AgentCore deletes events after the memory's `eventExpiryDuration` (7 to 365
    days), whatever an entry's `expires` says. It extracts nothing from them: see `ExtractingAgentCoreStore`.
    Embeddings are not kept.

    `list` reads all events of its identity, 100 with each request. `forget` of a tenant with its descendants
    asks for all actors of the memory, and of a principal for its sessions.

    What AgentCore cannot hold is refused: `IdentityInvalid` for a tenant and principal of more than 250
    characters together and a conversation of more than 99, where a character other than letters, digits and
    `-` counts three for each byte of its UTF-8; `UnsupportedValue` for an entry over 100,000 bytes of JSON.

    Args:
        memory_id: of the memory, which you make. One that is not there reads as empty.
        client: a boto3 `bedrock-agentcore` client of one's own; it is left open.
        region, endpoint_url: as in boto3; credentials are found as boto3 finds them.
        max_connections: requests at once; each occupies a thread.
        clock: seconds since the epoch.

    Raises:
        MissingExtra: boto3 is not installed.
        StoreError: boto3 has no region; when used: there are no credentials, no such memory, or no right to
            use it.
        StoreUnavailable (when used): AgentCore cannot be reached or is throttled. A write whose answer was
            lost may have happened; it may be made again.
    """

    durable = True
    profile: Profile = "log"

    def __init__(
        self,
        memory_id: str,
        *,
        client: Any = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        max_connections: int = 10,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._events = Events(memory_id, client, region, endpoint_url, max_connections)
        self._clock = clock
        self._last = 0

    async def put(self, identity: MemoryIdentity, entry: MemoryEntry) -> MemoryEntry:
        return (await self.put_many(identity, [entry]))[0]

    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        self._events.check_open()
        session, now = session_of(identity), self._clock()
        texts = [_texts(entry) for entry in entries]
        payloads = [self._conversation(entry) for entry in entries]
        if not entries:
            return []
        where = {_ENTRY: _key(entries[0].id)} if len(entries) == 1 else None
        there = await self._read(session, where)
        stored: list[MemoryEntry] = []
        for entry, text, said in zip(entries, texts, payloads, strict=True):
            before = there.setdefault(entry.id, [])
            old = before[-1] if before and alive(before[-1].entry.expires, now) else None
            written = self._number()
            number = old.number if old else written
            created = entry.created
            if created is None:
                created = old.entry.created if old and old.entry.created is not None else now
            made = await self._write(session, entry, text, said, (created, number, written))
            entry = replace(entry, created=created, version=made["eventId"], embedding=None)
            await self._events.delete(session, [each.event_id for each in before])
            there[entry.id] = [_Found(entry, made["eventId"], number, written)]
            stored.append(entry)
        return stored

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        self._events.check_open()
        check_part("a memory entry's id", entry_id)
        found = (await self._read(session_of(identity), {_ENTRY: _key(entry_id)})).get(entry_id)
        entry = found[-1].entry if found else None
        return entry if entry is not None and alive(entry.expires, self._clock()) else None

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        self._events.check_open()
        check_limit(limit, 1)
        before = None if cursor is None else read_cursor(cursor)
        session, now = session_of(identity), self._clock()
        newest = [each[-1] for each in (await self._read(session)).values()]
        placed = [((each.entry.created or 0.0, each.number), each.entry) for each in newest]
        placed.sort(key=lambda each: each[0], reverse=True)
        left = [
            (place, entry)
            for place, entry in placed
            if alive(entry.expires, now) and (before is None or place < before)
        ]
        page = tuple(entry for _, entry in left[:limit])
        return Page(page) if len(left) <= limit else Page(page, write_cursor(*left[limit - 1][0]))

    async def delete(self, identity: MemoryIdentity, entry_id: str) -> bool:
        self._events.check_open()
        check_part("a memory entry's id", entry_id)
        session = session_of(identity)
        found = (await self._read(session, {_ENTRY: _key(entry_id)})).get(entry_id, [])
        await self._events.delete(session, [each.event_id for each in found])
        return bool(found) and alive(found[-1].entry.expires, self._clock())

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        self._events.check_open()
        session = session_of(identity)
        sessions = [session]
        if descendants and identity.conversation_id is None:
            actors = [session[0]]
            if identity.principal is None:
                actors = await self._events.actors(_in_actor(namespace_prefix(identity)))
            sessions = [each for actor in actors for each in await self._events.sessions(actor)]
            for actor in actors:
                await self._forget_actor(actor)
        return sum([await self._forget(each) for each in sessions])

    async def check(self) -> None:
        await self._events.check()

    async def aclose(self) -> None:
        await self._events.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {self._events.where}>"

    def _conversation(self, entry: MemoryEntry) -> Payloads:
        """The payloads that AgentCore shall extract from."""
        return []

    async def _write(
        self,
        session: Session,
        entry: MemoryEntry,
        text: dict[str, str],
        said: Payloads,
        place: tuple[float, int, int],
    ) -> Event:
        created, number, written = place
        kept = {"id": entry.id, **text, "created": created, "number": number, "expires": entry.expires}
        marks = {
            _ENTRY: _key(entry.id),
            _WRITTEN: str(written),
            **({} if entry.expires is None else {_EXPIRES: repr(float(entry.expires))}),
        }
        event: Event = {
            "eventTimestamp": datetime.now(UTC),
            "payload": [{"blob": json.dumps(kept)}, *said],
            "metadata": {key: {"stringValue": value} for key, value in marks.items()},
            "clientToken": secrets.token_hex(16),
        }
        return await self._events.create(session, event if said else {**event, "extractionMode": "SKIP"})

    async def _read(self, session: Session, where: dict[str, str] | None = None) -> _Entries:
        """The entries of a session, or those whose events have these marks."""
        found: _Entries = {}
        async for event in self._events.of(session, where=where):
            marks = _marks(event)
            if marks.items() >= (where or {}).items() and _ENTRY in marks:
                each = self._found(event, marks)
                found.setdefault(each.entry.id, []).append(each)
        for events in found.values():
            events.sort(key=lambda each: (each.written, each.event_id))
        return found

    async def _forget_actor(self, actor: str) -> None:
        """Deletes what belongs to no session of a forgotten actor."""

    async def _forget(self, session: Session) -> int:
        """Deletes all events of a session; how many entries they were."""
        now = self._clock()
        ids: list[str] = []
        newest: dict[str, tuple[int, bool]] = {}
        async for event in self._events.of(session, payloads=False):
            ids.append(event["eventId"])
            marks = _marks(event)
            if _ENTRY in marks:
                there = alive(float(marks[_EXPIRES]) if _EXPIRES in marks else None, now)
                before = newest.get(marks[_ENTRY], (0, False))
                newest[marks[_ENTRY]] = max(before, (int(marks[_WRITTEN]), there))
        await self._events.delete(session, ids)
        return sum(there for _, there in newest.values())

    def _found(self, event: Event, marks: dict[str, str]) -> _Found:
        where = f"the event {event['eventId']!r} of {self._events.where}"
        try:
            kept = from_json(next(each["blob"] for each in event["payload"] if "blob" in each), where)
            entry = MemoryEntry(
                kept["id"],
                from_json(kept["value"], where),
                from_json(kept["metadata"], where),
                kept["created"],
                kept["expires"],
                event["eventId"],
            )
            return _Found(entry, event["eventId"], int(kept["number"]), int(marks[_WRITTEN]))
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise StoreCorrupt(
                f"{where} is not what was written ({type(error).__name__}): delete it"
            ) from None

    def _number(self) -> int:
        """What tells entries of one time apart: larger with every write."""
        self._last = max(self._last + 1, time.time_ns())
        return self._last


def session_of(identity: MemoryIdentity) -> Session:
    tenant, principal, conversation, _ = namespace(identity).split("/")
    actor = _in_actor(f"{tenant}/{principal}/")
    session = f"c{conversation.translate(_IN_IDS)}"
    for what, made, most in (
        ("tenant and principal", actor, MAX_ACTOR),
        ("conversation_id", session, MAX_SESSION),
    ):
        if len(made) > most:
            raise IdentityInvalid(
                f"{what} make an id of {len(made)} characters, AgentCore allows {most}: pass shorter stable "
                "ids; cutting or hashing could make two identities one"
            )
    return actor, session


def _in_actor(spaces: str) -> str:
    return f"t{spaces.translate(_IN_IDS)}"


def _key(entry_id: str) -> str:
    return hashlib.sha256(entry_id.encode()).hexdigest()


def _texts(entry: MemoryEntry) -> dict[str, str]:
    made = {"value": to_json(entry.value), "metadata": to_json(dict(entry.metadata))}
    size = len(json.dumps({"id": entry.id, **made})) + 200
    if size > MAX_EVENT:
        raise UnsupportedValue(
            f"the entry {entry.id!r} takes {size} bytes, an event of AgentCore has at most {MAX_EVENT}: "
            "store less, or the text elsewhere and here where it is"
        )
    return made


def _marks(event: Event) -> dict[str, str]:
    return {key: value.get("stringValue", "") for key, value in event.get("metadata", {}).items()}
