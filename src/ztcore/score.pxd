# Evidence to score: 0 at 0 nats, the thresholds of the levels at 6, 8, 14 and 26, 100 at 60.

from ztcore.verdict cimport Verdict

cdef extern from *:
    """
    #define LOG_TRIED 3.0f              /* of the 57 signals and half-lives tried, which mostly show the same things: ln 20 */
    #define INNOCENT 1.0f               /* nats less of what innocent changes cause, where nothing else is there */
    #define CORROBORATED 8.0f           /* nats that it can lend to what corroborates it */
    #define NO_ALERT 5.9f               /* and what does not even do that by itself: ids, focus */
    #define CERTAIN 15.0f               /* above 2, from which on these act by themselves */
    #define THROTTLE_ONLY 13.5f         /* nats that they, and sizes, reach at most without anything else */
    #define ALERT_ONLY 7.8f             /* nats that uncorroborated evidence reaches at most */
    static const float SCORE_NATS[6] = {0.0f, 6.0f, 8.0f, 14.0f, 26.0f, 60.0f};
    static const float SCORE_AT[6] = {0.0f, 31.0f, 61.0f, 81.0f, 96.0f, 100.0f};
    """
    const float LOG_TRIED
    const float INNOCENT
    const float ALERT_ONLY
    const float CERTAIN
    const float THROTTLE_ONLY
    const float NO_ALERT
    const float CORROBORATED
    const float SCORE_NATS[6]
    const float SCORE_AT[6]

cdef inline float score_of(float nats) noexcept nogil:
    """0..100, piecewise linear in nats."""
    cdef int i
    if not nats > 0.0:
        return 0.0
    for i in range(1, 6):
        if nats < SCORE_NATS[i]:
            return SCORE_AT[i - 1] + (SCORE_AT[i] - SCORE_AT[i - 1]) * (nats - SCORE_NATS[i - 1]) / (
                SCORE_NATS[i] - SCORE_NATS[i - 1])
    return 100.0

cdef inline float combine(Verdict *v) noexcept nogil:
    """The largest, or the sum of what each has above 2 nats if that is more, less the log of how
    many were tried; and the level that this may lead to, wherever its threshold is."""
    cdef float nats = (v.best if v.best > v.sum else v.sum) - LOG_TRIED
    cdef float most = v.corroborating + CORROBORATED
    if v.corroborating == 0.0:
        nats -= INNOCENT
    v.most = 4
    if v.corroborating < 5.0 or most < ALERT_ONLY:
        most = ALERT_ONLY
        v.most = 1
    if v.other < 3.0:
        most = NO_ALERT
        v.most = 0
    if v.group[0] > CERTAIN and most < THROTTLE_ONLY:
        most = THROTTLE_ONLY
        v.most = 2
    if v.solid < 5.0 and most > THROTTLE_ONLY:
        most = THROTTLE_ONLY
        v.most = 2
    if nats > most:
        nats = most
    return 60.0 if nats > 60.0 else nats if nats > 0.0 else 0.0     # 60 are a score of 100: more would only fade late

cdef inline int level_of(float score, const float *threshold) noexcept nogil:
    cdef int level = 4
    while level > 0 and score < threshold[level]:
        level -= 1
    return level
