-- KEYS: record, metadata. ARGV: data, milliseconds to live, the metadata.
-- Return 1 if there was nothing under the key and the record was written.
-- Return 0 if nothing was written. Then set.lua decides.
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
return 1
