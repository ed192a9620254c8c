-- ARGV: user
local all = {}
for _, sid in ipairs(sessions_of(ARGV[1])) do
    local kept = redis.call('HMGET', P .. 'session:' .. sid, 'counter', 'created', 'rotated', 'until', 'address', 'agent', 'data')
    table.insert(kept, 1, sid)
    table.insert(all, kept)
end
return all
