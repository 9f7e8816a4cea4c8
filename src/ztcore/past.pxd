# When an episode of evidence is over, what it reached becomes the past that later evidence is measured in: nats of the
# signals that are shares and of the ramp (tails.pxd), calls and bytes of the two rates (jobs.pxd).

from libc.stdint cimport int64_t, uint32_t

from ztcore.jobs cimport jobs_settle
from ztcore.policy cimport Policy
from ztcore.row cimport ROW_GROWN, Row
from ztcore.tails cimport TAIL_KINDS, tail_over, tail_settle
from ztcore.times cimport seconds_of
from ztcore.verdict cimport NEEDS_CORROBORATION, RATE_RAMP, REQUEST_RATE, SIZES

cdef inline bint past_free(const Policy *policy, const Row *row, int64_t now) noexcept nogil:
    """Whether the partner may still teach whatever it likes."""
    return not row.flags & ROW_GROWN or now - row.first_seen < 2 * policy.learning

cdef inline bint past_unbound(int kind, bint free) noexcept nogil:
    """Whether a signal may: one that leads to no action by itself always."""
    return free or (NEEDS_CORROBORATION >> kind) & 1

cdef inline void past_settle(const Policy *policy, Row *row, int64_t now, bint all_) noexcept nogil:
    """End the episodes that are over, or all, for a level has come down to monitor. Those that led to more than a throttle
    teach only while the partner is free to; of those that led to a level, only what jobs, releases and habits cause."""
    cdef bint free = past_free(policy, row, now), learn = free or row.highest <= 2
    cdef uint32_t seconds = seconds_of(now)
    cdef int i
    for i in range(TAIL_KINDS):
        if tail_over(&row.tails, i, seconds) or (all_ and row.tails.peak[i][0] | row.tails.peak[i][1] != 0):
            tail_settle(&row.tails, i, seconds,
                        learn and (not all_ or i >= RATE_RAMP or (SIZES >> i) & 1 or past_unbound(i, False)),
                        past_unbound(i, free), &row.raised)
            if i >= REQUEST_RATE:
                jobs_settle(&row.jobs, i - REQUEST_RATE, learn, free, seconds // 86400, &row.raised)
