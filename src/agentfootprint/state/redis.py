"""Shared state in Redis: one script, and so one round trip, for every decision."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..errors import UnsupportedValue
from ..identity import MemoryIdentity, namespace, namespace_prefix
from ..loops import Closing
from .base import JSON, LogRecord, Record, StateKey
from .redis_server import GRACE, RedisServer
from .values import check_limit, deadline, from_json, to_json, total

if TYPE_CHECKING:
    import redis.asyncio

__all__ = ["RedisState"]

# KEYS: the record. ARGV: now, expected version or "", new version, value, deadline or "", ms to keep or 0.
# A version that is the new one already was written by an attempt whose answer was lost.
_COMPARE_AND_SET = """
local found = redis.call('HMGET', KEYS[1], 'version', 'until')
local version = found[1] or ''
if version == ARGV[3] then return 1 end
if found[2] and found[2] ~= '' and tonumber(found[2]) <= tonumber(ARGV[1]) then version = '' end
if version ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[3], 'value', ARGV[4], 'until', ARGV[5])
if ARGV[6] == '0' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
return 1
"""

# KEYS: the counter. ARGV: now, by, limit or "", deadline or "", ms to keep or 0.
# Lua's numbers are doubles: totals are compared as text.
_INCREMENT = """
local function above(a, b)
  local na, nb = a:sub(1, 1) == '-', b:sub(1, 1) == '-'
  if na ~= nb then return nb end
  if na then a, b = b:sub(2), a:sub(2) end
  if #a ~= #b then return #a > #b end
  return a > b
end
local fresh = redis.call('EXISTS', KEYS[1]) == 0
if not fresh then
  local untl = redis.call('HGET', KEYS[1], 'until')
  fresh = untl ~= '' and tonumber(untl) <= tonumber(ARGV[1])
end
local before = fresh and '0' or redis.call('HGET', KEYS[1], 'total')
if fresh then redis.call('DEL', KEYS[1]) end
local done = redis.pcall('HINCRBY', KEYS[1], 'total', ARGV[2])
if type(done) == 'table' and done.err then
  if done.err:find('overflow', 1, true) then return {'overflow', before} end
  return done
end
local after = redis.call('HGET', KEYS[1], 'total')
if ARGV[3] ~= '' and above(after, ARGV[3]) then
  if fresh then redis.call('DEL', KEYS[1]) else redis.call('HSET', KEYS[1], 'total', before) end
  return {'limit', before}
end
if fresh then
  redis.call('HSET', KEYS[1], 'until', ARGV[4])
  if ARGV[5] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
end
return {'ok', after}
"""

# KEYS: the log, its last sequence. ARGV: now, value, deadline or "", ms to keep or 0.
# Sequences follow the server's microseconds, so that a log that was collected goes on counting.
_APPEND = """
local time = redis.call('TIME')
local sequence = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if sequence <= last then sequence = last + 1 end
local text = string.format('%.0f', sequence)
for _, old in ipairs(redis.call('ZRANGE', KEYS[1], 0, 9)) do
  local untl = old:match('^%d+ (%S+) ')
  if untl ~= '-' and tonumber(untl) <= tonumber(ARGV[1]) then redis.call('ZREM', KEYS[1], old) end
end
local left = redis.call('PTTL', KEYS[1])
redis.call('ZADD', KEYS[1], text, text .. ' ' .. (ARGV[3] == '' and '-' or ARGV[3]) .. ' ' .. ARGV[2])
redis.call('SET', KEYS[2], text)
if ARGV[4] == '0' or left == -1 then
  redis.call('PERSIST', KEYS[1])
else
  local keep = math.max(left, tonumber(ARGV[4]))
  redis.call('PEXPIRE', KEYS[1], keep)
  redis.call('PEXPIRE', KEYS[2], keep)
end
return text
"""


# KEYS: a part of a record. ARGV: now. Deletes it, and says whether anything in it had not expired.
_FORGET = """
local function alive(untl)
  return not untl or untl == "" or untl == "-" or tonumber(untl) > tonumber(ARGV[1])
end
local kind, live = redis.call('TYPE', KEYS[1]).ok, false
if kind == 'hash' then
  live = alive(redis.call('HGET', KEYS[1], 'until'))
elseif kind == 'zset' then
  for _, entry in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    live = live or alive(entry:match('^%d+ (%S+) '))
  end
