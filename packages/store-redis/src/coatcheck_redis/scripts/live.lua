-- What each script begins with: what a live record is.
--
-- A record is a string under its own key; under its metadata key there is
-- "EXPIRY TOKEN" or "EXPIRY TOKEN OWNER", with the same time to live. The expiry is that of the
-- record to the microsecond, by the clock of the applications. The token names the write that
-- made the record, so that a write which is repeated because its reply was lost is known again.
-- Metadata that is "!TOKEN" says which removal came last.
--
-- Programs that know nothing of metadata write the record alone, and move its time to live. So a
-- metadata's expiry counts while it is to come. When it has passed, or where there is none, and the
-- times to live differ, the record's counts. Metadata in another form counts as missing.

-- Times to live are set in one script, but not always within one millisecond.
local SAME = 2
local NEVER = 253402300799

-- Return data, expiry, token, owner and metadata of the record under a key: without data where there
-- is no live record; the owner is '' where there is none, and nil where the metadata does not say.
local function live(record, metadata, now)
  local values = redis.call('MGET', record, metadata) -- what is no string is false
  local data, about = values[1], values[2]
  if not data or data == '' then return nil, nil, nil, nil, about end
  local expiry, token, owner
  if about then
    expiry, token, owner = string.match(about, '^(%d[%d.eE+-]*) (%S+) ?(.*)$')
    if (tonumber(expiry) or math.huge) > NEVER then expiry, token, owner = nil, nil, nil end
    if token == '?' then owner = nil end -- touched by a store, written by another program
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
