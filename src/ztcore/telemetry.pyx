"""Bodies of telemetry straight into an engine: JSON to events without a Python object for any of them.

    reader = TelemetryReader(engine)
    n = reader.take(body, earliest, latest)     # ns: time stamps outside of these are clamped and counted
    n >= 0          n events were observed; reader.noted has the Decisions of those that were not calm, by place
    ODD             reader.odd says which parts only a parser that knows everything can read: put() each of them, or
                    say what is wrong with it, then call observe()
    BROKEN, MANY    nothing was observed: the body as a whole is not what is read here, or has too many events

Everything that is accepted here msgspec accepts with the same values (ztmon.wire); the reverse is what put() is for.
"""

cimport cython
from cpython.time cimport time as wall_clock
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memset

import numpy as np

from ztcore.layout import EVENT

from ztcore.batch cimport batch
from ztcore.core cimport Core, decide
from ztcore.event cimport Event
from ztcore.fields cimport (FIELD_APP, FIELD_COUNT, FIELD_ENDPOINT, FIELD_LATENCY, FIELD_METHOD, FIELD_PARTNER, FIELD_REQUEST,
                            FIELD_RESPONSE, FIELD_SOURCE, FIELD_STATUS, FIELD_TIMESTAMP, Telemetry, telemetry_number,
                            telemetry_start, telemetry_text)
from ztcore.habit cimport Habit
from ztcore.json cimport Json, json_blank, json_is, json_past
from ztcore.jsonread cimport json_event
from ztcore.keys cimport app_hash
from ztcore.row cimport Row
from ztcore.verdict cimport Verdict
from ztcore.wire cimport Intake, wire_event

ODD, BROKEN, MANY = -1, -2, -3

cdef enum:
    _ODD = -1
    _BROKEN = -2
    _MANY = -3
    SHORT = 16384               # bytes that are read with the GIL held: letting go of it would cost more
    SMALLEST = 32               # bytes of an event at least: so many fit a body, whatever is in it


cdef struct Part:               # of a body, that was not understood
    uint64_t place
    uint64_t start
    uint64_t end


cdef struct Batch:
    Event *events               # by place; partner 0: not read
    uint64_t n                  # places so far
    uint64_t most
    Part *odd
    uint64_t n_odd
    uint64_t odd_room
    unsigned char *scratch      # for a part's texts: each is used up before the next is read
    Habit *habit


cdef inline int part_odd(Batch *b, const unsigned char *body, const unsigned char *start, const unsigned char *end) noexcept nogil:
    """Put a place aside."""
    if b.n >= b.most or b.n_odd >= b.odd_room:
        return _MANY
    memset(b.events + b.n, 0, sizeof(Event))
    b.odd[b.n_odd].place = b.n
    b.odd[b.n_odd].start = start - body
    b.odd[b.n_odd].end = end - body
    b.n_odd += 1
    b.n += 1
    return 0


cdef inline bint part_read(Batch *b, Json *j, Intake *intake) noexcept nogil:
    """One object to one event."""
    cdef Telemetry t
    j.scratch = b.scratch
    if json_event(j, b.habit, &t) and wire_event(intake, &t, b.events + b.n):
        b.n += 1
        return True
    return False


cdef int read_array(Batch *b, Json *j, Intake *intake, const unsigned char *body) noexcept nogil:
    """What stands behind the bracket at j.at."""
    cdef const unsigned char *start
    j.at += 1
    if json_is(j, 93):
        json_blank(j)
        return 0 if j.at == j.end else _BROKEN
    while True:
        json_blank(j)
        if b.n >= b.most:
            return _MANY
        start = j.at
        if not part_read(b, j, intake):
            j.at = start
            if not json_past(j) or j.at == start:
                return _BROKEN
            if part_odd(b, body, start, j.at):
                return _MANY
        if json_is(j, 44):
            continue
        if not json_is(j, 93):
            return _BROKEN
        json_blank(j)
        return 0 if j.at == j.end else _BROKEN


