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

import numpy as np

from ztcore.layout import EVENT

from ztcore.action cimport (DECISION_MACHINE, DECISION_PINNED, action_settle, decision_due, decision_level, decision_on_route,
                            decision_score, enforced, expires)
from ztcore.admit cimport Name, TURNED_AWAY, app_index, table_enter, table_own
from ztcore.arguments cimport (Text, count_of, float_of, status_of, text_of, timestamp_of)
from ztcore.atomic cimport word_add, word_load, word_peek, zt_likely, zt_prefetch, zt_unlikely
from ztcore.batch cimport batch
from ztcore.clean cimport event_clean, timestamp_clean
from ztcore.decision cimport CALM, Decision
from ztcore.endpoints cimport endpoint_first, endpoint_second
from ztcore.event cimport EVENT_SUSPICIOUS, Event
from ztcore.identity cimport (CachedApp, CachedEndpoint, CachedPartner, identity_app, identity_clear, identity_endpoint,
                              identity_endpoints, identity_keep_app, identity_keep_endpoint,
                              identity_keep_partner, identity_partner, identity_partners)
from ztcore.keys cimport app_hash, app_key, partner_key, source_key
from ztcore.memory cimport Memory
from ztcore.names cimport names_learn
from ztcore.observe cimport observe
from ztcore.own cimport ENTERED, GONE, row_enter, row_leave, row_post, row_try
from ztcore.paths cimport PATH_HAS_ID, PATH_SUSPICIOUS, Path, method_index, path_parse
from ztcore.row cimport Row
from ztcore.table cimport COUNT_BAD_PARTNER, COUNT_TURNED_AWAY, Table, clock_move, table_find
from ztcore.throttle cimport throttle_interval, throttle_wait
from ztcore.verdict cimport Verdict
from ztcore.times cimport SECOND_NS

cdef extern from "Python.h":
    object PyUnicode_FromObject(object text)

cdef enum:
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
    cdef int64_t until
    d.level = level
    d.score = decision_score(word)
    d.enforced = enforced(&t.header.policy, word)
    d.retry_after = d.interval = 0.0
    d.since = row.evident
    d.own = own
    if v != NULL and v.n:
        d.whys = v.n
        memcpy(d.why, v.why, sizeof(v.why))
    else:
        d.whys = row.whys if level else 0
        memcpy(d.why, row.why, sizeof(row.why))
    if d.enforced:
        if level == 2:
            d.interval = throttle_interval(row) * 1e-9
            d.retry_after = throttle_wait(row, now, take) * 1e-9
            d.enforced = d.retry_after > 0.0
        else:
            until = row.pin_until if word & DECISION_PINNED else expires(&t.header.policy, row)
            if now < until < INT64_MAX:
                d.retry_after = (until - now) * 1e-9
    return d


