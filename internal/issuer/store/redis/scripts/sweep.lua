-- ARGV: now, leeway, created before, rotated before, limit, sids to look at
local now, leeway, swept = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
for i = 6, #ARGV do
    if swept >= tonumber(ARGV[5]) then break end
    local untl = redis.call('HGET', P .. 'session:' .. ARGV[i], 'until')
    if untl and (tonumber(untl) + leeway) * 1000 < now and over(ARGV[i], tonumber(ARGV[3]), tonumber(ARGV[4])) then
        finish(ARGV[i], now, leeway)
        swept = swept + 1
    end
end
return swept
