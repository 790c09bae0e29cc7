-- KEYS: an owner's index unless it is on another server, then for each record its key and its
-- metadata key. ARGV: now, the owner, then the keys as the index has them.
-- Return for each record what `reply` makes of it or false, and remove from the index what is not
-- the owner's. If the metadata does not name the owner of a record, the index is believed.
local now, set, found = tonumber(ARGV[1]), #KEYS % 2 == 1 and KEYS[1], {}
for i = set and 2 or 1, #KEYS, 2 do
  local data, expiry, _, owner = live(KEYS[i], KEYS[i + 1], now)
  local theirs = data and (owner == nil or owner == ARGV[2])
  found[#found + 1] = theirs and reply(data, expiry, ARGV[2]) or false
  if set and not theirs then redis.call('ZREM', set, ARGV[2 + #found]) end
end
return found
