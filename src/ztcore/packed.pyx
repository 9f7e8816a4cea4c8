"""Events to packed batches (packed.pxd), for our own client."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from ztcore.arguments cimport Text, text_of
from ztcore.paths cimport method_index

HEAD_SIZE = sizeof(PackedHead)
RECORD_SIZE = sizeof(PackedRecord)
EVENTS_MOST = 2048
"""Events of one batch."""

cdef enum:
    TEXT_MOST = 65535
    _EVENTS_MOST = 2048
    TEXTS_MOST = 4095           # of one batch, and one that only fills it

cdef extern from *:
    """
    #define AFTER_MOST 2000000000LL     /* us from the first event of a batch to any other */
    #define LAST_SECOND 9000000000.0
    #define FLOAT_MOST 3e38
    """
    const int64_t AFTER_MOST
    const double LAST_SECOND
    const double FLOAT_MOST


cdef class _Batch:
    """One datagram in the making."""

    cdef PackedRecord record[_EVENTS_MOST]
    cdef int events
    cdef int64_t base
    cdef dict known             # texts to their numbers
    cdef list texts
    cdef Py_ssize_t texts_size

    def __cinit__(self):
        self.known = {}
        self.texts = []

    cdef int number(self, object text) except -1:
        """The text's number, which it is given where it has none."""
        cdef Text raw
        cdef object found = self.known.get(text)
        if found is not None:
            return <int>found
        alive = text_of(text, "a name", &raw)
        if raw.size == 0 or raw.size > TEXT_MOST:
            raise ValueError(f"a text of {raw.size} bytes; allowed are 1 to {TEXT_MOST:,}")
        encoded = (<const char *>raw.data)[:raw.size]
        self.texts.append(raw.size.to_bytes(2, "little") + encoded)
        self.texts_size += 2 + raw.size
        self.known[text] = len(self.texts)
        return <int>len(self.texts)

    cdef bytes end(self, Py_ssize_t size):
        """The datagram; what comes next is another one. size: what it is filled up to with a text that nothing refers to; at least
        2 more than it has, or 0."""
        cdef PackedHead head
        cdef Py_ssize_t rest = size - sizeof(PackedHead) - self.events * sizeof(PackedRecord) - self.texts_size - 2
        if size:
            self.texts.append(rest.to_bytes(2, "little") + bytes(rest))
        head.ours = OURS
        head.kind = PACKED_KIND
        head.version = PACKED_VERSION
        head.unused = 0
        head.events = <uint16_t>self.events
        head.texts = <uint16_t>len(self.texts)
        head.base = self.base
        whole = ((<const char *>&head)[:sizeof(PackedHead)] + (<const char *>self.record)[:self.events * sizeof(PackedRecord)]
                 + b"".join(self.texts))
        self.events = 0
        self.known = {}
        self.texts = []
        self.texts_size = 0
        return whole


cdef int fill(_Batch b, PackedRecord *r, tuple event, object app, int64_t at) except -1:
    """A record of an event. Raises TypeError, ValueError, OverflowError for what cannot be sent."""
    cdef Text method
    partner, endpoint, verb, status, latency, request, response, source, _, count = event
    r.app = <uint16_t>b.number(app)
    r.partner = <uint16_t>b.number(partner)
    r.endpoint = <uint16_t>b.number(endpoint)
    r.source = <uint16_t>b.number(source) if source else 0
    alive = text_of(verb, "method", &method)
    r.method = <uint8_t>method_index(method.data, method.size)
    r.unused = 0
    r.status = <uint16_t><int>status
    r.count = <uint32_t>count
    r.latency_ms = amount(latency)
    r.request_bytes = amount(request)
    r.response_bytes = amount(response)
    if not 100 <= <int>status <= 599:
        raise ValueError(f"status is {status}; allowed is a whole number from 100 to 599")
    if r.count == 0:
        raise ValueError("count is 0; allowed is a whole number from 1 to 4294967295")
    r.after = <int32_t>(at - b.base)
    return 0


cdef float amount(object value) except -1.0:
    cdef double x = value
    if not 0.0 <= x <= FLOAT_MOST:
        raise ValueError(f"an amount is {x!r}; allowed is a number that is not negative")
    return <float>x


def pack(list events, str app not None, Py_ssize_t most, bint alike=False):
    """Batches of at most `most` bytes, each a datagram, and how many events could not be packed. alike: all but the last one have
    exactly so many bytes, as those must that are sent together (UDP_SEGMENT).

    events: tuples (partner, endpoint, method, status, latency_ms, request_bytes, response_bytes, source, timestamp in s,
    count) as TelemetryClient.record() takes them; one that holds anything else is left out and counted.
    """
    cdef list made = []
    cdef Py_ssize_t room = most - 2 if alike else most, size = most if alike else 0
    cdef _Batch b = _Batch()
    cdef PackedRecord record
    cdef Py_ssize_t before_size
    cdef int64_t at
    cdef double seconds
    cdef int tries
    cdef Py_ssize_t bad = 0, known
    for event in events:
        for tries in range(2):
            known = len(b.texts)
            before_size = b.texts_size
            try:
                if not isinstance(event, tuple) or len(<tuple>event) != 10:
                    raise TypeError("an event is a tuple of ten values")
                seconds = event[8]
                if not 0.0 < seconds < LAST_SECOND:
                    raise ValueError(f"timestamp is {seconds!r}; allowed are seconds since 1970")
                at = <int64_t>(seconds * 1e6)
                if b.events == 0:
                    b.base = at
                if b.events == _EVENTS_MOST or not -AFTER_MOST < at - b.base < AFTER_MOST:
                    made.append(b.end(size))
                    continue
                fill(b, &record, event, app, at)
            except Exception:
                take_back(b, known, before_size)
                bad += 1
                break
            if (len(b.texts) <= TEXTS_MOST
                    and sizeof(PackedHead) + (b.events + 1) * sizeof(PackedRecord) + b.texts_size <= <size_t>room):
                b.record[b.events] = record
                b.events += 1
                break
            take_back(b, known, before_size)
            if b.events == 0:
                bad += 1        # it does not even fit alone
                break
            made.append(b.end(size))
    if b.events:
        made.append(b.end(0))
    return made, bad


cdef int take_back(_Batch b, Py_ssize_t known, Py_ssize_t size) except -1:
    """Forget texts that only an event brought which is not sent."""
    del b.texts[known:]
    b.texts_size = size
    b.known = {text: number for text, number in b.known.items() if number <= known}
    return 0
