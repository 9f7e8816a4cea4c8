"""What the caller gets to know: level, score, whether to act, and why."""

from ztcore.levels import ACTIONS, HALF_LIVES
from ztcore.reason import describe

from ztcore.verdict cimport Why

cdef tuple _ACTIONS = ACTIONS


cdef tuple reasons_of(const Why *why, int n, double since, tuple own):
    """Reasons in words, what acts by itself first, then the strongest. own: the names of the user's signals."""
    cdef int i
    cdef list out = []
    for i in range(n):
        out.append(describe(why[i].signal, why[i].nats / 64.0, why[i].k, why[i].n, why[i].p,
                            HALF_LIVES[why[i].lane], since, own))
    return tuple(out)


cdef class Decision:
    """The state of a partner after an event, or at a check. Immutable.

    level: 0..4; action: the same as ztmon.Action; score: 0..100; enforced: act on this very call;
    retry_after: seconds, 0.0 where there is nothing to wait for; interval: seconds between the calls that a throttle
    lets through, 0.0 where none is enforced; remaining: calls that it lets through at once from now on, -1 where none is
    enforced; reasons: what acts by itself first, then the strongest.
    """

    @property
    def action(self):
        return _ACTIONS[self.level]

    @property
    def reasons(self):
        return reasons_of(self.why, self.whys, self.since, self.own)

    def __repr__(self):
        return (f"Decision(action={self.action.name}, score={self.score:.1f}, enforced={self.enforced}, "
                f"retry_after={self.retry_after:.1f}, reasons={[str(r) for r in self.reasons]})")


cdef Decision CALM = Decision()
CALM.remaining = -1
