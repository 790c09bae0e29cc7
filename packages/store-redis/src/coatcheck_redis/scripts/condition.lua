-- Tell whether a condition holds for the data of a live record, or for nil.
local function holds(condition, data, expected)
  if condition == 'always' then return true end
  if condition == 'absent' then return data == nil end
  if condition == 'unchanged' then return data == expected end
  return data ~= nil
end

-- Remove a record, and remember who did it for as long as somebody may ask again.
-- The removal comes first: it is allowed, and allows the rest, where memory is short.
local REMEMBERED = 10000
local function remove(record, metadata, token)
  redis.call('DEL', record, metadata)
  redis.pcall('SET', metadata, '!' .. token, 'PX', REMEMBERED)
end
