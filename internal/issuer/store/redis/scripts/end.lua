-- ARGV: sid, at, leeway
return finish(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])) and 1 or 0
