-- What each script begins with: what a live record is.
--
-- A record is a string under its own key; under the key of its note there is
-- "EXPIRY TOKEN" or "EXPIRY TOKEN OWNER", with the same time to live. The expiry is that of the
-- record to the microsecond, by the clock of the applications. The token names the write that
-- made the record, so that a write which is repeated because its reply was lost is known again.
-- A note that is "!TOKEN" says which removal came last.
--
-- Programs that know nothing of notes write the record alone, and move its time to live. So a
-- note's expiry counts while it is to come. When it has passed, or where there is no note, and the
-- times to live differ, the record's counts. A note that is nothing of the kind is no note.

-- Times to live are set in one script, but not always within one millisecond.
local SAME = 2
local NEVER = 253402300799

-- Return data, expiry, token, owner and note of the record under a key: without data where there
-- is no live record; the owner is '' where there is none, and nil where the note does not say.
local function live(record, note, now)
  local values = redis.call('MGET', record, note) -- what is no string is false
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
    if expiry and math.abs(left - redis.call('PTTL', note)) <= SAME then
      return nil, nil, nil, nil, about
    end
    expiry = string.format('%.6f', left < 0 and NEVER or math.min(now + left / 1000, NEVER))
    if tonumber(expiry) <= now then return nil, nil, nil, nil, about end
  end
  return data, expiry, token, owner, about
end
