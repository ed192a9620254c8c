-- ARGV: hash, now
local key = P .. 'count:' .. ARGV[1]
local kept = redis.call('HMGET', key, 'hits', 'ends')
if kept[1] and tonumber(kept[1]) > 0 and tonumber(kept[2]) > tonumber(ARGV[2]) then
  redis.call('HINCRBY', key, 'hits', -1)
end
return 1
