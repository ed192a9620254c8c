-- ARGV: sid, user, secret, counter, created, rotated, until, address, agent, data, limit, refuse, created before, rotated before, leeway
local sid, user, created, leeway = ARGV[1], ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[15])
local dead, living = {}, {}
for _, id in ipairs(sessions_of(user)) do
    table.insert(over(id, tonumber(ARGV[13]), tonumber(ARGV[14])) and dead or living, id)
end
local limit = math.max(tonumber(ARGV[11]) - 1, 0)
if ARGV[12] == '1' and #living > limit then return false end
for _, id in ipairs(dead) do finish(id, created, leeway) end
local ended = {}
for i = limit + 1, #living do
    finish(living[i], created, leeway)
    table.insert(ended, living[i])
end
redis.call('HSET', P .. 'session:' .. sid, 'user', user, 'secret', ARGV[3], 'counter', ARGV[4], 'created', ARGV[5], 'rotated', ARGV[6],
    'until', ARGV[7], 'address', ARGV[8], 'agent', ARGV[9], 'data', ARGV[10])
redis.call('ZADD', P .. 'user:' .. user, ARGV[5], sid)
return ended
