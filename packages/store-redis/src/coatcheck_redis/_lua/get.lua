-- KEYS: for each record its key and its metadata key. ARGV: now.
-- Return for each record what `reply` makes of it, or false.
local now, found = tonumber(ARGV[1]), {}
for i = 1, #KEYS, 2 do
  local data, expiry, _, owner = live(KEYS[i], KEYS[i + 1], now)
  found[#found + 1] = data and reply(data, expiry, owner or '') or false
end
return found
