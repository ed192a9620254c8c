-- ARGV: sid, counter, until
local key = P .. 'session:' .. ARGV[1]
local kept = redis.call('HMGET', key, 'counter', 'until')
if kept[1] ~= ARGV[2] then return 0 end
if tonumber(ARGV[3]) > tonumber(kept[2]) then redis.call('HSET', key, 'until', ARGV[3]) end
return 1