@cython.no_gc_clear         # as Memory
cdef class Core(Memory):
    """A table of partners and what happens for every request. Made like a Memory."""

    def __dealloc__(self):
        identity_clear(&self.identity)

    # -- who and where ---------------------------------------------------------------------

    @cython.final
    cdef CachedApp *app_of(self, object app) except NULL:
        """The application's keys; looked up by identity first."""
        cdef CachedApp *entry = identity_app(&self.identity, <PyObject *>app)
        cdef Text text
        if entry.text == <PyObject *>app:
            return entry
        alive = text_of(app, "app", &text)
        entry.hash = app_hash(&self.key, text.data, text.size)
        app_key(&self.key, entry.hash, &entry.key)
        entry.index = app_index(&self.table, entry.hash, text.data, text.size)
        plain = PyUnicode_FromObject(app)
        identity_keep_app(entry, <PyObject *>plain)
        return entry

    @cython.final
    cdef object partner_of(self, object partner, object app, CachedApp **entry, Text *text, uint64_t *key):
        """The partner's key, 0 for an empty name. Returns what keeps `text` alive."""
        entry[0] = self.app_of(app)
        alive = text_of(partner, "partner", text)
        key[0] = partner_key(&entry[0].key, text.data, text.size) if text.size else 0
        return alive

    @cython.final
    cdef inline CachedPartner *partner(self, object partner, object app) except NULL:
        """The key of a pair of names and where its row was; looked up by identity first."""
        cdef CachedPartner *two = identity_partners(&self.identity, <PyObject *>partner, <PyObject *>app)
        cdef CachedPartner *found = identity_partner(two, <PyObject *>partner, <PyObject *>app)
        return found if zt_likely(found != NULL) else self.partner_new(two, partner, app)

    @cython.final
    cdef CachedPartner *partner_new(self, CachedPartner *two, object partner, object app) except NULL:
        """The same by the names themselves, which are remembered. Of a subclass of str a plain copy is: the object
        itself could refer back to this one."""
        cdef CachedPartner new
        cdef CachedApp *at
        cdef Text text
        self.partner_of(partner, app, &at, &text, &new.key)
        new.row = table_find(&self.table, new.key) if new.key else NULL
        plain_partner = PyUnicode_FromObject(partner)
        plain_app = PyUnicode_FromObject(app)
        new.partner = <PyObject *>plain_partner
        new.app = <PyObject *>plain_app
        identity_keep_partner(two, &new)
        return two

    @cython.final
    cdef inline bint place(self, Event *e, object endpoint, object method) except -1:
        """Method, endpoint, object id and patterns; True where the path is new to the cache."""
        cdef CachedEndpoint *two = identity_endpoints(&self.identity, <PyObject *>endpoint, <PyObject *>method)
        cdef CachedEndpoint *found = identity_endpoint(two, <PyObject *>endpoint, <PyObject *>method)
        if zt_likely(found != NULL):
            e.endpoint = found.endpoint
            e.method = <uint8_t>found.index
            return False
        self.parse(e, two, endpoint, method)
        return True

    @cython.final
    cdef int parse(self, Event *e, CachedEndpoint *two, object endpoint, object method) except -1:
        """The same by reading the path; one without an id is remembered."""
        cdef CachedEndpoint new
        cdef Text text
        cdef Path path
        alive_method = text_of(method, "method", &text)
        e.method = <uint8_t>method_index(text.data, text.size)
        alive = text_of(endpoint, "endpoint", &text)
        path_parse(&self.key, text.data, text.size, e.method, True, &path)
        e.endpoint = path.endpoint
        e.object_id = path.object_id
        if path.flags & PATH_SUSPICIOUS:
            e.flags |= EVENT_SUSPICIOUS
        if path.flags & (PATH_HAS_ID | PATH_SUSPICIOUS) == 0:
            plain = PyUnicode_FromObject(endpoint)
            plain_method = PyUnicode_FromObject(method)
            new.text = <PyObject *>plain
            new.method = <PyObject *>plain_method
            new.endpoint = path.endpoint
            new.index = e.method
            identity_keep_endpoint(two, &new)
        return 0

    @cython.final
    cdef int look(self, Event *e, object path) except -1:
        """Object id and patterns of a raw path whose endpoint is known."""
        cdef Text text
        cdef Path found
        alive = text_of(path, "path", &text)
        path_parse(&self.key, text.data, text.size, e.method, True, &found)
        e.object_id = found.object_id
        if found.flags & PATH_SUSPICIOUS:
            e.flags |= EVENT_SUSPICIOUS
        return 0

    def partner_key(self, partner, app=_DEFAULT):
        """The 64-bit key of a partner, as in EVENT and ROW; 0 for an empty name."""
        cdef CachedApp *entry
        cdef Text text
        cdef uint64_t key
        self.partner_of(partner, app, &entry, &text, &key)
        return key

    def endpoint_key(self, endpoint, method=_GET):
        """The 64-bit key of an endpoint's method and template."""
        cdef Event e
        self.place(&e, endpoint, method)
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
        alive = self.partner_of(partner, app, &entry, &text, &key)
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
        cdef Event e
        cdef Verdict v
        cdef CachedPartner *who = self.partner(partner, app)
        cdef const Table *t = &self.table
        cdef Row *row = who.row
        cdef uint64_t word
        cdef Text text
        cdef int what
        cdef unsigned char *crowded = &self.crowded[who.key & 255]
        cdef bint alone = crowded[0] == 0
        if zt_unlikely(not alone):      # fetching its lines would take them from who is at work on them
            crowded[0] -= 1
            row = NULL
        if row != NULL:
            zt_prefetch(row)
            row_fetch(row)
        e.partner = who.key
        e.object_id = 0
        e.flags = 0
        e.source = 0
        self.place(&e, endpoint, method)
        if path is not None:
            self.look(&e, path)
        if row != NULL:
            zt_prefetch(&row.endpoints[endpoint_first(e.endpoint)])
            zt_prefetch(&row.endpoints[endpoint_second(e.endpoint)])
            zt_prefetch(&row.mix)
        if source is not None:
            alive = text_of(source, "source", &text)
            e.source = source_key(&self.key, text.data, text.size)
            if row != NULL:
                zt_prefetch(&row.sources)
                zt_prefetch(&row.sources.source[16])
        e.status = status_of(status)
        e.latency_ms = float_of(latency_ms, "latency_ms")
        e.request_bytes = float_of(request_bytes, "request_bytes")
        e.response_bytes = float_of(response_bytes, "response_bytes")
        e.count = count_of(count)
        e.timestamp = clock_now() if timestamp is None else timestamp_of(timestamp, "timestamp")
        if zt_unlikely(e.partner == 0):
            word_add(&t.header.counter[COUNT_BAD_PARTNER], 1)
            return CALM
        event_clean(t.header, &e)
        what = GONE
        row = who.row
        if row != NULL:
            what = row_enter(t, row, &e) if zt_likely(alone) else row_post(t, row, &e, True)
            if zt_unlikely(what == ENTERED and row.key != e.partner):
                row_leave(t, row)
                what = GONE
        if zt_unlikely(what != ENTERED):
            if what == GONE:
                what = self.enter(partner, app, &e, &who.row)
                row = who.row
            if what == TURNED_AWAY:
                word_add(&t.header.counter[COUNT_TURNED_AWAY], e.count)
                return CALM
            if what != ENTERED:     # its owner takes it in, or it was counted
                crowded[0] = CROWDED
                word = word_load(&row.decision)
                if word & DECISION_MACHINE == 0:
                    return CALM
                return decide(t, row, word, NULL, e.timestamp, False, self.own_signals)
        if zt_unlikely(not alone):
            row_fetch(row)
        e.timestamp = timestamp_clean(t.header, e.timestamp, row.last_seen)
        observe(t, row, &e, &v)
        clock_move(t, e.timestamp)
        if zt_unlikely(v.new_endpoint):
            self.learn_name(&e, endpoint)
        word = row.decision         # once it is left the row may become another partner's
        row_leave(t, row)
        if zt_likely(word & DECISION_MACHINE == 0 and v.n == 0):
            return CALM
        return decide(t, row, word, &v, e.timestamp, False, self.own_signals)

    @cython.final
    cdef inline uint64_t in_force(self, object partner, object app, object timestamp, Row **found, int64_t *now) except? 1:
        """The decision word of a partner, what fell due by time done; 0 where nothing is in force. Sets its row and the time
        where something is."""
        cdef CachedPartner *who = self.partner(partner, app)
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
        now[0] = clock_now() if timestamp is None else timestamp_of(timestamp, "timestamp")
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
        cdef Row *row = NULL
        cdef int64_t now = 0
        cdef uint64_t word = self.in_force(partner, app, timestamp, &row, &now)
        return decide(&self.table, row, word, NULL, now, True, self.own_signals) if word else CALM

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
        alive = self.partner_of(partner, app, &entry, &text, &key)
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
