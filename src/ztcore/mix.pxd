# How a partner's latest calls are spread over its endpoints: a small count a slot, halved every two minutes. One
# endpoint's share of it, held against its share of all calls ever, shows one step of the business at the pace of a
# machine, though every call is as usual.
#
# A count is one byte. Where one is full all are halved, so that of many calls the latest few hundred are looked at.

from libc.math cimport exp2f, fabsf
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from ztcore.atomic cimport apart, zt_likely
from ztcore.endpoints cimport ENDPOINT_GONE, ENDPOINT_HOURS_MOST, ENDPOINTS, Endpoint, endpoint_count, endpoint_hours, endpoint_idle
from ztcore.familiar cimport FAMILIAR_HOURS
from ztcore.fixed cimport random_mix

cdef enum:
    MIX_HALF_LIFE = 120         # s
    MIX_FULL = 255
    MIX_LEAST = 6               # calls before one endpoint stands out
    MIX_HOURS = 12              # distinct hours of an endpoint whose share is known

cdef extern from *:
    """
    #define MIX_NEW 0.25f               /* share that an endpoint which is new to the partner may have at once */
    """
    const float MIX_NEW

cdef struct Mix:
    uint8_t recent[ENDPOINTS]
    uint8_t other               # of endpoints that lost their slot, or never had one
    uint16_t total

cdef inline apart mix_halve(Mix *m) noexcept nogil:
    cdef int i
    m.other >>= 1
    m.total = m.other
    for i in range(ENDPOINTS):
        m.recent[i] >>= 1
        m.total += m.recent[i]

cdef inline void mix_count(Mix *m, uint8_t *of, uint32_t calls) noexcept nogil:
    if calls > MIX_FULL // 2:
        calls = MIX_FULL // 2
    while of[0] + calls > MIX_FULL:
        mix_halve(m)
    of[0] += <uint8_t>calls
    m.total += <uint16_t>calls

cdef inline void mix_add(Mix *m, int slot, uint32_t calls) noexcept nogil:
    mix_count(m, &m.recent[slot], calls)

cdef inline void mix_forget(Mix *m, int slot) noexcept nogil:
    """The slot is another endpoint's from now on."""
    while m.other + m.recent[slot] > MIX_FULL:
        mix_halve(m)
    m.other += m.recent[slot]
    m.recent[slot] = 0

cdef inline void mix_other(Mix *m, uint32_t calls) noexcept nogil:
    """Calls of an endpoint that has no slot."""
    mix_count(m, &m.other, calls)

cdef inline void mix_fade(Mix *m, float seconds, uint64_t seed) noexcept nogil:
    """So much time has passed; counts are rounded up or down by chance."""
    cdef float factor = exp2f(seconds * <float>(-1.0 / MIX_HALF_LIFE))
    cdef int i
    m.other = <uint8_t>(m.other * factor + <float>0.5)
    m.total = m.other
    for i in range(ENDPOINTS):
        if m.recent[i]:
            seed = random_mix(seed + i)
            m.recent[i] = <uint8_t>(m.recent[i] * factor + <float>(seed & 0xffff) * <float>(1.0 / 65536.0))
            m.total += m.recent[i]

cdef inline bint mix_stands_out(const Mix *m, const Endpoint *slots, int slot, uint64_t calls) noexcept nogil:
    """A bound without a logarithm or a division: whether an endpoint's share can be two nats above its share of all
    `calls`. With u the usual of them, (k - u)^2 > 2 u, both sides times the square of `calls`."""
    cdef float all_ = <float><int64_t>calls
    cdef float usual = <float>m.total * <float><int32_t>endpoint_count(&slots[slot]), above = <float>m.recent[slot] * all_ - usual
    # | above | above: half of all calls are, which no processor can guess
    if zt_likely(above * fabsf(above) <= <float>2.0 * usual * all_):
        return False
    return m.recent[slot] >= MIX_LEAST and not FAMILIAR_HOURS <= endpoint_hours(&slots[slot]) < MIX_HOURS

cdef inline float mix_usual(const Endpoint *slots, uint32_t rest, uint64_t gone, int slot, float age, uint32_t hour) noexcept nogil:
    """An endpoint's share of the calls since it is there, as far as the hours of the others tell, without those that went to
    endpoints now gone (renamed routes took their place); or of those in the hours in which it is called (all were made in
    `age` hours), if that is more: jobs have their hours, and what is new has been there for few. rest, gone: calls of
    endpoints that have no slot; of the rest as large a part is gone meanwhile as of those that have one."""
    cdef uint64_t calls = 0
    cdef float others = rest, own = endpoint_count(&slots[slot]) + 1, hours = endpoint_hours(&slots[slot]), since = 0.0
    cdef float share, during, age_of
    cdef int i
    if hours < FAMILIAR_HOURS:
        return MIX_NEW
    for i in range(ENDPOINTS):
        if endpoint_idle(&slots[i], hour) <= ENDPOINT_GONE:
            age_of = endpoint_hours(&slots[i])
            calls += endpoint_count(&slots[i])
            since += endpoint_count(&slots[i]) * (hours / age_of if age_of > hours else <float>1.0)
        else:
            gone += endpoint_count(&slots[i])
    share = own / (since + others * (since / <float>(calls + gone + 1)) + <float>10.0)
    if hours >= ENDPOINT_HOURS_MOST:        # not counted any further: of a partner of weeks it is one of every hour
        return share
    during = hours * (calls + gone + others) / age
    if during * share < own:
        share = own / during if own < <float>0.9 * during else <float>0.9
    return share
