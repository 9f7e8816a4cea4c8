-- How a partner stands: stored where it beats what is there, noted for those who were away, told to those who listen.
--
-- KEYS[1]  a hash: standing by partner      KEYS[2]  a stream: who changed
-- ARGV     partner, standing, 1: by a person's act, channel, PUBLISH or SPUBLISH, 8 digits of SHA-1 over partner and standing
--
-- A standing is msgpack [format, version, level, fresh, ..]. The version counts the acts of people: an act is always right,
-- and a score that does not know the latest act is not. Between scores the higher level is right, and fresher
-- evidence is right about a level that is no higher. What is kept, told and returned has 8 digits of SHA-1 over partner
-- and standing in front. Returns {1, what stands} or {0, what stands instead}.

local FORMAT = 1
local LOG = 10000

local function digits(text) return redis.sha1hex(ARGV[1] .. text):sub(1, 8) end

if digits(ARGV[2]) ~= ARGV[6] then return redis.error_reply('ZTDAMAGED a standing is not what was sent') end
local new = cmsgpack.unpack(ARGV[2])
local raw = redis.call('HGET', KEYS[1], ARGV[1])
local old = raw and cmsgpack.unpack(raw:sub(9))
if new[1] ~= FORMAT or (old and old[1] ~= FORMAT) then
    return redis.error_reply('ZTFORMAT ' .. tostring(old and old[1]) .. ' is stored, ' .. tostring(new[1]) .. ' came')
end
if ARGV[3] == '1' then
    new[2] = (old and old[2] or 0) + 1
elseif old then
    if new[2] < old[2] or (new[2] == old[2] and new[3] <= old[3] and new[4] < old[4]) then
        return {0, raw}
    end
end
raw = cmsgpack.pack(new)
raw = digits(raw) .. raw
redis.call('HSET', KEYS[1], ARGV[1], raw)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', LOG, '*', 'p', ARGV[1])
redis.call(ARGV[5], ARGV[4], ARGV[1] .. raw)
return {1, raw}
