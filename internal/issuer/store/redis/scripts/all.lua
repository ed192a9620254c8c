-- What all scripts share, before each of them. A script runs alone, and either whole or not at all: because of its first line Redis refuses it
-- at its start when it has no memory left or cannot write its log.
--
-- Times are Unix milliseconds, but for those that are compared with claims of tokens: these are Unix seconds, and named until and before.
--
--   {latchkey}:stream              hash: schema, owner, name, last
--   {latchkey}:session:<sid>       hash: user, secret, counter, created, rotated, until, address, agent, data
--   {latchkey}:user:<name>         sorted set: sid by created
--   {latchkey}:revocations         sorted set: entry by number; an entry is number:kind:before:until:value
--   {latchkey}:revocations-by-end  sorted set: entry by until
--   {latchkey}:revoked             hash: kind:value to entry
--   {latchkey}:count:<hash>        hash: hits, ends; gone by itself
local P = '{latchkey}:'

local function text(number) return string.format('%.0f', number) end

-- revoke adds a revocation under the next number, unless one that covers it is there.
local function revoke(kind, value, before, untl)
    local known = redis.call('HGET', P .. 'revoked', kind .. ':' .. value)
    if known then
        local b, u = string.match(known, '^%d+:%a+:(%d+):(%d+):')
        b, u = tonumber(b), tonumber(u)
        if b >= before and u >= untl then return 0 end
        before, untl = math.max(before, b), math.max(untl, u)
        redis.call('ZREM', P .. 'revocations', known)
        redis.call('ZREM', P .. 'revocations-by-end', known)
    end
    local number = redis.call('HINCRBY', P .. 'stream', 'last', 1)
    local entry = text(number) .. ':' .. kind .. ':' .. text(before) .. ':' .. text(untl) .. ':' .. value
    redis.call('ZADD', P .. 'revocations', text(number), entry)
    redis.call('ZADD', P .. 'revocations-by-end', text(untl), entry)
    redis.call('HSET', P .. 'revoked', kind .. ':' .. value, entry)
    redis.call('PUBLISH', P .. 'revocations', '')
    return 1
end

-- finish ends a session and reports whether it had not ended before.
local function finish(sid, at, leeway)
    local key = P .. 'session:' .. sid
    local kept = redis.call('HMGET', key, 'user', 'until')
    if not kept[1] then return false end
    redis.call('DEL', key)
    redis.call('ZREM', P .. 'user:' .. kept[1], sid)
    local untl = tonumber(kept[2]) + leeway
    if untl * 1000 > at then revoke('sid', sid, 0, untl) end
    return true
end

-- over tells whether a session is behind a horizon.
local function over(sid, created_before, rotated_before)
    local kept = redis.call('HMGET', P .. 'session:' .. sid, 'created', 'rotated')
    return not kept[1] or tonumber(kept[1]) < created_before or tonumber(kept[2]) < rotated_before
end

-- sessions_of are the sids of a user, the newest first.
local function sessions_of(user) return redis.call('ZREVRANGE', P .. 'user:' .. user, 0, -1) end
