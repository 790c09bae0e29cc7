-- Tell whether a condition holds for the data of a live record, or for nil.
local function holds(condition, data, expected)
  if condition == 'always' then return true end
  if condition == 'absent' then return data == nil end
  if condition == 'unchanged' then return data == expected end
  return data ~= nil
end

-- Remove a record, and remember the token of the call for as long as it may be repeated.
-- The removal comes first, because it is allowed when memory is short, and makes room for the rest.
local REMEMBERED = 10000
local function remove(record, metadata, token)
  redis.call('DEL', record, metadata)
  redis.pcall('SET', metadata, '!' .. token, 'PX', REMEMBERED)
end
