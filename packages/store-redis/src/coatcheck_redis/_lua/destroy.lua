-- KEYS: record, metadata. ARGV: now, condition, expected data, token.
-- Return 1 if a live record was removed, now or by an earlier attempt with the same token.
local data, _, _, _, metadata = live(KEYS[1], KEYS[2], tonumber(ARGV[1]))
if metadata == '!' .. ARGV[4] then return 1 end
if ARGV[2] == 'absent' or not holds(ARGV[2], data, ARGV[3]) then return 0 end
if data then
  remove(KEYS[1], KEYS[2], ARGV[4])
  return 1
end
redis.call('DEL', KEYS[1]) -- it is malformed, or expired by the applications' clock
return 0
