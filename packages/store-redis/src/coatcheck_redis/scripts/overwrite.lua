-- Remember the token of a write that another one follows: if its reply was lost and it is repeated,
-- its record is no longer there to say that it was written. The time is the server's, because the
-- clocks of those who write one session may differ.
local REPEATED = 30
local function overwrite(set, token)
  local now = tonumber(redis.call('TIME')[1])
  sorted_set('ZADD', set, now, token)
  redis.call('ZREMRANGEBYSCORE', set, '-inf', '(' .. now - REPEATED)
  redis.call('PEXPIRE', set, REPEATED * 1000)
end
