-- A line of the audit log, if the log ends where its writer thinks it does.
--
-- KEYS[1]  a list of lines      KEYS[2]  a hash: before, before_hash, last, last_hash
-- ARGV     number and hash of the last line, the line as it is kept, its number and hash
-- Returns {1} or {0, number, hash of the last line}.

local ends = redis.call('HMGET', KEYS[2], 'last', 'last_hash')
if (ends[1] or '0') ~= ARGV[1] or (ends[2] or string.rep('0', 64)) ~= ARGV[2] then
    return {0, ends[1] or '0', ends[2] or string.rep('0', 64)}
end
redis.call('RPUSH', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[2], 'last', ARGV[4], 'last_hash', ARGV[5])
return {1}
