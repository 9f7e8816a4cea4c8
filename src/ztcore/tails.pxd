# Each signal's own tail: the mean excess of the peaks of past episodes above 2 nats (peaks over
# threshold). Real traffic is burstier than any formula; evidence is divided by what its own past
# shows, one number an episode, never one an event.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef enum:
    TAIL_KINDS = 18
    TAIL_GAP = 600              # s without evidence that end an episode

cdef struct Tails:
    uint16_t excess[TAIL_KINDS] # sum of excesses over 2 nats, in 1/128, fading by 2 % an episode
    uint16_t episodes[TAIL_KINDS]   # their number, in 1/1024
    uint16_t peak[TAIL_KINDS]   # of the running episode, in 1/1024 of nats (at most 63), 0: none
    uint16_t last[TAIL_KINDS]   # when it last had evidence, in 16 s, modulo 65536

cdef inline float tail_mean(const Tails *t, int kind) noexcept nogil:
    """Mean excess, at least 1; ten episodes of 1 are its prior."""
    cdef float mean = (10.0 + t.excess[kind] * <float>(1.0 / 128.0)) / (10.0 + t.episodes[kind] * <float>(1.0 / 1024.0))
    return mean if mean > 1.0 else 1.0

cdef inline float tail_temper(const Tails *t, int kind, float nats) noexcept nogil:
    """Evidence in units of this signal's own excesses."""
    return nats if nats < 2.0 else 2.0 + (nats - 2.0) / tail_mean(t, kind)

cdef inline void tail_see(Tails *t, int kind, float nats, uint32_t seconds) noexcept nogil:
    cdef uint16_t peak = <uint16_t>((nats if nats < 63.0 else 63.0) * 1024.0)
    if peak > t.peak[kind]:
        t.peak[kind] = peak
    t.last[kind] = <uint16_t>(seconds >> 4)

cdef inline void tail_settle(Tails *t, int kind, uint32_t seconds, bint learn) noexcept nogil:
    """End the episode where nothing came for ten minutes; its peak teaches the tail unless it was
    an action's cause (20 nats and more) or there is nothing to learn yet."""
    cdef float peak
    if t.peak[kind] == 0 or <uint16_t>(<uint16_t>(seconds >> 4) - t.last[kind]) <= TAIL_GAP >> 4:
        return
    peak = t.peak[kind] * <float>(1.0 / 1024.0)
    t.peak[kind] = 0
    if not learn or peak >= 20.0:
        return
    peak = peak - 2.0 if peak < 10.0 else 8.0
    t.excess[kind] = <uint16_t>(t.excess[kind] * 0.98 + peak * 128.0 + 0.5)
    t.episodes[kind] = <uint16_t>(t.episodes[kind] * 0.98 + 1024.0 + 0.5)

cdef inline void tails_merge(Tails *into, const Tails *other) noexcept nogil:
    """Excesses and episodes add, within what 50 of them fade to; the higher running peak stays."""
    cdef uint32_t excess, episodes
    cdef int i
    for i in range(TAIL_KINDS):
        excess = <uint32_t>into.excess[i] + other.excess[i]
        episodes = <uint32_t>into.episodes[i] + other.episodes[i]
        if episodes > 51200:            # 50 in 1/1024
            excess = <uint32_t>(<uint64_t>excess * 51200 // episodes)
            episodes = 51200
        into.excess[i] = <uint16_t>(excess if excess < 65535 else 65535)
        into.episodes[i] = <uint16_t>episodes
        if other.peak[i] > into.peak[i]:
            into.peak[i] = other.peak[i]
            into.last[i] = other.last[i]
