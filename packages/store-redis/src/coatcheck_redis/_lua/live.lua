-- The definition of a live record. Most scripts begin with it.
--
-- A record is a string under its own key. Its metadata key has "EXPIRY TOKEN" or
-- "EXPIRY TOKEN OWNER", with the same time to live. The expiry is the record's, to the microsecond,
-- by the clock of the applications. The token names the write that made the record: a write that is
-- repeated because its reply was lost recognizes itself by it. Metadata "!TOKEN" names the call that
-- removed the record.
--
-- Programs that know nothing of metadata write the record alone, and change its time to live. So
-- the expiry in the metadata counts until it has passed. After that, or if there is none, the
-- record's time to live counts, if the two times to live differ. Metadata in another form counts as
-- missing.

-- Milliseconds. A script sets both times to live, but not always within one millisecond.
local SAME = 2
local NEVER = 253402300799

-- Return data, expiry, token, owner and metadata of the record under a key. The data are nil if there
-- is no live record. The owner is '' if there is none, and nil if the metadata does not say.
local function live(record, metadata, now)
  local values = redis.call('MGET', record, metadata) -- a value that is no string is false
  local data, about = values[1], values[2]
  if not data or data == '' then return nil, nil, nil, nil, about end
  local expiry, token, owner
  if about then
    expiry, token, owner = string.match(about, '^(%d[%d.eE+-]*) (%S+) ?(.*)$')
    if (tonumber(expiry) or math.huge) > NEVER then expiry, token, owner = nil, nil, nil end
    if token == '?' then owner = nil end -- another program wrote it, and a store touched it
  end
  if not expiry or tonumber(expiry) <= now then
    local left = redis.call('PTTL', record)
    if expiry and math.abs(left - redis.call('PTTL', metadata)) <= SAME then
      return nil, nil, nil, nil, about
    end
    expiry = string.format('%.6f', left < 0 and NEVER or math.min(now + left / 1000, NEVER))
    if tonumber(expiry) <= now then return nil, nil, nil, nil, about end
  end
  return data, expiry, token, owner, about
end
