"""The door to the native core: the calls that happen for every request.

    observe -> Event -> row of the table -> learning, signals, verdict, level -> Decision

Everything below this file is inline and never touches Python. What people do to partners, and
how they read them, is in engine.pyx.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.time cimport time as wall_clock
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

import sys

import numpy as np

from ztcore.layout import EVENT

from ztcore.action cimport (DECISION_MACHINE, DECISION_PINNED, action_settle, decision_due, decision_level, decision_on_route,
                            decision_score, enforced, expires)
from ztcore.admit cimport Name, TURNED_AWAY, table_enter, table_own
from ztcore.arguments cimport (Text, count_of, float_of, status_of, text_of, timestamp_of)
from ztcore.atomic cimport time_peek, word_add, word_load, word_peek, zt_likely, zt_prefetch, zt_unlikely
from ztcore.batch cimport batch
from ztcore.clean cimport event_clean, timestamp_clean
from ztcore.decision cimport CALM, Decision
from ztcore.endpoints cimport endpoint_first, endpoint_second
from ztcore.event cimport Event
from ztcore.identity cimport CachedApp, CachedPartner, identity_clear, identity_in
from ztcore.keys cimport source_key
from ztcore.lookup cimport endpoint_at, partner_at, partner_of, path_look
from ztcore.memory cimport Memory
from ztcore.names cimport names_learn
from ztcore.observe cimport observe
from ztcore.own cimport ENTERED, GONE, row_enter, row_leave, row_post, row_try
from ztcore.paths cimport Path, path_parse
from ztcore.row cimport Row
from ztcore.table cimport COUNT_BAD_PARTNER, COUNT_TURNED_AWAY, Table, clock_move, table_find
from ztcore.throttle cimport throttle_interval, throttle_left, throttle_wait
from ztcore.verdict cimport Verdict
from ztcore.times cimport SECOND_NS

cdef extern from "calls.h":
    ctypedef object (*Method "zt_method")(PyObject *self, PyObject **args, Py_ssize_t n, PyObject *names)
    bint zt_take(PyObject **args, Py_ssize_t n, PyObject *names, PyObject **known, PyObject **defaults, int all, int needed,
                 PyObject **taken)
    Method zt_answer(object type, const char *name, void *method) except *

cdef enum:
    OBSERVED = 12               # parameters of observe(),
    OBSERVED_NEEDED = 2         # of which so many have no default
    CROWDED = 32                # calls of a partner after one that somebody else takes in

cdef str _DEFAULT = "default"
cdef str _GET = "GET"

cdef inline int64_t clock_now() noexcept:
    return <int64_t>(wall_clock() * 1e9)


cdef inline void row_fetch(const Row *row) noexcept nogil:
    """The lines behind the first that every event touches."""
    zt_prefetch(row.trials)
    zt_prefetch(row.gate)
    zt_prefetch(&row.moments)


cdef Decision decide(const Table *t, Row *row, uint64_t word, const Verdict *v, int64_t now, bint take, tuple own):
    """The Decision of a row that something is known of. word: its decision; v: of this event, or NULL at a
    check."""
    cdef int level = decision_level(word)
    cdef Decision d = Decision.__new__(Decision)
    cdef int64_t until, wait
    d.level = level
    d.score = decision_score(word)
    d.enforced = enforced(&t.header.policy, word)
    d.retry_after = d.interval = 0.0
    d.remaining = -1
    d.since = row.evident
    d.own = own
    if v != NULL and v.n:
        d.whys = v.n
        memcpy(d.why, v.why, sizeof(v.why))
    else:
        d.whys = row.whys if level else 0
        memcpy(d.why, row.why, sizeof(row.why))
    if d.enforced:
        until = row.pin_until if word & DECISION_PINNED else expires(&t.header.policy, row)
        if level == 2:
            wait = throttle_wait(row, now, take)
            d.interval = throttle_interval(row) * 1e-9
            d.remaining = throttle_left(row, now)
            d.enforced = wait > 0
            d.retry_after = (wait if now + wait < until or until <= now else until - now) * 1e-9
        elif now < until < INT64_MAX:
            d.retry_after = (until - now) * 1e-9
    return d


@cython.no_gc_clear         # as Memory
cdef class Core(Memory):
    """A table of partners and what happens for every request. Made like a Memory."""

    def __dealloc__(self):
        identity_clear(identity_in(&self.identity))

    def partner_key(self, partner, app=_DEFAULT):
        """The 64-bit key of a partner, as in EVENT and ROW; 0 for an empty name."""
        cdef CachedApp *entry
        cdef Text text
        cdef uint64_t key
        partner_of(self, partner, app, &entry, &text, &key)
        return key

    def endpoint_key(self, endpoint, method=_GET):
        """The 64-bit key of an endpoint's method and template."""
        cdef Event e
        endpoint_at(self, &e, endpoint, method)
        return e.endpoint

    def source_key(self, source):
        """The 64-bit key of a source address."""
        cdef Text text
        alive = text_of(source, "source", &text)
        return source_key(&self.key, text.data, text.size)

    # -- the hot path ----------------------------------------------------------------------

    @cython.final
    cdef int enter(self, object partner, object app, const Event *e, Row **row) except? -1:
        """What became of an event whose row is not known, or was another partner's."""
        cdef CachedApp *entry
        cdef Text text
        cdef Name name
        cdef uint64_t key
        alive = partner_of(self, partner, app, &entry, &text, &key)
        name.partner = text.data
        name.length = <uint32_t>text.size
        name.app = <uint16_t>entry.index
        return table_enter(&self.table, e, &name, row)

    @cython.binding(False)
    def observe(self, partner, endpoint, method=_GET, status=200, latency_ms=0.0, request_bytes=0,
                response_bytes=0, source=None, app=_DEFAULT, timestamp=None, count=1, path=None):
        """Take in one event and return the Decision it leads to.

        partner, app: who, up to 64 and 47 bytes are kept as text; endpoint: raw path or route
        template; method: "GET" ..; status: 100..599; latency_ms; request_bytes, response_bytes;
        source: address, kept as a keyed hash; timestamp: seconds since the epoch, None: now;
        count: how many such events this one stands for; path: the raw path and query where
        endpoint is a route's template, for object ids and suspicious patterns. Values that cannot
        be used are counted in stats(); a wrong type raises TypeError.
        """
        cdef PyObject *given[OBSERVED]
        given[:] = [<PyObject *>partner, <PyObject *>endpoint, <PyObject *>method, <PyObject *>status, <PyObject *>latency_ms,
                    <PyObject *>request_bytes, <PyObject *>response_bytes, <PyObject *>source, <PyObject *>app,
                    <PyObject *>timestamp, <PyObject *>count, <PyObject *>path]
        return observe_call(self, given, OBSERVED, NULL)

    @cython.final
    cdef inline uint64_t in_force(self, object partner, object app, object timestamp, Row **found, int64_t *now) except? 1:
        """The decision word of a partner, what fell due by time done; 0 where nothing is in force. Sets its row and the time
        where something is."""
        cdef CachedPartner *who = partner_at(self, partner, app)
        cdef const Table *t = &self.table
        cdef uint64_t key, word
        cdef Row *row
        key = who.key
        row = who.row
        while True:
            if zt_unlikely(row == NULL or word_peek(&row.key) != key):
                row = who.row = table_find(t, key) if key else NULL
                if row == NULL:
                    if timestamp is not None:
                        timestamp_of(timestamp, "timestamp")
                    return 0
            word = word_load(&row.decision)
            if zt_likely(word_peek(&row.key) == key):   # else it moved meanwhile
                break
        if word & DECISION_MACHINE == 0:
            if timestamp is not None:
                timestamp_of(timestamp, "timestamp")
            return 0
        if timestamp is not None:
            now[0] = timestamp_of(timestamp, "timestamp")
        else:
            now[0] = time_peek(&t.header.clock) if self.by_events else clock_now()
        if decision_due(word) and now[0] // SECOND_NS + 1 >= <int64_t>decision_due(word):
            if row_try(t, row):     # who owns it otherwise settles it
                if row.key == key:
                    action_settle(t, row, now[0])
                row_leave(t, row)
            word = word_load(&row.decision)
            if word & DECISION_MACHINE == 0:
                return 0
        found[0] = row
        return word

    @cython.binding(False)
    def check(self, partner, app=_DEFAULT, timestamp=None):
        """The Decision in force. Takes a token where a throttle is enforced. timestamp: None: now."""
        return self.checked(partner, app, timestamp)

    # -- the same for other compiled modules: no number becomes an object ---------------------------------------------

    cdef Decision checked(self, object partner, object app, object timestamp):
        cdef Row *row = NULL
        cdef int64_t now = 0
        cdef uint64_t word = self.in_force(partner, app, timestamp, &row, &now)
        return decide(&self.table, row, word, NULL, now, True, self.own_signals) if word else CALM

    cdef Decision observed(self, object partner, object app, object endpoint, object method, object path, object source,
                           int status, double latency_ms, long long request_bytes, long long response_bytes):
        """It is over now."""
        cdef Call c
        call_names(self, &c, partner, app, endpoint, method, source, path)
        c.e.status = <uint16_t>status if 0 <= status < 65535 else 0
        c.e.latency_ms = <float>latency_ms
        c.e.request_bytes = <float>request_bytes
        c.e.response_bytes = <float>response_bytes
        c.e.count = 1
        c.e.timestamp = clock_now()
        return call_take(self, &c, partner, app, endpoint)

    def check_route(self, partner, app=_DEFAULT, double sensitivity=1.0, int most=4, timestamp=None):
        """The same where a route has settings of its own: from alert on its level is the one that `sensitivity` times
        the score has, neither above what the partner may reach nor above `most` (0..4). A pin's is bounded by `most` alone."""
        cdef Row *row = NULL
        cdef int64_t now = 0
        cdef uint64_t word = self.in_force(partner, app, timestamp, &row, &now)
        if word == 0:
            return CALM
        word = decision_on_route(&self.table.header.policy, word, row.max_action, <float>sensitivity, most)
        return decide(&self.table, row, word, NULL, now, True, self.own_signals)

    def observe_batch(self, events, names=b"", decisions=None):
        """Take in many events without the GIL; return how many found a row.

        events: 1-d contiguous array of layout.EVENT, in time order per partner; names: records
        [length of app][app][length of partner][partner], lengths of one byte, that event["name"]
        points at (1 + offset); decisions: optional uint8 array as long as events, gets the level
        after each event, plus 128 where the level before it would have refused
        the call, were it enforced. Raises TypeError or ValueError for arrays of another kind.
        """
        cdef const unsigned char[::1] raw
        cdef const unsigned char[::1] text = names
        cdef unsigned char[::1] levels = None
        cdef const Event *e
        cdef const unsigned char *blob = &text[0] if len(text) else NULL
        cdef uint64_t blob_size = len(text)
        cdef uint64_t n, taken
        cdef uint8_t *out = NULL
        if not isinstance(events, np.ndarray) or events.dtype != EVENT:
            raise TypeError(f"events must be a numpy array of ztcore.layout.EVENT, not {getattr(events, 'dtype', type(events).__name__)}")
        if events.ndim != 1 or not events.flags.c_contiguous:
            raise ValueError("events must be one-dimensional and contiguous")
        n = len(events)
        if decisions is not None:
            levels = decisions
            if <uint64_t>len(levels) != n:
                raise ValueError(f"decisions has {len(levels)} places for {n} events")
            if n:
                out = &levels[0]
        if n == 0:
            return 0
        raw = events.view(np.uint8)
        e = <const Event *>&raw[0]
        with nogil:
            taken = batch(&self.table, &self.key, e, n, blob, blob_size, out, NULL, NULL)
        return taken

    @cython.final
    cdef int learn_name(self, const Event *e, object endpoint) except -1:
        """A partner met an endpoint that is new to it: its words may now be shown one day."""
        cdef Text text
        cdef Path path
        alive = text_of(endpoint, "endpoint", &text)
        path_parse(&self.key, text.data, text.size, e.method, False, &path)
        names_learn(self.table.names, self.table.me, &self.key, &path, text.data, text.size, e.method, e.partner)
        return 0

    @cython.final
    cdef Row *own(self, object partner, object app, int64_t now, bint create) except? NULL:
        """The partner's row, owned by the caller, or NULL; made where `create` asks for it."""
        cdef CachedApp *entry
        cdef Text text
        cdef Name name
        cdef Row *row
        cdef uint64_t key
        cdef bint busy
        alive = partner_of(self, partner, app, &entry, &text, &key)
        if key == 0:
            return NULL
        name.partner = text.data
        name.length = <uint32_t>text.size
        name.app = <uint16_t>entry.index
        with nogil:             # who owns the row may need the GIL, and everybody else does
            row = table_own(&self.table, key, now, &name if create else NULL, &busy)
        if busy:
            raise TimeoutError(f"partner {partner!r} is being worked on by a process that does not go on; it is "
                               "changed as soon as that process goes on or ends")
        if row == NULL and create:
            raise MemoryError(f"no row is free for partner {partner!r}: all that could hold it are under an action")
        return row


