-- Run a command on a sorted set. A value of another type counts as missing, and is removed.
local function sorted_set(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if string.find(reply.err, 'WRONGTYPE', 1, true) then redis.call('DEL', key) end
  return redis.call(command, key, ...) -- any other error is raised
end
