-- KEYS: record, metadata, and the index of the owner that the caller knows if this script must
-- update it. ARGV: now, expiry, milliseconds to live, token, that owner or '', the key as the index
-- has it.
-- Return false if there is no live record, and 1 if it was touched. Return the record's owner if the
-- caller does not know it: then nothing was changed, because that owner's index must be written
-- first.
local now, ttl = tonumber(ARGV[1]), tonumber(ARGV[3])
local data, _, last, owner, metadata = live(KEYS[1], KEYS[2], now)
if not data then return metadata == '!' .. ARGV[4] and 1 or false end
if ttl <= 0 then
  remove(KEYS[1], KEYS[2], ARGV[4])
  return 1
end
if owner and owner ~= '' and owner ~= ARGV[5] then return owner end
-- The record comes first, because this is allowed when memory is short.
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local text = ARGV[2] .. ' ' .. (last or '?') .. ' ' .. (owner or '')
redis.call('SET', KEYS[2], text, 'PX', ARGV[3])
if KEYS[3] and owner == ARGV[5] then index(KEYS[3], ARGV[6], ARGV[2], now) end
return 1
