-- ARGV: known schema, owner, name for a new stream, step
local kept = redis.call('HMGET', P .. 'stream', 'schema', 'owner')
if kept[1] and tonumber(kept[1]) > tonumber(ARGV[1]) then return 'newer' end
if kept[2] and kept[2] ~= ARGV[2] then return 'foreign' end
redis.call('HSETNX', P .. 'stream', 'name', ARGV[3])
redis.call('HSET', P .. 'stream', 'schema', ARGV[1], 'owner', ARGV[2])
redis.call('HINCRBY', P .. 'stream', 'last', ARGV[4])
return 'ours'
