-- ARGV: sid, counter, next counter, rotated, until, address, agent
local key = P .. 'session:' .. ARGV[1]
local kept = redis.call('HMGET', key, 'counter', 'until')
if kept[1] ~= ARGV[2] then return 0 end
local untl = tonumber(kept[2]) > tonumber(ARGV[5]) and kept[2] or ARGV[5]
redis.call('HSET', key, 'counter', ARGV[3], 'rotated', ARGV[4], 'until', untl, 'address', ARGV[6], 'agent', ARGV[7])
return 1
