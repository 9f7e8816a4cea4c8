-- One host's contribution to a partner: stored, put into the sum in place of its last one, and the others' sum handed back.
--
-- KEYS[1]  a hash: sum | h:HOST of each host | row | row_at
-- ARGV     host, contribution, seconds after which the key expires, 8 digits of SHA-1 over key, host and contribution
--
-- Returns msgpack [at, the others' total, this host's total, row_at, the others' parts] behind 8 digits of its SHA-1.
--
-- A contribution is msgpack [format, boot, seq, born, events, at, parts]: boot and seq order the writes of one process; born
-- says which row `events` counts, a later one being another row; at: microseconds; parts: (number, a lane each half-life) of
-- each sum that is not 0, decayed to `at`, calls and bytes (0 and 1) with a fourth lane. What is stored of it is [.., total,
-- before, parts before]: the calls this host counted, over all its rows, and what its processes before this one contributed,
-- up to a time. The sum is [format, at, total, parts, gone]. A contribution is absolute: written twice, or after one that was
-- lost, the sum comes out the same; and but for decay it never falls.
--
-- Hosts come and go: when one is new here, those who had no call of the partner for as long as the key would live are left
-- out. Their calls stay in the total; gone: the latest such call. Who has been here since before that comes back.

local FORMAT = 1
local HALVES = {60000000, 600000000, 5400000000, 1800000000}

local DAY = 86400000000      -- 16 of the longest half-lives

local function lanes(number) return number < 2 and 4 or 3 end

local function decays(since)
    local factors = {}
    for lane = 1, 4 do factors[lane] = since > 0 and 0.5 ^ (since / HALVES[lane]) or 1 end
    return factors
end

local function add(sums, parts, at, now, sign)
    local decay = decays(now - at)
    local i = 1
    while i <= #parts do
        local number = parts[i]
        local sum = sums[number]
        if not sum then
            sum = {0, 0, 0, 0}
            sums[number] = sum
        end
        for lane = 1, lanes(number) do sum[lane] = sum[lane] + sign * parts[i + lane] * decay[lane] end
        i = i + 1 + lanes(number)
    end
end

local function flat(sums)
    local out, n = {}, 0
    for number, sum in pairs(sums) do
        if sum[3] > 1e-3 then
            out[n + 1] = number
            for lane = 1, lanes(number) do out[n + 1 + lane] = sum[lane] > 0 and sum[lane] or 0 end
            n = n + 1 + lanes(number)
        end
    end
    return out
end

local function so_far(one, now)
    local sums = {}
    add(sums, one[7], one[6], now, 1)
    add(sums, one[10], one[9], now, 1)
    return flat(sums)
end

local function leave_out(before)
    local gone, fields = 0, redis.call('HGETALL', KEYS[1])
    for i = 1, #fields, 2 do
        if fields[i]:sub(1, 2) == 'h:' then
            local one = cmsgpack.unpack(fields[i + 1])
            if one[1] == FORMAT and one[6] < before then
                gone = math.max(gone, one[6])
                redis.call('HDEL', KEYS[1], fields[i])
            end
        end
    end
    return gone
end

if redis.sha1hex(KEYS[1] .. ARGV[1] .. ARGV[2]):sub(1, 8) ~= ARGV[4] then
    return redis.error_reply('ZTDAMAGED a contribution is not what was sent')
end
local new = cmsgpack.unpack(ARGV[2])
local found = redis.call('HMGET', KEYS[1], 'sum', 'h:' .. ARGV[1], 'row_at')
local sum = found[1] and cmsgpack.unpack(found[1]) or {FORMAT, new[6], 0, {}, 0}
local old = found[2] and cmsgpack.unpack(found[2])
if new[1] ~= FORMAT or sum[1] ~= FORMAT or (old and old[1] ~= FORMAT) then
    return redis.error_reply('ZTFORMAT ' .. tostring(old and old[1] or sum[1]) .. ' is stored, ' .. tostring(new[1]) .. ' came')
end

local now = math.max(sum[2], new[6])
local sums = {}
add(sums, sum[4], sum[2], now, 1)
if old and old[2] == new[2] and new[3] <= old[3] then
    new = old               -- it came late: a newer one of the same process is here already
else
    if old then
        if old[2] == new[2] then
            add(sums, old[7], old[6], now, -1)
            new[9], new[10] = old[9], now - old[9] < DAY and old[10] or {}
        else
            new[9], new[10] = now, so_far(old, now)
        end
        if new[4] <= old[4] then        -- a row's first call moves back where it takes over what the fleet knows
            new[8] = old[8] + math.max(0, new[5] - old[5])
        else
            new[8] = old[8] + new[5]
        end
        sum[3] = sum[3] - old[8] + new[8]
    else
        new[9], new[10] = now, {}
        if found[1] then sum[5] = math.max(sum[5], leave_out(now - ARGV[3] * 1000000)) end
        new[8] = new[5]
        sum[3] = new[4] <= sum[5] and math.max(sum[3], new[8]) or sum[3] + new[8]
    end
    add(sums, new[7], new[6], now, 1)
    redis.call('HSET', KEYS[1], 'h:' .. ARGV[1], cmsgpack.pack(new), 'sum', cmsgpack.pack({FORMAT, now, sum[3], flat(sums), sum[5]}))
    redis.call('EXPIRE', KEYS[1], ARGV[3])
end
add(sums, new[7], new[6], now, -1)
add(sums, new[10], new[9], now, -1)
local answer = cmsgpack.pack({now, sum[3] - new[8], new[8], tonumber(found[3]) or 0, flat(sums)})
return redis.sha1hex(answer):sub(1, 8) .. answer
