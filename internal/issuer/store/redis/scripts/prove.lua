-- ARGV: known schema, owner, name for a new stream
local kept = redis.call('HMGET', P .. 'stream', 'schema', 'owner')
if kept[1] and tonumber(kept[1]) > tonumber(ARGV[1]) then return 'newer' end
if kept[2] and kept[2] ~= ARGV[2] then return 'foreign' end
redis.call('HSETNX', P .. 'stream', 'name', ARGV[3])
redis.call('HSET', P .. 'stream', 'schema', ARGV[1], 'owner', ARGV[2])
local time = redis.call('TIME')
local last = math.max(tonumber(redis.call('HGET', P .. 'stream', 'last') or 0), time[1] * 1000000 + time[2])
redis.call('HSET', P .. 'stream', 'last', text(last))
return 'ours'
