"""The decisions of the memory store in Redis, each one script.

An identity has four keys in one hash slot: `entries` (id to record), `order` (a sorted set of places by
`created`), `deadlines` (a sorted set of the ids that expire) and `head`. A record is a line `version created
number expires sizes...` and bytes that only the client reads; a place is the number in sixteen digits and
the id, so that entries of one time follow the order in which they were first written.

A tenant has two keys in a slot of their own: `names`, in which its identities can be found by their prefix,
and `untils`, which says how long each of them may have entries. Slots cannot be written together, so an
identity is named first: its `head` has a random generation, its name is entered with that generation, and
only then a put of that generation is accepted. `forget` ends the generation: whatever was named before is
then a name of nothing, and can be struck out without hiding an entry that is written at that moment.
"""

from __future__ import annotations

from ...state.redis_server import GRACE

__all__ = ["DELETE", "FORGET", "LIST", "NAME", "PUT", "STRIKE"]

_GRACE = f"""
local grace = {GRACE * 1000:.0f}
"""

# KEYS: entries, order, deadlines, head. ARGV[1]: now. A function costs each call of a script nearly as much
# as a small command does, so there are few.
_COMMON = (
    _GRACE
    + """
local entries, order, deadlines, head = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now = tonumber(ARGV[1])
local function alive(expires) return expires == '-' or tonumber(expires) > now end
-- The version, created, number and deadline of a record, if there is one.
local function parse(record)
  if record then return record:match('^(%S+) (%S+) (%S+) (%S+) ') end
end
"""
)
_REMOVE = """
local function remove(id, number)
  redis.call('HDEL', entries, id)
  redis.call('ZREM', order, number .. id)
  redis.call('ZREM', deadlines, id)
end
"""
# Redis lets the keys go once the last entry has expired, if every entry expires. If not, `kept` is set.
_KEEP = """
local size, mortals = redis.call('ZCARD', order), redis.call('ZCARD', deadlines)
if size == 0 then
  redis.call('DEL', entries, deadlines, head)
elseif mortals == size then
  local time = redis.call('TIME')
  local left = (tonumber(redis.call('ZRANGE', deadlines, -1, -1, 'WITHSCORES')[2]) - now) * 1000
  local at = time[1] * 1000 + math.floor(time[2] / 1000) + math.ceil(left) + grace
  redis.call('HDEL', head, 'kept')
  for _, key in ipairs(KEYS) do
    if at < 9e15 then
      redis.call('PEXPIREAT', key, string.format('%.0f', at))
    else
      redis.call('PERSIST', key)
    end
  end
elseif redis.call('HSETNX', head, 'kept', 1) == 1 then
  for _, key in ipairs(KEYS) do redis.call('PERSIST', key) end
end
"""

# ARGV[2]: '=' and the expected version, or ''. ARGV[3], three words: the generation that was named, or '-';
# until when, or '-'; a generation if there is none. Then of each entry: its id; its version, created and
# expires, '-' for what is not given; the rest of its record. Answers 1 if each `created` is the one given, or
# now.
PUT = (
    _COMMON
    + _REMOVE
    + """
local function given(at) return ARGV[at + 1]:match('^(%S+) (%S+) (%S+)$') end
-- If the last one is there under its new version, an attempt whose answer was lost has written them all.
local last = #ARGV - 2
local latest = redis.call('HGET', entries, ARGV[last])
local done = latest and parse(latest) == given(last)
if not done and ARGV[2] ~= '' then
  local version, _, _, expires = parse(redis.call('HGET', entries, ARGV[4]))
  if (version and alive(expires) and version or '') ~= ARGV[2]:sub(2) then return {'lost'} end
end
local known = redis.call('HMGET', head, 'generation', 'until', 'kept', 'mortal')
local generation, named, kept, mortal = known[1], known[2], known[3], known[4]
if not done and named ~= '-' then
  local need = 0
  for at = 4, #ARGV, 3 do
    local _, _, expires = given(at)
    need = math.max(need, expires == '-' and math.huge or tonumber(expires))
  end
  if not named or tonumber(named) < need then
    local last_named, until_when, fresh = ARGV[3]:match('^(%S+) (%S+) (%S+)$')
    if not generation then
      generation = fresh
      redis.call('HSET', head, 'generation', generation)
      redis.call('PEXPIRE', head, grace)
    end
    if last_named ~= generation then return {'name', generation} end
    redis.call('HSET', head, 'until', until_when)
  end
end
local answer, assumed = {'done'}, true
for at = 4, #ARGV, 3 do
  local id, version, created, expires = ARGV[at], given(at)
  local assumption = created == '-' and ARGV[1] or created
  if last > 4 then latest = redis.call('HGET', entries, id) end
  local _, old_created, number, old_expires = parse(latest)
  if done then
    created = old_created or assumption
  else
    if number and not alive(old_expires) then
      remove(id, number)
      old_created, number = nil, nil
    end
    if created == '-' then created = old_created or ARGV[1] end
    if not number then number = string.format('%016.0f', redis.call('HINCRBY', head, 'number', 1)) end
    local line = version .. ' ' .. created .. ' ' .. number .. ' ' .. expires .. ' '
    redis.call('HSET', entries, id, line .. ARGV[at + 2])
    if created ~= old_created then redis.call('ZADD', order, created, number .. id) end
    if expires ~= '-' then
      redis.call('ZADD', deadlines, expires, id)
      if not mortal then redis.call('HSET', head, 'mortal', 1) end
      mortal, kept = '1', false
    elseif mortal then
      redis.call('ZREM', deadlines, id)
    end
  end
  assumed = assumed and created == assumption
  answer[#answer + 1] = created
end
-- Each write takes a few expired entries along, so that none pile up and no write waits for many.
if mortal then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', deadlines, '-inf', ARGV[1], 'LIMIT', 0, 20)) do
    local _, _, number = parse(redis.call('HGET', entries, id))
    if number then remove(id, number) end
  end
end
if not kept then
"""
    + _KEEP
    + """
end
return assumed and 1 or answer
"""
)

