# What people say of a partner's traffic: that an alarm was false, that more is about to come.
#
# An excused signal scores nothing for a day, and what it shows meanwhile is learned as usual. Announced
# calls widen the gate below which a rate is no evidence: by the announced factor until they end, then by what
# each half-life still remembers of them. The gate holds that factor, as of the last tick, so that an
# ordinary event pays nothing.

from libc.stdint cimport int64_t, uint8_t, uint32_t

from ztcore.lanes cimport f4, f4_add, f4_all, f4_div, f4_exp2, f4_load, f4_mul, f4_set, f4_store
from ztcore.row cimport Row
from ztcore.jobs cimport jobs_excuse
from ztcore.tails cimport TAIL_SPANS
from ztcore.times cimport seconds_of
from ztcore.verdict cimport KINDS, REQUEST_RATE, zt_group

cdef enum:
    EXCUSED_S = 86400
    EXPECTED_FADE_S = 32400     # six of the longest half-lives

cdef inline void excuse_tail(Row *row, int kind, int room) noexcept nogil:
    """What the running episode reached, and a quarter and two nats more where there is to be room, is in the
    signal's past from now on."""
    cdef uint32_t peak
    cdef int span
    if kind >= REQUEST_RATE:
        jobs_excuse(&row.jobs, kind - REQUEST_RATE, room)
        return
    for span in range(TAIL_SPANS):
        peak = row.tails.peak[kind][span]
        if peak and room:
            peak += peak // 4 + 4
        if peak > row.tails.record[kind][span]:
            row.tails.record[kind][span] = <uint8_t>(peak if peak < 255 else 255)

cdef inline void excuse(Row *row, int64_t now) noexcept nogil:
    """The alarm was false: excuse what had evidence, the reasons of the level, and what shows the same thing."""
    cdef uint32_t kinds = row.hot, group = 0
    cdef int i
    for i in range(row.whys):
        kinds |= <uint32_t>1 << row.why[i].signal
    kinds &= (1 << KINDS) - 1
    for i in range(KINDS):
        if (kinds >> i) & 1 and zt_group[i] >= 0:
            group |= <uint32_t>1 << zt_group[i]
    for i in range(KINDS):
        if zt_group[i] >= 0 and (group >> zt_group[i]) & 1:
            kinds |= <uint32_t>1 << i
        if (kinds >> i) & 1:
            excuse_tail(row, i, True)
    row.excused |= kinds
    row.excused_until = seconds_of(now) + EXCUSED_S

cdef inline bint excused(Row *row, int kind, uint32_t seconds) noexcept nogil:
    if (row.excused >> kind) & 1 == 0:
        return False
    if seconds < row.excused_until:
        return True
    row.excused = 0
    return False

cdef inline f4 expected_factor(const Row *row, int64_t now) noexcept nogil:
    """By how much each half-life's expectation is widened."""
    cdef float since = <float>(now * 1e-9 - row.expected_until)
    if row.expected_rate <= 0.0:
        return f4_all(1.0)
    if since <= 0.0:
        return f4_all(row.expected_rate)
    return f4_add(f4_all(1.0), f4_mul(f4_all(row.expected_rate - <float>1.0), f4_exp2(
        f4_mul(f4_all(-since), f4_set(1.0 / 60.0, 1.0 / 600.0, 1.0 / 5400.0, 1.0 / 1800.0)))))

cdef inline void expected_lift(Row *row, int64_t at) noexcept nogil:
    """Take the factor, as of a time, out of the gate."""
    if row.expected_rate > 0.0:
        f4_store(row.gate, f4_div(f4_load(row.gate), expected_factor(row, at)))

cdef inline void expected_put(Row *row, int64_t at) noexcept nogil:
    """Put it in; forget an announcement of which no half-life remembers anything."""
    if row.expected_rate > 0.0:
        if at > (<int64_t>row.expected_until + EXPECTED_FADE_S) * <int64_t>1000000000:
            row.expected_rate = 0.0
        else:
            f4_store(row.gate, f4_mul(f4_load(row.gate), expected_factor(row, at)))