end
redis.call('DEL', KEYS[1])
return live
"""


class RedisState(Closing):
    """A `StateStore` in Redis 6.2 or newer (`pip install 'agentfootprint[redis]'`).

    The keys of one record share a hash slot. Deadlines are in the values; Redis's own expiry, a minute
    later, only collects. A connection belongs to the event loop it was made in.

    Args:
        url: `redis://`, `rediss://` or `unix://`, also with user and password.
        client: a `redis.asyncio.Redis` of one's own instead, made with `decode_responses=False`; it is
            left open.
        prefix: what all keys begin with.
        clock: seconds since the epoch.

    Raises:
        MissingExtra: the redis package is not installed.
        StoreUnavailable (when used): Redis cannot be reached. An increment or append whose answer was lost
            may have happened; all else is asked again, since its outcome can be told.
    """

    durable = True

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        *,
        client: redis.asyncio.Redis | None = None,
        prefix: str = "agentfootprint",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._server = RedisServer("RedisState", url, client)
        self._prefix = prefix
        self._clock = clock

    async def get(self, key: StateKey) -> Record | None:
        found = await self._server.ask(
            "hmget", self._key(key, "record"), ["version", "value", "until"], again=True
        )
        version, value, until = found
        if version is None or (until and float(until) <= self._clock()):
            return None
        return Record(from_json(_text(value), f"the record {key.encoded!r}"), _text(version))

    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: JSON, *, ttl: float | None = None
    ) -> Record | None:
        text, now = to_json(value), self._clock()
        until = deadline(now, ttl)
        version = secrets.token_hex(8)
        arguments = [repr(now), expected or "", version, text, _number(until), _keep(ttl)]
        done = await self._server.script(_COMPARE_AND_SET, [self._key(key, "record")], arguments, again=True)
        return Record(from_json(text, key.encoded), version) if done else None

    async def increment(
        self, key: StateKey, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        total(0, by, None)
        now = self._clock()
        until = deadline(now, ttl)
        arguments = [repr(now), str(int(by)), "" if limit is None else str(limit), _number(until), _keep(ttl)]
        outcome, value = await self._server.script(_INCREMENT, [self._key(key, "counter")], arguments)
        if outcome == b"limit":
            return None
        if outcome == b"overflow":
            if total(int(value), by, limit) is None:
                return None
            raise UnsupportedValue("a counter's total must fit into 64 bits")
        return int(value)

    async def append(self, key: StateKey, value: JSON, *, ttl: float | None = None) -> int:
        text, now = to_json(value), self._clock()
        until = deadline(now, ttl)
        keys = [self._key(key, "log"), self._key(key, "last")]
        return int(await self._server.script(_APPEND, keys, [repr(now), text, _number(until), _keep(ttl)]))

    async def read(self, key: StateKey, *, after: int = 0, limit: int | None = None) -> Sequence[LogRecord]:
        check_limit(limit, 0)
        found: list[LogRecord] = []
        now = self._clock()
        while limit is None or len(found) < limit:
            room = -1 if limit is None else limit - len(found)
            rows = await self._server.ask(
                "zrangebyscore", self._key(key, "log"), f"({after}", "+inf", start=0, num=room, again=True
            )
            for row in rows:
                sequence, until, text = _text(row).split(" ", 2)
                after = int(sequence)
                if until == "-" or float(until) > now:
                    where = f"entry {sequence} of the log {key.encoded!r}"
                    found.append(LogRecord(after, from_json(text, where)))
            if limit is None or len(rows) < room:
                break
        return found

    async def delete(self, key: StateKey) -> None:
        await self._server.ask(
            "delete", *(self._key(key, part) for part in ("record", "counter", "log", "last")), again=True
        )

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        prefix = namespace(identity) if not descendants else namespace_prefix(identity)
        start = f"{self._prefix}:{{{prefix}{'' if descendants else '|'}"
        names: set[bytes] = set()
        cursor = 0
        while True:
            cursor, keys = await self._server.ask(
                "scan", cursor, match=f"{_glob(start)}*", count=1000, again=True
            )
            # One record's parts share a hash slot, different records do not.
            for key in keys:
                if await self._server.script(_FORGET, [_text(key)], [repr(self._clock())]):
                    names.add(key.rpartition(b":")[0])
            if not int(cursor):
                return len(names)

    async def check(self) -> None:
        await self._server.check()

    async def aclose(self) -> None:
        """Closes the connections of the running event loop; those of others are closed as their loops end."""
        await self._server.aclose()

    def __repr__(self) -> str:
        return f"<RedisState at {self._server.where}>"

    def _key(self, key: StateKey, part: str) -> str:
        return f"{self._prefix}:{{{key.encoded}}}:{part}"


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def _number(until: float | None) -> str:
    return "" if until is None else repr(until)


def _keep(ttl: float | None) -> str:
    """Milliseconds that Redis keeps a key."""
    return "0" if ttl is None else str(int((max(ttl, 0.0) + GRACE) * 1000))


def _glob(text: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\^" else char for char in text)