cdef int read_lines(Batch *b, Json *j, Intake *intake, const unsigned char *body) noexcept nogil:
    """One object, or one on each line."""
    cdef const unsigned char *start = j.at
    cdef const unsigned char *stop
    cdef bint alone = True
    while j.at < j.end:
        if b.n >= b.most:
            return _MANY
        start = j.at
        if part_read(b, j, intake):
            while j.at < j.end and (j.at[0] == 32 or j.at[0] == 13 or j.at[0] == 9):
                j.at += 1
            if j.at == j.end or j.at[0] == 10:
                json_blank(j)
                alone = False
                continue
            b.n -= 1                    # something follows it on its line
        j.at = start
        if alone:                       # it may be the only one, over many lines
            alone = False
            if json_past(j) and j.at > start:
                stop = j.at
                json_blank(j)
                if j.at == j.end:
                    return part_odd(b, body, start, stop)
            j.at = start
        stop = <const unsigned char *>memchr(j.at, 10, j.end - j.at)
        if stop == NULL:
            stop = j.end
        if part_odd(b, body, start, stop):
            return _MANY
        j.at = stop
        json_blank(j)
    return 0


cdef int read_body(Batch *b, Json *j, Intake *intake, const unsigned char *body) noexcept nogil:
    if j.end - j.at >= 3 and j.at[0] == 0xef and j.at[1] == 0xbb and j.at[2] == 0xbf:
        j.at += 3
    json_blank(j)
    if j.at == j.end:
        return _BROKEN
    if j.at[0] == 91:
        return read_array(b, j, intake, body)
    return read_lines(b, j, intake, body) if j.at[0] == 123 else _BROKEN


