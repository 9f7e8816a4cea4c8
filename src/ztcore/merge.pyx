"""How what two tables know of the same partner becomes one row.

Counts, shares and histograms are sums and come out as if one table had seen everything, but for
rounding. What is learned by steps meets in between, weighted by how much each has seen; what could
be double (hours of familiarity, days) is the larger of the two. Level, pin and lists stay those of
the first row. The rule of each statistic stands at its `*_merge`.
"""

import numpy as np

from libc.stdint cimport uint32_t, uint16_t
from libc.string cimport memset

from ztcore.layout import ROW

from ztcore.counts cimport counts_add, decay_weight, hits_add
from ztcore.endpoints cimport calls_gone, endpoints_merge, part_gone
from ztcore.ewma cimport ewma_merge
from ztcore.feedback cimport expected_lift, expected_put
from ztcore.learn cimport TICK_S
from ztcore.histogram cimport histogram_merge
from ztcore.hours cimport hours_merge
from ztcore.lanes cimport f4_add, f4_all, f4_load, f4_max, f4_mul, f4_store
from ztcore.jobs cimport jobs_merge
from ztcore.methods cimport methods_merge
from ztcore.minutes cimport minutes_merge
from ztcore.moments cimport moments_merge
from ztcore.objects cimport objects_merge
from ztcore.observe cimport row_rebase
from ztcore.row cimport COUNTERS, Row
from ztcore.shares cimport shares_merge
from ztcore.sources cimport sources_merge
from ztcore.tails cimport tails_merge
from ztcore.times cimport HOUR_NS, SECOND_NS
from ztcore.welford cimport welford_merge


cdef void row_merge(Row *into, Row *other) noexcept nogil:
    """`other` is used up."""
    cdef float n = <float>into.events, m = <float>other.events
    cdef uint32_t hour, gone = calls_gone(into.gone, into.rest) + calls_gone(other.gone, other.rest)
    cdef int i
    if other.last_seen > into.last_seen:
        into.last_seen = other.last_seen
    hour = <uint32_t>(into.last_seen // HOUR_NS)
    row_rebase(into, into.last_seen)
    row_rebase(other, into.last_seen)
    expected_lift(into, into.next_tick - TICK_S * SECOND_NS)
    expected_lift(other, other.next_tick - TICK_S * SECOND_NS)
    counts_add(into.trials, f4_load(other.trials))
    counts_add(into.seen, f4_load(other.seen))
    counts_add(into.expected, f4_load(other.expected))
    counts_add(into.bytes_out, f4_load(other.bytes_out))
    f4_store(into.weight, decay_weight(0))
    for i in range(COUNTERS):
        hits_add(into.counts[i], f4_load(other.counts[i]))
    # drift and spread of the rate: weighted by events
    f4_store(into.phi, f4_mul(f4_all(1.0 / (n + m)), f4_add(f4_mul(f4_all(n), f4_load(into.phi)),
                                                           f4_mul(f4_all(m), f4_load(other.phi)))))
    f4_store(into.gate, f4_max(f4_load(into.gate), f4_load(other.gate)))
    if other.expected_rate > 0.0 and (into.expected_rate <= 0.0 or other.expected_until > into.expected_until):
        into.expected_rate = other.expected_rate
        into.expected_until = other.expected_until
    expected_put(into, into.next_tick - TICK_S * SECOND_NS)
    into.excused |= other.excused
    if other.excused_until > into.excused_until:
        into.excused_until = other.excused_until
    into.request_mean = ewma_merge(into.request_mean, into.moments.mean[3], other.request_mean, other.moments.mean[3])
    moments_merge(&into.moments, &other.moments)
    welford_merge(&into.response, &other.response)
    into.response_mean = into.response.mean
    minutes_merge(&into.minutes, &other.minutes, n, m)
    endpoints_merge(into.endpoints, &into.rest, other.endpoints, other.rest, hour)
    into.gone = part_gone(gone, into.rest)
    memset(&into.mix, 0, sizeof(into.mix))    # slots differ; the latest calls are learned anew within minutes
    sources_merge(&into.sources, &other.sources, hour)
    methods_merge(&into.methods, &other.methods)
    histogram_merge(&into.latency, &other.latency)
    shares_merge(&into.shares, &other.shares)
    tails_merge(&into.tails, &other.tails)
    jobs_merge(&into.jobs, &other.jobs)
    hours_merge(&into.hours, &other.hours)
    objects_merge(&into.objects, &other.objects)
    into.rate += other.rate
    into.learned += other.learned
    into.unlearned += other.unlearned
    into.pending_trials = <uint16_t>(into.pending_trials + other.pending_trials)
    into.tokens += other.tokens
    into.singles += other.singles
    into.events += other.events
    into.borrowed += other.borrowed
    into.flags |= other.flags & 0x70        # grown, settled, rated
    if other.first_seen and (into.first_seen == 0 or other.first_seen < into.first_seen):
        into.first_seen = other.first_seen


def merge(first, second):
    """One record of layout.ROW from two of the same partner. Raises ValueError for two partners."""
    if first["key"] != second["key"]:
        raise ValueError("the rows are of two partners: their keys differ")
    found = np.zeros(2, ROW)
    found[0], found[1] = first, second
    cdef unsigned char[::1] raw = found.view(np.uint8)
    row_merge(<Row *>&raw[0], <Row *>&raw[sizeof(Row)])
    return found[0]