cdef struct Call:               # an event on its way to its row
    Event e
    CachedPartner *who
    unsigned char *crowded      # what remembers that somebody else is at work on the row
    bint alone                  # nobody was lately


cdef inline int call_names(Core self, Call *c, object partner, object app, object endpoint, object method, object source,
                           object path) except -1:
    """Who called what from where; the lines of the row are fetched meanwhile."""
    cdef CachedPartner *who = partner_at(self, partner, app)
    cdef Row *row = who.row
    cdef Text text
    c.who = who
    c.crowded = &self.crowded[who.key & 255]
    c.alone = c.crowded[0] == 0
    if zt_unlikely(not c.alone):    # fetching its lines would take them from who is at work on them
        c.crowded[0] -= 1
        row = NULL
    if row != NULL:
        zt_prefetch(row)
        row_fetch(row)
    c.e.partner = who.key
    c.e.object_id = 0
    c.e.flags = 0
    c.e.source = 0
    endpoint_at(self, &c.e, endpoint, method)
    if path is not None:
        path_look(self, &c.e, path)
    if row != NULL:
        zt_prefetch(&row.endpoints[endpoint_first(c.e.endpoint)])
        zt_prefetch(&row.endpoints[endpoint_second(c.e.endpoint)])
        zt_prefetch(&row.mix)
    if source is not None:
        alive = text_of(source, "source", &text)
        c.e.source = source_key(&self.key, text.data, text.size)
        if row != NULL:
            zt_prefetch(&row.sources)
            zt_prefetch(&row.sources.source[16])
    return 0


