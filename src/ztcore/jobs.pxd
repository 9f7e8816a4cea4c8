# What a partner's jobs add: the most calls, and bytes, beyond the expected that an episode without an action had.
#
# A job makes as many calls by night as by day. Held against a rate it is much at night and little at noon, held
# against what past jobs added it is the same. So the past of the two rates is kept as calls and bytes, and what is
# within it counts little at whatever hour it comes.
#
# Of the two short half-lives each has its own. What the ten minutes remember is allowed to the longer ones as well, for
# they remember more of the same job.

from libc.math cimport exp2f, log2f
from libc.stdint cimport uint8_t, uint32_t

from ztcore.lanes cimport f4, f4_add, f4_all, f4_div, f4_lane, f4_max, f4_min, f4_mul, f4_set

cdef enum:
    JOB_RATES = 2               # calls, bytes
    JOB_CALLS = 0
    JOB_BYTES = 1
    JOB_GROWTH = 3              # steps, about a quarter, by which the past grows a day

cdef extern from *:
    """
    #define JOB_STEPS 8.0f              /* an octave of a kept number */
    #define JOB_WITHIN 4.9f             /* nats that what is within the past counts for at most */
    #define JOB_PHI 0.06f               /* relative variance of the largest job */
    #define JOB_LONG 1.5f               /* what a longer half-life remembers of a job, beside ten minutes */
    """
    const float JOB_STEPS
    const float JOB_WITHIN
    const float JOB_PHI
    const float JOB_LONG

cdef struct Jobs:
    uint8_t record[JOB_RATES][2]    # log2 in 1/8, 0: none
    uint8_t peak[JOB_RATES][2]      # of the running episode

cdef inline uint8_t job_step(float x) noexcept nogil:
    """A number as it is kept, rounded up."""
    cdef float at
    if not x >= <float>1.0:
        return 0
    at = log2f(x) * JOB_STEPS + <float>1.0
    return <uint8_t>at if at < <float>255.0 else 255

cdef inline float job_size(uint8_t step) noexcept nogil:
    return exp2f(step * (<float>1.0 / JOB_STEPS)) if step else <float>0.0

cdef inline f4 jobs_usual(const Jobs *j, int rate) noexcept nogil:
    """What past jobs added, by half-life."""
    cdef float minute = job_size(j.record[rate][0]), ten = job_size(j.record[rate][1]), more = JOB_LONG * ten
    return f4_set(minute, ten, more, more)

cdef inline f4 jobs_phi(f4 usual, f4 past, f4 phi) noexcept nogil:
    """The relative variance of the usual and the past jobs together, phi being that of the usual."""
    cdef f4 both = f4_add(usual, past)
    return f4_div(f4_add(f4_mul(f4_mul(usual, usual), phi), f4_mul(f4_mul(past, past), f4_all(JOB_PHI))), f4_mul(both, both))

cdef inline void jobs_see(Jobs *j, int rate, f4 beyond) noexcept nogil:
    """The running episode has this much beyond the expected."""
    cdef uint8_t step
    cdef int lane
    for lane in range(2):
        step = job_step(f4_lane(beyond, lane))
        if step > j.peak[rate][lane]:
            j.peak[rate][lane] = step

cdef inline f4 jobs_temper(f4 nats, f4 beyond) noexcept nogil:
    """Evidence `nats`, of which `beyond` is against the expected and the past jobs together."""
    return f4_max(f4_min(nats, f4_all(JOB_WITHIN)), f4_min(nats, f4_add(beyond, f4_all(JOB_WITHIN))))

cdef inline void jobs_settle(Jobs *j, int rate, bint learn, bint young, uint32_t day, uint8_t *raised) noexcept nogil:
    """An episode is over. learn: it led to no action; young: it may teach whatever it likes, otherwise one record of the
    partner grows a day (`raised`: the last such day, modulo 256)."""
    cdef uint32_t most
    cdef bint may = raised[0] != <uint8_t>day
    cdef int lane
    for lane in range(2):
        if learn and j.peak[rate][lane] > j.record[rate][lane] and (young or may):
            most = 255 if young else j.record[rate][lane] + JOB_GROWTH
            j.record[rate][lane] = <uint8_t>(j.peak[rate][lane] if j.peak[rate][lane] < most else most)
            raised[0] = raised[0] if young else <uint8_t>day
        j.peak[rate][lane] = 0

cdef inline void jobs_excuse(Jobs *j, int rate, bint room) noexcept nogil:
    """What the running episode reached, and a quarter more where there is to be room, is past from now on."""
    cdef uint32_t peak
    cdef int lane
    for lane in range(2):
        peak = j.peak[rate][lane]
        if peak and room:
            peak += JOB_GROWTH
        if peak > j.record[rate][lane]:
            j.record[rate][lane] = <uint8_t>(peak if peak < 255 else 255)

cdef inline void jobs_merge(Jobs *into, const Jobs *other) noexcept nogil:
    """Two hosts see parts of the same job: what they remember adds."""
    cdef int rate, lane
    for rate in range(JOB_RATES):
        for lane in range(2):
            into.record[rate][lane] = job_step(job_size(into.record[rate][lane]) + job_size(other.record[rate][lane]))
            into.peak[rate][lane] = job_step(job_size(into.peak[rate][lane]) + job_size(other.peak[rate][lane]))

cdef inline void jobs_widen(Jobs *j, float factor) noexcept nogil:
    """What is remembered was a part of the job, which is so many times that."""
    cdef int rate, lane
    for rate in range(JOB_RATES):
        for lane in range(2):
            j.record[rate][lane] = job_step(job_size(j.record[rate][lane]) * factor)
            j.peak[rate][lane] = job_step(job_size(j.peak[rate][lane]) * factor)
