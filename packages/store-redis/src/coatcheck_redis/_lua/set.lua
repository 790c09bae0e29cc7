-- KEYS: record, metadata, overwritten writes, and the owner's index if this script must update it.
-- ARGV: now, condition, expected data, token, data, expiry, milliseconds to live, the metadata,
-- the key as the index has it.
-- Return 1 if the record was written, now or by an earlier attempt with the same token.
local now, token, ttl = tonumber(ARGV[1]), ARGV[4], tonumber(ARGV[7])
local data, _, last, _, metadata = live(KEYS[1], KEYS[2], now)
if (data and last == token) or metadata == '!' .. token then return 1 end
if not holds(ARGV[2], data, ARGV[3]) then
  return sorted_set('ZSCORE', KEYS[3], token) and 1 or 0
end
if ttl <= 0 then
  remove(KEYS[1], KEYS[2], token)
  return 1
end
if data and last then overwrite(KEYS[3], last) end
redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[7])
redis.call('SET', KEYS[2], ARGV[8], 'PX', ARGV[7])
if KEYS[4] then index(KEYS[4], ARGV[9], ARGV[6], now) end
return 1
