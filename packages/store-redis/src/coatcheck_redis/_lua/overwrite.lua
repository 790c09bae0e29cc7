-- Remember the token of a write that is being overwritten: if its reply was lost and it is repeated,
-- its record no longer shows that it was written. The time is the server's, because the clocks of
-- the applications may differ.
local REPEATED = 30
local function overwrite(set, token)
  local now = tonumber(redis.call('TIME')[1])
  sorted_set('ZADD', set, now, token)
  redis.call('ZREMRANGEBYSCORE', set, '-inf', '(' .. now - REPEATED)
  redis.call('PEXPIRE', set, REPEATED * 1000)
end