cdef inline Decision call_take(Core self, Call *c, object partner, object app, object endpoint):
    """Take in the event, all of which is known now."""
    cdef const Table *t = &self.table
    cdef Event *e = &c.e
    cdef Verdict v
    cdef Row *row = c.who.row
    cdef uint64_t word
    cdef int what = GONE
    if zt_unlikely(e.partner == 0):
        word_add(&t.header.counter[COUNT_BAD_PARTNER], 1)
        return CALM
    event_clean(t.header, e)
    if row != NULL:
        what = row_enter(t, row, e) if zt_likely(c.alone) else row_post(t, row, e, True)
        if zt_unlikely(what == ENTERED and row.key != e.partner):
            row_leave(t, row)
            what = GONE
    if zt_unlikely(what != ENTERED):
        if what == GONE:
            what = self.enter(partner, app, e, &c.who.row)
            row = c.who.row
        if what == TURNED_AWAY:
            word_add(&t.header.counter[COUNT_TURNED_AWAY], e.count)
            return CALM
        if what != ENTERED:     # its owner takes it in, or it was counted
            c.crowded[0] = CROWDED
            word = word_load(&row.decision)
            if word & DECISION_MACHINE == 0:
                return CALM
            return decide(t, row, word, NULL, e.timestamp, False, self.own_signals)
    if zt_unlikely(not c.alone):
        row_fetch(row)
    e.timestamp = timestamp_clean(t.header, e.timestamp, row.last_seen)
    observe(t, row, e, &v)
    clock_move(t, e.timestamp)
    if zt_unlikely(v.new_endpoint):
        self.learn_name(e, endpoint)
    word = row.decision         # once it is left the row may become another partner's
    row_leave(t, row)
    if zt_likely(word & DECISION_MACHINE == 0 and v.n == 0):
        return CALM
    return decide(t, row, word, &v, e.timestamp, False, self.own_signals)


