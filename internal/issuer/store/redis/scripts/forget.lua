-- ARGV: now in seconds, limit
local gone = redis.call('ZRANGEBYSCORE', P .. 'revocations-by-end', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, entry in ipairs(gone) do
    redis.call('ZREM', P .. 'revocations', entry)
    redis.call('ZREM', P .. 'revocations-by-end', entry)
end
return #gone