cdef class TelemetryReader:
    """Reads bodies into an engine, one after the other; not to be used by two threads at once.

    most: events of a body at most. back, ahead: ns, for take_now(). apps: names of the applications that events may be about, None: any.
    """

    cdef Core engine
    cdef Intake *intake
    cdef object _memory, _events, _odd, _names, _scratch, _allowed, _apps
    cdef Event *events
    cdef Part *parts
    cdef unsigned char *scratch
    cdef Habit habit
    cdef uint64_t room, most
    cdef uint64_t n             # places of the body at hand
    cdef public int64_t back, ahead
    cdef readonly dict noted
    cdef readonly list odd
    cdef list places            # of the events in their order, None: each is its own

    def __cinit__(self, Core engine, uint64_t most=100_000):
        cdef unsigned char[::1] view
        self.engine = engine
        self.most = most
        self._memory = np.zeros(sizeof(Intake), np.uint8)
        view = self._memory
        self.intake = <Intake *>&view[0]
        self.intake.key = engine.key
        self.intake.learner.names = engine.table.names
        self.intake.learner.me = engine.table.me
        self.noted = {}
        self.odd = []
        self._apps = None
        self.grow(1, 512)

    cdef int grow(self, uint64_t events, uint64_t size) except -1:
        """Make room for so many events and so many bytes of texts."""
        cdef unsigned char[::1] view
        if events > self.room:
            self._events = np.zeros(events, EVENT)
            view = self._events.view(np.uint8)
            self.events = <Event *>&view[0]
            self._odd = np.zeros(events * sizeof(Part), np.uint8)
            view = self._odd
            self.parts = <Part *>&view[0]
            self.room = events
        if self._names is None or 3 * size + 64 > <uint64_t>len(self._names):
            self._names = np.zeros(3 * size + 64, np.uint8)
            self._scratch = np.zeros(size + 64, np.uint8)
            view = self._names
            self.intake.names = &view[0]
            self.intake.names_room = 3 * size + 64
            view = self._scratch
            self.scratch = &view[0]
        return 0

    cdef int allow(self, object apps) except -1:
        cdef uint64_t[::1] hashes
        cdef bytes name
        cdef uint64_t i = 0
        self._apps = apps
        self.intake.allowed = NULL
        self.intake.n_allowed = 0
        if apps is None:
            return 0
        self._allowed = np.zeros(max(1, len(apps)), np.uint64)
        hashes = self._allowed
        for app in apps:
            name = app.encode("utf-8", "surrogatepass")
            hashes[i] = app_hash(&self.intake.key, name, len(name))
            i += 1
        self.intake.allowed = &hashes[0]
        self.intake.n_allowed = len(apps)
        return 0

    @property
    def clamped(self):
        """Time stamps so far that were outside of what was allowed."""
        return self.intake.clamped

    def begin(self, uint64_t size, uint64_t events, int64_t earliest, int64_t latest, apps=None):
        """A body of `size` bytes that somebody else reads: put() its events, then observe()."""
        self.grow(events if events else 1, size)
        if apps is not self._apps:
            self.allow(apps)
        self.intake.earliest = earliest
        self.intake.latest = latest
        self.intake.names_size = 0
        self.n = events
        memset(self.events, 0, events * sizeof(Event))
        self.noted = {}
        self.odd = []

    def take(self, bytes body, int64_t earliest, int64_t latest, apps=None):
        """Read a body and observe its events. How many, or ODD, BROKEN, MANY as above."""
        return self.read(body, earliest, latest, apps)

    @cython.binding(False)
    def take_now(self, bytes body, apps=None):
        """The same with time stamps from `back` before now to `ahead` (ns) after it."""
        cdef int64_t now = <int64_t>(wall_clock() * 1e9)
        return self.read(body, now - self.back, now + self.ahead, apps)

    cdef int64_t read(self, bytes body, int64_t earliest, int64_t latest, object apps) except -9:
        cdef uint64_t size = len(body), most = size // 2 + 1
        cdef const unsigned char *s = body
        cdef Batch b
        cdef Json j
        cdef Intake *intake = self.intake
        cdef int what
        cdef uint64_t i
        # events of a body that holds nothing but good ones; one that has shorter parts is given the room it asks for
        self.grow(min(self.most, size // SMALLEST + 1), size)
        if apps is not self._apps:
            self.allow(apps)
        intake.earliest = earliest
        intake.latest = latest
        if self.noted:
            self.noted = {}
        if self.odd:
            self.odd = []
        while True:
            intake.names_size = 0
            j.at = s
            j.end = s + size
            j.room = j.end
            b.events = self.events
            b.n = b.n_odd = 0
            b.most = b.odd_room = self.room if self.room < self.most else self.most
            b.odd = self.parts
            b.scratch = self.scratch
            b.habit = &self.habit
            if size > SHORT:
                with nogil:
                    what = read_body(&b, &j, intake, s)
            else:
                what = read_body(&b, &j, intake, s)
            if what == _MANY and b.most < self.most and b.most < most:
                self.grow(min(self.most, most), size)
                continue
            break
        self.n = b.n
        if what:
            return what
        if b.n_odd:
            self.odd = [(self.parts[i].place, self.parts[i].start, self.parts[i].end) for i in range(b.n_odd)]
            return _ODD
        self.places = None
        self.run(b.n, size)
        return b.n

    def put(self, uint64_t place, bytes app, bytes partner, double timestamp_ms, bytes endpoint, bytes method, int status,
            double latency_ms, double request_bytes=0.0, double response_bytes=0.0, bytes source=b"", int64_t count=1):
        """One event of the body at hand that was read elsewhere. False where the application is not allowed."""
        cdef Telemetry t
        if place >= self.n:
            raise IndexError(f"place is {place}; the body has {self.n}")
        telemetry_start(&t)
        telemetry_text(&t, FIELD_APP, app, len(app))
        telemetry_text(&t, FIELD_PARTNER, partner, len(partner))
        telemetry_text(&t, FIELD_ENDPOINT, endpoint, len(endpoint))
        telemetry_text(&t, FIELD_METHOD, method, len(method))
        telemetry_text(&t, FIELD_SOURCE, source, len(source))
        telemetry_number(&t, FIELD_TIMESTAMP, timestamp_ms, False)
        telemetry_number(&t, FIELD_STATUS, status, True)
        telemetry_number(&t, FIELD_LATENCY, latency_ms, False)
        telemetry_number(&t, FIELD_REQUEST, request_bytes, False)
        telemetry_number(&t, FIELD_RESPONSE, response_bytes, False)
        telemetry_number(&t, FIELD_COUNT, <double>count, True)
        return wire_event(self.intake, &t, self.events + place)

    def observe(self):
        """Observe what was read of the body at hand; how many events. noted: as after take()."""
        cdef uint64_t i, n = 0
        self.places = []
        for i in range(self.n):
            if self.events[i].partner:
                self.events[n] = self.events[i]
                self.places.append(i)
                n += 1
        self.run(n, SHORT + 1)
        return n

    cdef int run(self, uint64_t n, uint64_t size) except -1:
        cdef Core engine = self.engine
        cdef void *me = <void *>self
        if size > SHORT:
            with nogil:
                batch(&engine.table, &engine.key, self.events, n, self.intake.names, self.intake.names_size, NULL, note, me)
        else:
            batch(&engine.table, &engine.key, self.events, n, self.intake.names, self.intake.names_size, NULL, note, me)
        return 0


cdef void note(void *context, uint64_t i, Row *row, uint64_t word, const Verdict *v, int64_t when) noexcept with gil:
    """Keep the Decision about an event that was not calm."""
    cdef TelemetryReader reader = <TelemetryReader>context
    cdef Core engine = reader.engine
    place = i if reader.places is None else reader.places[i]
    reader.noted[place] = decide(&engine.table, row, word, v, when, False, engine.own_signals)