cdef inline Decision core_observe(Core self, object partner, object endpoint, object method, object status, object latency_ms,
                                  object request_bytes, object response_bytes, object source, object app, object timestamp,
                                  object count, object path):
    """Core.observe()."""
    cdef Call c
    call_names(self, &c, partner, app, endpoint, method, source, path)
    c.e.status = status_of(status)
    c.e.latency_ms = float_of(latency_ms, "latency_ms")
    c.e.request_bytes = float_of(request_bytes, "request_bytes")
    c.e.response_bytes = float_of(response_bytes, "response_bytes")
    c.e.count = count_of(count)
    c.e.timestamp = clock_now() if timestamp is None else timestamp_of(timestamp, "timestamp")
    return call_take(self, &c, partner, app, endpoint)


# -- observe() without Cython's way of taking arguments, see calls.h ----------------------------------------------

cdef tuple _PARAMETERS = tuple(map(sys.intern, ("partner", "endpoint", "method", "status", "latency_ms", "request_bytes",
                                            "response_bytes", "source", "app", "timestamp", "count", "path")))
cdef tuple _DEFAULTS = (_GET, 200, 0.0, 0, 0, None, _DEFAULT, None, 1, None)
cdef PyObject *_parameter[OBSERVED]
cdef PyObject *_default[OBSERVED]

ctypedef Decision (*Borrowed)(Core self, PyObject *, PyObject *, PyObject *, PyObject *, PyObject *, PyObject *, PyObject *,
                              PyObject *, PyObject *, PyObject *, PyObject *, PyObject *)


cdef object observe_call(Core self, PyObject **args, Py_ssize_t n, PyObject *names):
    cdef PyObject *given[OBSERVED]
    if zt_unlikely(not zt_take(args, n, names, _parameter, _default, OBSERVED, OBSERVED_NEEDED, given)):
        return _usual_observe(<PyObject *>self, args, n, names)
    return (<Borrowed>core_observe)(self, given[0], given[1], given[2], given[3], given[4], given[5], given[6], given[7], given[8],
                                    given[9], given[10], given[11])


cdef void _prepare():
    cdef int i
    for i in range(OBSERVED):
        _parameter[i] = <PyObject *>_PARAMETERS[i]
        _default[i] = <PyObject *>_DEFAULTS[i - OBSERVED_NEEDED] if i >= OBSERVED_NEEDED else NULL


_prepare()
cdef Method _usual_observe = zt_answer(Core, b"observe", <void *>observe_call)
