-- Remember the token of a write that another one follows, if it may still be repeated: if its reply was
-- lost, its record is no longer there to say that it was written. Tokens begin with the time.
local REPEATED = 30
local function overwrite(set, token, now)
  local at = tonumber(string.match(token, '^(%x+)%-') or '', 16)
  if not at or math.abs(now * 1000 - at) > REPEATED * 1000 then return end
  redis.call('ZADD', set, string.format('%.3f', now), token)
  redis.call('ZREMRANGEBYSCORE', set, '-inf', string.format('(%.3f', now - REPEATED))
  redis.call('PEXPIRE', set, REPEATED * 1000)
end
