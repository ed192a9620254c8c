-- What all scripts share, before each of them. A script runs alone, and either whole or not at all: because of its first line Redis refuses it
-- at its start when it has no memory left or cannot write its log.
--
-- Times are Unix milliseconds, but for those that are compared with claims of tokens: these are Unix seconds, and named until.
--
--   {latchkey}:stream              hash: schema, owner, name, last
--   {latchkey}:session:<sid>       hash: user, secret, counter, created, rotated, until, address, agent, data
--   {latchkey}:user:<name>         sorted set: sid by created
--   {latchkey}:revocations         sorted set: entry by number; an entry is number:until:sid
--   {latchkey}:revocations-by-end  sorted set: entry by until
--   {latchkey}:count:<hash>        hash: hits, ends; gone by itself
local P = '{latchkey}:'

local function text(number) return string.format('%.0f', number) end

-- finish ends a session and reports whether it had not ended before.
local function finish(sid, at, leeway)
    local key = P .. 'session:' .. sid
    local kept = redis.call('HMGET', key, 'user', 'until')
    if not kept[1] then return false end
    redis.call('DEL', key)
    redis.call('ZREM', P .. 'user:' .. kept[1], sid)
    local untl = tonumber(kept[2]) + leeway
    if untl * 1000 > at then
        local number = redis.call('HINCRBY', P .. 'stream', 'last', 1)
        local entry = text(number) .. ':' .. text(untl) .. ':' .. sid
        redis.call('ZADD', P .. 'revocations', text(number), entry)
        redis.call('ZADD', P .. 'revocations-by-end', text(untl), entry)
        redis.call('PUBLISH', P .. 'revocations', '')
    end
    return true
end

-- over tells whether a session is behind a horizon.
local function over(sid, created_before, rotated_before)
    local kept = redis.call('HMGET', P .. 'session:' .. sid, 'created', 'rotated')
    return not kept[1] or tonumber(kept[1]) < created_before or tonumber(kept[2]) < rotated_before
end

-- sessions_of are the sids of a user, the newest first.
local function sessions_of(user) return redis.call('ZREVRANGE', P .. 'user:' .. user, 0, -1) end
