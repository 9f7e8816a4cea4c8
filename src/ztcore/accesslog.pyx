"""Access logs in the common and combined format of Apache and nginx, to arrays of events.

    parser = AccessLogParser(engine.hash_key, engine=engine)
    events, names, consumed, bad = parser.parse(chunk)
    engine.observe_batch(events, names)

A chunk may end anywhere: what is behind its last line end is for the next call. Addresses leave
the parser as keyed hashes and pseudonyms only, unless they are asked for.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy

import numpy as np

from ztcore.layout import EVENT

from ztcore.clf cimport (BACKSLASH, LINE_EMPTY, LINE_GOOD, LINE_KINDS, LINE_LONG, LINE_MOST, Field, Line,
                         MINUS, line_read, unescape_field)
from ztcore.core cimport Core
from ztcore.event cimport EVENT_SUSPICIOUS, Event
from ztcore.keys cimport app_hash, app_key, partner_key, sip_key_load, source_key
from ztcore.learner cimport learner_meet
from ztcore.namerecord cimport RECORD_NAME, record_put
from ztcore.paths cimport PATH_SUSPICIOUS, Path, path_parse
from ztcore.patterns cimport patterns_found

REASONS = (
    "",
    "",
    "no client address before the time",
    "no time in brackets",
    "the time in brackets is none",
    "no request in quotes",
    "no status of three digits",
    "no number of bytes",
    "longer than 64 KiB",
)
"""Why a line is broken."""

_BY = {"client": BY_CLIENT, "user": BY_USER, "vhost": BY_HOST}
_UNITS = {"auto": 0.0, "s": 1000.0, "ms": 1.0, "us": 0.001}

cdef enum:
    RECORD_MOST = 512           # bytes of a name record
    NAMES_ROOM = 1048576
    PSEUDONYM = 15              # bytes of "client-3f9a1c2e"


cdef inline void pseudonym(uint64_t source, unsigned char *out) noexcept nogil:
    cdef int i, digit
    memcpy(out, <const char *>b"client-", 7)
    for i in range(8):
        digit = (source >> (60 - 4 * i)) & 15
        out[7 + i] = <unsigned char>(digit + (48 if digit < 10 else 87))


cdef inline Client *client_find(Log *log, uint64_t seen) noexcept nogil:
    """Its entry, or the one to take for it: free, of an older call, any."""
    cdef Client *group = log.client + (seen >> 52) // CLIENT_WAYS * CLIENT_WAYS
    cdef int i, old = -1
    for i in range(CLIENT_WAYS):
        if group[i].seen == seen:
            return group + i
    for i in range(CLIENT_WAYS):
        if group[i].seen == 0:
            return group + i
        if group[i].call != log.call:
            old = i
    return group + (old if old >= 0 else <int>(seen % CLIENT_WAYS))


cdef inline uint32_t name_put(Log *log, const unsigned char *name, uint64_t size) noexcept nogil:
    """Append a record. 1 + its offset."""
    cdef uint32_t at = <uint32_t>log.names_size + 1
    log.names_size += record_put(log.names + log.names_size, log.app_name, log.app_size, name, size)
    return at


cdef inline void place_partner(Log *log, const Line *line, Event *e) noexcept nogil:
    """Who it was: e.source, e.partner, e.name."""
    cdef const Field *given = &line.client
    cdef bint named = log.show
    cdef unsigned char text[PSEUDONYM]
    cdef uint64_t seen
    cdef Client *client
    e.source = seen = source_key(&log.key, line.client.at, line.client.size)
    if log.by == BY_USER and line.user.size and not (line.user.size == 1 and line.user.at[0] == MINUS):
        given = &line.user
        named = True
    elif log.by == BY_HOST and line.host.size:
        given = &line.host
        named = True
    if given != &line.client:
        seen = partner_key(&log.app, given.at, given.size)
    client = client_find(log, seen)
    if client.seen != seen or client.call != log.call:
        if named:
            client.partner = partner_key(&log.app, given.at, given.size)
            client.name = name_put(log, given.at, given.size)
        else:
            pseudonym(source_key(&log.alias, given.at, given.size), text)
            client.partner = partner_key(&log.app, text, PSEUDONYM)
            client.name = name_put(log, text, PSEUDONYM)
        client.seen = seen
        client.call = log.call
    e.partner = client.partner
    e.name = client.name


cdef inline void place_path(Log *log, const Line *line, Event *e) noexcept nogil:
    """Where to: e.endpoint, e.object_id, e.flags."""
    cdef const unsigned char *s = line.path.at
    cdef uint64_t n = line.path.size
    cdef Path path
    if n and memchr(s, BACKSLASH, n) != NULL:
        n = unescape_field(&line.path, log.scratch)
        s = log.scratch
    path_parse(&log.key, s, n, line.method, True, &path)
    e.endpoint = path.endpoint
    e.object_id = path.object_id
    e.flags = EVENT_SUSPICIOUS if path.flags & PATH_SUSPICIOUS else 0
    if n == 0 and line.request.size > 1 and patterns_found(line.request.at, line.request.size):
        e.flags = EVENT_SUSPICIOUS
    learner_meet(&log.learner, &log.key, &path, s, n, e)


cdef inline void line_event(Log *log, const Line *line, Event *e) noexcept nogil:
    e.timestamp = line.timestamp
    e.latency_ms = 0.0
    if line.latency >= 0.0:
        if line.latency_named or log.unit == 0.0:
            if line.latency_named or not line.latency_whole:
                e.latency_ms = <float>(line.latency * 1000.0)
        else:
            e.latency_ms = <float>(line.latency * log.unit)
    e.request_bytes = 0.0
    e.response_bytes = <float>line.response_bytes
    e.status = line.status
    e.method = <uint8_t>line.method
    e.count = 1
    place_partner(log, line, e)
    place_path(log, line, e)


cdef inline void line_bad(Log *log, int reason) noexcept nogil:
    log.reasons[reason] += 1
    if log.broken < BAD_MOST:
        log.bad[log.bads].line = log.line
        log.bad[log.bads].reason = reason
        log.bads += 1
    log.broken += 1


cdef uint64_t log_parse(Log *log, const unsigned char *s, uint64_t n, bint final, uint64_t *consumed) noexcept nogil:
    """Parse whole lines until the room for events or names is used up. How many events."""
    cdef const unsigned char *start = s
    cdef const unsigned char *end = s + n
    cdef const unsigned char *stop
    cdef uint64_t taken = 0
    cdef Line line
    cdef int what
    while s < end and taken < EVENTS_MOST and log.names_room - log.names_size >= RECORD_MOST:
        stop = <const unsigned char *>memchr(s, 10, end - s)
        if stop == NULL:
            if end - s > LINE_MOST and not log.inside:
                log.inside = True
                log.line += 1
                line_bad(log, LINE_LONG)
            if log.inside:
                s = end
            if s == end or not final:
                break
            stop = end
        if log.inside:
            log.inside = False
            s = stop + (stop < end)
            continue
        log.line += 1
        what = LINE_LONG if stop - s > LINE_MOST else line_read(&line, &log.last, s, stop)
        if what == LINE_GOOD:
            line_event(log, &line, log.events + taken)
            taken += 1
        elif what != LINE_EMPTY:
            line_bad(log, what)
        s = stop + (stop < end)
    consumed[0] = s - start
    return taken


cdef class AccessLogParser:
    """Lines of a log to events, a chunk at a time; no line raises.

    hash_key: 16 bytes, the engine's; pseudonym_key: the same for pseudonyms, None: hash_key. app: the application that the partners belong to, up to 255
    bytes. partner: who is the partner, "client" (address), "user" or "vhost"; a line without a user
    or host falls back to the client. show_clients: name clients by address, not by pseudonym
    ("client-3f9a1c2e"). unit: of a bare number at a line's end, "s", "ms", "us"; "auto" takes
    one with a decimal point for seconds and leaves others alone. engine: an Engine with the same
    hash_key, which then learns the names of the endpoints. Raises ValueError for other values.
    """

    def __cinit__(self, bytes hash_key, str app="default", str partner="client", bint show_clients=False,
                  str unit="auto", Core engine=None, bytes pseudonym_key=None):
        if len(hash_key) != 16:
            raise ValueError(f"hash_key is of {len(hash_key)} bytes; it must be of 16")
        if pseudonym_key is None:
            pseudonym_key = hash_key
        if len(pseudonym_key) != 16:
            raise ValueError(f"pseudonym_key is of {len(pseudonym_key)} bytes; it must be of 16")
        if partner not in _BY:
            raise ValueError(f"partner is {partner!r}; allowed are {', '.join(map(repr, _BY))}")
        if unit not in _UNITS:
            raise ValueError(f"unit is {unit!r}; allowed are {', '.join(map(repr, _UNITS))}")
        self.app_bytes = app.encode("utf-8", "surrogatepass")
        if len(self.app_bytes) > RECORD_NAME:
            raise ValueError(f"app is of {len(self.app_bytes)} bytes; it may have {RECORD_NAME}")
        self.array = np.zeros(EVENTS_MOST, EVENT)
        self.events = self.array.view(np.uint8)
        self.log = <Log *>PyMem_Calloc(1, sizeof(Log))
        if self.log == NULL:
            raise MemoryError()
        self.log.names = <unsigned char *>PyMem_Calloc(1, NAMES_ROOM)
        if self.log.names == NULL:
            raise MemoryError()
        self.log.names_room = NAMES_ROOM
        self.log.events = <Event *>&self.events[0]
        self.log.app_name = <const unsigned char *><const char *>self.app_bytes
        self.log.app_size = len(self.app_bytes)
        self.log.by = _BY[partner]
        self.log.unit = _UNITS[unit]
        self.log.show = show_clients
        sip_key_load(&self.log.key, <const unsigned char *><const char *>hash_key)
        sip_key_load(&self.log.alias, <const unsigned char *><const char *>pseudonym_key)
        app_key(&self.log.key, app_hash(&self.log.key, self.log.app_name, self.log.app_size), &self.log.app)
        if engine is not None:
            if engine.key.k0 != self.log.key.k0 or engine.key.k1 != self.log.key.k1:
                raise ValueError("engine has another hash_key")
            self.engine = engine
            self.log.learner.names = engine.table.names
            self.log.learner.me = engine.table.me

    def __dealloc__(self):
        if self.log != NULL:
            PyMem_Free(self.log.names)
            PyMem_Free(self.log)

    def parse(self, chunk, bint final=False):
        """Parse the lines in a chunk, up to 16,384 of them; the GIL is released.

        chunk: bytes or another contiguous buffer; final: there is nothing behind it, so that the
        last line needs no line end. Returns (events, names, consumed, bad). events: array of
        layout.EVENT, valid until the next call; names: what their "name" refers to; consumed: bytes
        that are done with: call again with what is left, together with more where consumed is 0;
        bad: (line number, reason) of broken lines, of the first ten of the file only.
        """
        cdef const unsigned char[::1] view = chunk
        cdef Log *log = self.log
        cdef const unsigned char *s
        cdef uint64_t n = view.shape[0], taken, consumed = 0, i
        log.call += 1
        log.bads = 0
        log.names_size = 0
        if n == 0:
            return self.array[:0], b"", 0, []
        s = &view[0]
        with nogil:
            taken = log_parse(log, s, n, final, &consumed)
        bad = [(log.bad[i].line, REASONS[log.bad[i].reason]) for i in range(log.bads)]
        return self.array[:taken], log.names[:log.names_size], consumed, bad

    def new_file(self):
        """What comes next is the start of another file: lines count from 1 again, broken ones too."""
        cdef int i
        self.log.line = self.log.broken = 0
        self.log.inside = False
        for i in range(LINE_KINDS):
            self.log.reasons[i] = 0

    @property
    def lines(self):
        """Lines read since the start of the file, broken and empty ones too."""
        return self.log.line

    @property
    def broken(self):
        """Broken lines since the start of the file."""
        return self.log.broken

    @property
    def reasons(self):
        """Broken lines since the start of the file, by reason."""
        return {REASONS[i]: self.log.reasons[i] for i in range(LINE_KINDS) if self.log.reasons[i]}
