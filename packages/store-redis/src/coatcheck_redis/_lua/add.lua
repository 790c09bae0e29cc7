-- KEYS: an owner's index. ARGV: now, expiry, the key as the index has it.
index(KEYS[1], ARGV[3], ARGV[2], tonumber(ARGV[1]))
return 1
