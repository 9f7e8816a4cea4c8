# Each signal's own tail: real traffic is burstier than any formula, so evidence above 2 nats is measured
# in what this partner's past episodes reached (peaks over threshold, one number an episode, never one an
# event). Two numbers of the past: the mean excess, for how far chance and small jobs go; and the record, for the
# large job that comes every night.
#
# Both are kept apart for the two short half-lives and for the long one: four refused calls when a token has
# expired are much of a minute and nothing of an hour and a half, in which an attack is seen all the same.
#
# The past is whatever led to no more than a throttle that fell by itself. Once learning is over one record of the
# partner grows a day, by at most a quarter and two nats or to half of what was reached, so that nobody teaches it
# within an evening.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ztcore.fixed cimport random_mix

cdef enum:
    TAIL_KINDS = 21
    TAIL_PASTS = 19             # of them with a past of their own here; that of the two rates is in jobs.pxd
    TAIL_SPANS = 2              # the two short half-lives, the long one
    TAIL_GAP = 600              # s without evidence that end an episode
    TAIL_MEMORY = 30            # episodes in the mean

cdef extern from *:
    """
    #define TAIL_FROM 2.0f              /* nats: where tails begin */
    #define TAIL_PRIOR 10.0f            /* episodes that a mean excess of 1 is worth */
    #define TAIL_RECORD 4.0f            /* nats that an excess like the record's counts for */
    #define TAIL_UNIT 2.0f              /* peaks and records are kept in halves of a nat */
    #define TAIL_MEAN 8.0f              /* means in eighths, at most 31 */
    """
    const float TAIL_FROM
    const float TAIL_PRIOR
    const float TAIL_RECORD
    const float TAIL_UNIT
    const float TAIL_MEAN

cdef struct Tails:
    uint8_t mean[TAIL_PASTS][TAIL_SPANS]    # excess of past episodes
    uint8_t record[TAIL_PASTS][TAIL_SPANS]  # the highest peak
    uint8_t peak[TAIL_KINDS][TAIL_SPANS]    # of the running episode, 0: none
    uint8_t episodes[TAIL_PASTS]            # how many taught the mean, saturating
    uint8_t last[TAIL_KINDS]                # when it last had evidence, in 64 s, modulo 256

cdef inline float tail_mean(const Tails *t, int kind, int span) noexcept nogil:
    """Mean excess of past episodes, at least 1."""
    cdef float n = t.episodes[kind]
    cdef float mean = (TAIL_PRIOR + n * t.mean[kind][span] * <float>(1.0 / TAIL_MEAN)) / (TAIL_PRIOR + n)
    return mean if mean > 1.0 else <float>1.0

cdef inline float tail_temper(const Tails *t, int kind, int span, float nats) noexcept nogil:
    """Evidence in units of this signal's own past: up to the record at most TAIL_RECORD nats above 2, from
    there on in mean excesses."""
    cdef float step = <float>1.0 / tail_mean(t, kind, span), excess = nats - TAIL_FROM
    cdef float record = t.record[kind][span] * <float>(1.0 / TAIL_UNIT) - TAIL_FROM
    if excess <= 0.0:
        return nats
    if record * step <= TAIL_RECORD:
        return TAIL_FROM + excess * step
    if excess <= record:
        return TAIL_FROM + excess * TAIL_RECORD / record
    return TAIL_FROM + TAIL_RECORD + (excess - record) * step

cdef inline float tail_most(const Tails *t, int kind) noexcept nogil:
    """Nats beyond which counts are shrunk, so that they come down in minutes: some 60 tempered ones."""
    cdef float most = t.record[kind][0] * <float>(1.0 / TAIL_UNIT) + <float>58.0 * tail_mean(t, kind, 0)
    return <float>60.0 if most < <float>60.0 else most if most < <float>120.0 else <float>120.0

cdef inline bint tail_rises(const Tails *t, int kind, float nats) noexcept nogil:
    """Whether the long half-life's evidence is as high as it has been in this episode: what is left of an
    attack only falls."""
    return <uint8_t>((nats if nats < 127.0 else <float>127.0) * TAIL_UNIT) >= t.peak[kind][1]

