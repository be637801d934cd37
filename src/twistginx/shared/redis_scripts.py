"""
What Redis does, in Lua: each a decision in one round trip.  Pure.

Redis's clock counts, in microseconds since 1970, which a double holds exactly.
"""

from __future__ import annotations

from typing import Final

_NOW: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
"""

#: KEYS: the bucket.  ARGV: its capacity, the cost and the delay, in microseconds.  Returns 1 and the time to wait, less
#: than 0 where there is more left; or 0, the time until it would be admitted, and the time that is left.
TAKE: Final = (
    _NOW
    + """
local capacity, cost, delay = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
if tat > now + capacity + delay + 1000000 then tat = now + capacity + delay end
local after = tat + cost
local wait = after - capacity - now
if wait > delay then
    return {0, math.ceil(wait - delay), now + capacity - tat}
end
if after > now then
    redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
else
    redis.call('DEL', KEYS[1])
end
return {1, wait, 0}
"""
)

#: KEYS: the counter.  ARGV: the worker, the limit, the lease in milliseconds.  Returns 1 when it is held.
ACQUIRE: Final = (
    _NOW
    + """
local lease, held, own = tonumber(ARGV[3]), 0, 0
local cells = redis.call('HGETALL', KEYS[1])
for index = 1, #cells, 2 do
    local count, deadline = string.match(cells[index + 1], '(%d+) (%d+)')
    if tonumber(deadline) <= now then
        redis.call('HDEL', KEYS[1], cells[index])
    else
        held = held + tonumber(count)
        if cells[index] == ARGV[1] then own = tonumber(count) end
    end
end
if held >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %.0f', own + 1, now + lease * 1000))
redis.call('PEXPIRE', KEYS[1], lease)
return 1
"""
)

#: KEYS: the counter.  ARGV: the worker.
RELEASE: Final = """
local cell = redis.call('HGET', KEYS[1], ARGV[1])
if not cell then return 0 end
local count, deadline = string.match(cell, '(%d+) (%d+)')
if tonumber(count) > 1 then
    redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %s', tonumber(count) - 1, deadline))
else
    redis.call('HDEL', KEYS[1], ARGV[1])
end
return 1
"""

#: KEYS: counters.  ARGV: the worker, the lease in milliseconds, 1 where our count is right and Redis's is not, and our
#: count of each.  What we hold goes on being held.
RENEW: Final = (
    _NOW
    + """
local lease = tonumber(ARGV[2])
for index, key in ipairs(KEYS) do
    local count = ARGV[index + 3]
    local cell = ARGV[3] == '0' and redis.call('HGET', key, ARGV[1])
    if cell then count = string.match(cell, '(%d+) ') end
    if tonumber(count) > 0 then
        redis.call('HSET', key, ARGV[1], string.format('%s %.0f', count, now + lease * 1000))
        redis.call('PEXPIRE', key, lease)
    else
        redis.call('HDEL', key, ARGV[1])
    end
end
return 1
"""
)

#: KEYS: the value, the counter of versions.  ARGV: the value, its time to live in milliseconds.  Returns the version.
PUT: Final = """
local version = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], string.format('%d ', version) .. ARGV[1], 'PX', ARGV[2])
return version
"""

#: KEYS: the value.
GET: Final = """
return redis.call('GET', KEYS[1])
"""

ALL: Final = (TAKE, ACQUIRE, RELEASE, RENEW, PUT, GET)
