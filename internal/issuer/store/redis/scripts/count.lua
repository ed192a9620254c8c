-- ARGV: hash, now, window
local key = P .. 'count:' .. ARGV[1]
local now, window = tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HMGET', key, 'hits', 'ends')
local hits, ends = 1, now + window
if kept[1] and tonumber(kept[2]) > now then hits, ends = tonumber(kept[1]) + 1, tonumber(kept[2]) end
redis.call('HSET', key, 'hits', text(hits), 'ends', text(ends))
redis.call('PEXPIRE', key, text(ends - now + 60000)) -- a little later than its end, for clocks may differ
return { text(hits), text(ends) }