cdef inline void tail_see(Tails *t, int kind, int span, float nats, uint32_t seconds) noexcept nogil:
    cdef uint8_t peak = <uint8_t>((nats if nats < 127.0 else <float>127.0) * TAIL_UNIT)
    if peak > t.peak[kind][span]:
        t.peak[kind][span] = peak
    t.last[kind] = <uint8_t>(seconds >> 6)

cdef inline uint8_t tail_record(Tails *t, int kind, int span, bint young, bint raise_) noexcept nogil:
    """The record after this episode."""
    cdef uint32_t before = t.record[kind][span], peak = t.peak[kind][span], most = 255
    if not young:
        most = before + before // 4 + <uint32_t>(2.0 * TAIL_UNIT)
        most = before if not raise_ else most if most > peak // 2 else peak // 2
    return <uint8_t>(before if peak < before else peak if peak < most else most)

cdef inline void tail_learn(Tails *t, int kind, uint32_t seconds, bint young, uint8_t *raised) noexcept nogil:
    cdef uint8_t day = <uint8_t>(seconds // 86400), record
    cdef float excess, mean, dither = <float>(random_mix(<uint64_t>seconds + kind) & 0xff) * <float>(1.0 / 256.0)
    cdef bint raise_ = raised[0] != day
    cdef int span
    if t.episodes[kind] < TAIL_MEMORY:
        t.episodes[kind] += 1
    for span in range(TAIL_SPANS):
        excess = t.peak[kind][span] * <float>(1.0 / TAIL_UNIT) - TAIL_FROM
        mean = t.mean[kind][span]
        mean += ((excess * TAIL_MEAN if excess > 0.0 else <float>0.0) - mean) / t.episodes[kind] + dither
        t.mean[kind][span] = <uint8_t>(mean if mean < 255.0 else <float>255.0)
        record = tail_record(t, kind, span, young, raise_)
        if record != t.record[kind][span]:
            t.record[kind][span] = record
            raised[0] = raised[0] if young else day

cdef inline bint tail_over(const Tails *t, int kind, uint32_t seconds) noexcept nogil:
    """Whether there was an episode, and nothing has come for ten minutes."""
    return t.peak[kind][0] | t.peak[kind][1] != 0 and <uint8_t>(<uint8_t>(seconds >> 6) - t.last[kind]) > TAIL_GAP >> 6

cdef inline void tail_settle(Tails *t, int kind, uint32_t seconds, bint learn, bint young, uint8_t *raised) noexcept nogil:
    """An episode is over. learn: it led to no action; young: it may teach whatever it likes, for learning is not over,
    or the signal leads to no action by itself; raised: the day, modulo 256, when a record last grew."""
    if learn and kind < TAIL_PASTS:
        tail_learn(t, kind, seconds, young, raised)
    t.peak[kind][0] = t.peak[kind][1] = 0

cdef inline void tails_merge(Tails *into, const Tails *other) noexcept nogil:
    """Means meet weighted by their episodes; the higher peak and record stay."""
    cdef uint32_t n, m
    cdef int i, span
    for i in range(TAIL_PASTS):
        n = into.episodes[i]
        m = other.episodes[i]
        for span in range(TAIL_SPANS):
            if n + m:
                into.mean[i][span] = <uint8_t>((into.mean[i][span] * n + other.mean[i][span] * m + (n + m) // 2) // (n + m))
            if other.record[i][span] > into.record[i][span]:
                into.record[i][span] = other.record[i][span]
        into.episodes[i] = <uint8_t>(n + m if n + m < TAIL_MEMORY else TAIL_MEMORY)
    for i in range(TAIL_KINDS):
        for span in range(TAIL_SPANS):
            if other.peak[i][span] > into.peak[i][span]:
                into.peak[i][span] = other.peak[i][span]
                into.last[i] = other.last[i]
