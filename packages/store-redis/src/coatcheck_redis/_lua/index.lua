-- The index of an owner is a sorted set of keys, by expiry. It is a hint: each record that it names
-- is checked. So an expiry in it is never made earlier, and entries stay for a while after it.
local GRACE = 600
local function index(set, key, expiry, now)
  sorted_set('ZADD', set, 'GT', expiry, key)
  redis.call('ZREMRANGEBYSCORE', set, '-inf', string.format('%.6f', now - GRACE))
  local left = math.ceil((tonumber(expiry) - now + GRACE) * 1000)
  if redis.call('PTTL', set) < left then redis.call('PEXPIRE', set, string.format('%.0f', left)) end
end
