-- ARGV: user, sid to leave, at, leeway
local ended = {}
for _, sid in ipairs(sessions_of(ARGV[1])) do
    if sid ~= ARGV[2] and finish(sid, tonumber(ARGV[3]), tonumber(ARGV[4])) then table.insert(ended, sid) end
end
return ended
