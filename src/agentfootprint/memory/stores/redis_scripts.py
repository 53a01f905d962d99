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

__all__ = ["DELETE", "FORGET", "LIST", "NAME", "PUT", "STRIKE"]

# KEYS: entries, order, deadlines, head. ARGV[1]: now. ARGV[2]: ms that keys outlive their deadlines.
_COMMON = """
local entries, order, deadlines, head = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now = tonumber(ARGV[1])
local function alive(expires) return expires == '-' or tonumber(expires) > now end
local function parse(record)
  local version, created, number, expires = record:match('^(%S+) (%S+) (%S+) (%S+) ')
  return {version = version, created = created, number = number, expires = expires}
end
local function find(id)
  local record = redis.call('HGET', entries, id)
  return record and parse(record)
end
local function remove(id, old)
  redis.call('HDEL', entries, id)
  redis.call('ZREM', order, old.number .. id)
  redis.call('ZREM', deadlines, id)
end
-- Redis lets the keys go once the last entry has expired, if every entry expires.
local function keep()
  local size, mortal = redis.call('ZCARD', order), redis.call('ZCARD', deadlines)
  if size == 0 then redis.call('DEL', entries, deadlines, head) return end
  if mortal < size and redis.call('PTTL', head) == -1 then return end
  local at = false
  if mortal == size then
    local time = redis.call('TIME')
    local left = (tonumber(redis.call('ZRANGE', deadlines, -1, -1, 'WITHSCORES')[2]) - now) * 1000
    at = time[1] * 1000 + math.floor(time[2] / 1000) + math.ceil(left) + tonumber(ARGV[2])
  end
  for _, key in ipairs(KEYS) do
    if at and at < 9e15 then
      redis.call('PEXPIREAT', key, string.format('%.0f', at))
    else
      redis.call('PERSIST', key)
    end
  end
end
"""

# ARGV[3]: '=' and the expected version, or ''. ARGV[4]: the generation that was named, or ''. ARGV[5]: until
# when, or '-'. ARGV[6]: a generation if there is none. Then of each entry: id, version, created or '',
# expires or '-', the rest of its record.
PUT = (
    _COMMON
    + """
-- If the last one is there under its new version, an attempt whose answer was lost has written them all.
local last = find(ARGV[#ARGV - 4])
local done = last and last.version == ARGV[#ARGV - 3]
if not done and ARGV[3] ~= '' then
  local old = find(ARGV[7])
  if ((old and alive(old.expires)) and old.version or '') ~= ARGV[3]:sub(2) then return {'lost'} end
end
if not done then
  local need = 0
  for at = 7, #ARGV, 5 do
    need = math.max(need, ARGV[at + 3] == '-' and math.huge or tonumber(ARGV[at + 3]))
  end
  local found = redis.call('HMGET', head, 'generation', 'until')
  local generation, named = found[1], found[2]
  if not named or (named ~= '-' and tonumber(named) < need) then
    if not generation then
      generation = ARGV[6]
      redis.call('HSET', head, 'generation', generation)
      redis.call('PEXPIRE', head, ARGV[2])
    end
    if ARGV[4] ~= generation then return {'name', generation} end
    redis.call('HSET', head, 'until', ARGV[5])
  end
end
local answer, mortal = {'done'}, redis.call('EXISTS', deadlines) == 1
for at = 7, #ARGV, 5 do
  local id, version, created, expires = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local old = #ARGV == 11 and last or #ARGV > 11 and find(id)
  if not done then
    if old and not alive(old.expires) then
      remove(id, old)
      old = nil
    end
    if created == '' then created = old and old.created or ARGV[1] end
    local number = old and old.number
    if not number then number = string.format('%016.0f', redis.call('HINCRBY', head, 'number', 1)) end
    local line = version .. ' ' .. created .. ' ' .. number .. ' ' .. expires .. ' '
    redis.call('HSET', entries, id, line .. ARGV[at + 4])
    if not old or created ~= old.created then redis.call('ZADD', order, created, number .. id) end
    if expires ~= '-' then
      redis.call('ZADD', deadlines, expires, id)
      mortal = true
    elseif mortal then
      redis.call('ZREM', deadlines, id)
    end
  elseif old then
    created = old.created
  elseif created == '' then
    created = ARGV[1]
  end
  answer[#answer + 1] = created
end
-- Each write takes a few expired entries along, so that none pile up and no write waits for many.
if mortal then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', deadlines, '-inf', ARGV[1], 'LIMIT', 0, 20)) do
    local old = find(id)
    if old then remove(id, old) end
  end
end
keep()
return answer
"""
)

# ARGV[3]: how many. ARGV[4]: `created` of the place before the page, or ''. ARGV[5]: its sixteen digits.
LIST = (
    _COMMON
    + """
local limit, rank = tonumber(ARGV[3]), 0
if ARGV[4] ~= '' then
  rank = redis.call('ZCOUNT', order, '(' .. ARGV[4], '+inf')
  local high = rank + redis.call('ZCOUNT', order, ARGV[4], ARGV[4])
  while rank < high do
    local middle = math.floor((rank + high) / 2)
    if redis.call('ZREVRANGE', order, middle, middle)[1]:sub(1, 16) < ARGV[5] then
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
    if records[at] and alive(parse(records[at]).expires) then
      if #found == 2 * limit then return {1, found} end
      found[#found + 1] = id
      found[#found + 1] = records[at]
    end
  end
end
"""
)

# ARGV[3]: the id. Whether it was there, and the generation that has ended if nothing is left.
DELETE = (
    _COMMON
    + """
local old = find(ARGV[3])
if not old then return {0, ''} end
local generation = redis.call('HGET', head, 'generation')
remove(ARGV[3], old)
keep()
local ended = redis.call('EXISTS', head) == 0 and generation
return {alive(old.expires) and 1 or 0, ended or ''}
"""
)

# How many entries there were.
FORGET = """
local count = redis.call('ZCARD', KEYS[2]) - redis.call('ZCOUNT', KEYS[3], '-inf', ARGV[1])
redis.call('UNLINK', unpack(KEYS))
return count
"""

# KEYS: names, untils. ARGV: now, ms that keys outlive their deadlines, the name, until when or '-'.
NAME = """
redis.call('ZADD', KEYS[1], 0, ARGV[3])
redis.call('ZADD', KEYS[2], 'GT', ARGV[4] == '-' and '+inf' or ARGV[4], ARGV[3])
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, 20)) do
  redis.call('ZREM', KEYS[1], old)
  redis.call('ZREM', KEYS[2], old)
end
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
local left = last and (tonumber(last) - tonumber(ARGV[1])) * 1000 + tonumber(ARGV[2])
for _, key in ipairs(KEYS) do
  if left and left < 9e15 then
    redis.call('PEXPIRE', key, string.format('%.0f', math.max(left, 1)))
  else
    redis.call('PERSIST', key)
  end
end
"""

# KEYS: names, untils. ARGV: names.
STRIKE = """
for _, key in ipairs(KEYS) do redis.call('ZREM', key, unpack(ARGV)) end
"""