# ARGV[2]: how many. ARGV[3]: `created` of the place before the page, or ''. ARGV[4]: its sixteen digits.
LIST = (
    _COMMON
    + """
local limit, rank = tonumber(ARGV[2]), 0
if ARGV[3] ~= '' then
  rank = redis.call('ZCOUNT', order, '(' .. ARGV[3], '+inf')
  local high = rank + redis.call('ZCOUNT', order, ARGV[3], ARGV[3])
  while rank < high do
    local middle = math.floor((rank + high) / 2)
    if redis.call('ZREVRANGE', order, middle, middle)[1]:sub(1, 16) < ARGV[4] then
      high = middle
    else
      rank = middle + 1
    end
  end
end
local found, chunk = {}, math.min(limit + 1, 500)
while true do
  local ids = redis.call('ZREVRANGE', order, rank, rank + chunk - 1)
  if #ids == 0 then return {0, found} end
  rank = rank + #ids
  for at, place in ipairs(ids) do ids[at] = place:sub(17) end
  local records = redis.call('HMGET', entries, unpack(ids))
  for at, id in ipairs(ids) do
    local _, _, _, expires = parse(records[at])
    if expires and alive(expires) then
      if #found == 2 * limit then return {1, found} end
      found[#found + 1] = id
      found[#found + 1] = records[at]
    end
  end
end
"""
)

# ARGV[2]: the id. Whether it was there, and the generation that has ended if nothing is left.
DELETE = (
    _COMMON
    + _REMOVE
    + """
local _, _, number, expires = parse(redis.call('HGET', entries, ARGV[2]))
if not number then return {0, ''} end
local generation = redis.call('HGET', head, 'generation')
remove(ARGV[2], number)
"""
    + _KEEP
    + """
local ended = redis.call('EXISTS', head) == 0 and generation
return {alive(expires) and 1 or 0, ended or ''}
"""
)

# How many entries there were.
FORGET = """
local count = redis.call('ZCARD', KEYS[2]) - redis.call('ZCOUNT', KEYS[3], '-inf', ARGV[1])
redis.call('UNLINK', unpack(KEYS))
return count
"""

# KEYS: names, untils. ARGV: now, the name, until when or '-'.
NAME = (
    _GRACE
    + """
redis.call('ZADD', KEYS[1], 0, ARGV[2])
redis.call('ZADD', KEYS[2], 'GT', ARGV[3] == '-' and '+inf' or ARGV[3], ARGV[2])
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, 20)) do
  redis.call('ZREM', KEYS[1], old)
  redis.call('ZREM', KEYS[2], old)
end
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
local left = last and (tonumber(last) - tonumber(ARGV[1])) * 1000 + grace
for _, key in ipairs(KEYS) do
  if left and left < 9e15 then
    redis.call('PEXPIRE', key, string.format('%.0f', math.max(left, 1)))
  else
    redis.call('PERSIST', key)
  end
end
"""
)

# KEYS: names, untils. ARGV: names.
STRIKE = """
for _, key in ipairs(KEYS) do redis.call('ZREM', key, unpack(ARGV)) end
"""
