-- A record as one string, which clients read faster than a list of three.
local function reply(data, expiry, owner)
  return expiry .. ' ' .. #owner .. ' ' .. owner .. data
end
