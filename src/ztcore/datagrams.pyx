"""Telemetry by UDP: a loop of recvmmsg() that feeds an engine without the GIL.

    receiver = Receiver(engine)
    threading.Thread(target=receiver.run, args=(socket.fileno(),)).start()
    ...
    receiver.stop()

A datagram is one event as a JSON object or a msgpack map, the same as JSON within syslog, or a packed batch
(packed.pxd); each of them may be signed (signed.pxd).
"""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

import os

import numpy as np

from ztcore.layout import EVENT

from ztcore.atomic cimport word_load, word_store
from ztcore.core cimport Core
from ztcore.event cimport Event
from ztcore.reception cimport (DATAGRAM_MOST, EVENTS_ROOM, NAMES_ROOM, OUTCOMES, Reception, reception_at, reception_datagram,
                               reception_flush)
from ztcore.signed cimport KEY_MOST, Signatures

cdef extern from "datagrams.h" nogil:
    ctypedef struct Turn "struct zt_turn":
        pass
    void turn_make(Turn *turn, unsigned char *buffers, size_t stride, size_t size) noexcept
    int turn_receive(Turn *turn, int socket) noexcept       # how many datagrams, -1: none, and errno
    size_t turn_size(const Turn *turn, int i) noexcept
    size_t turn_step(const Turn *turn, int i) noexcept      # bytes of each datagram in it
    int turn_wait(int socket, int bell) noexcept            # 1: the bell rang

OUTCOME_NAMES = (
    "taken", "empty", "unknown_kind", "malformed", "missing_field", "wrong_field", "broken_batch", "no_json_in_syslog",
    "unsigned", "unknown_key", "forged", "stale", "replayed",
)
"""What becomes of a datagram, by name: taken, or why it was refused."""

FIELD_NAMES = ("appId", "partnerId", "endpoint", "method", "clientIp", "userAgent", "timestamp", "statusCode", "responseTime",
               "requestSize", "responseSize", "count")
"""The fields of an event, as refused datagrams are counted by them."""

if len(OUTCOME_NAMES) != OUTCOMES:
    raise ImportError("ztcore.datagrams: the package was built from two versions; reinstall it")


cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_REALTIME, &t)
    return <int64_t>t.tv_sec * 1000000000 + t.tv_nsec


cdef int receive(Reception *reception, unsigned char *buffers, int socket, int bell, const uint64_t *leave, uint64_t *calls) noexcept nogil:
    """Until it is to leave: after one turn, or when the socket is empty or what could have been in it has been taken in. 0, or
    the errno that ended it."""
    cdef Turn turn
    cdef size_t at, step, size
    cdef uint64_t asked, taken, since = 0
    cdef int i, n
    turn_make(&turn, buffers, STRIDE, DATAGRAM_MOST)
    while True:
        asked = word_load(leave)
        taken = reception.bytes + LEAST_ROOM * reception.datagrams
        if asked and since == 0:
            since = taken + 1
        elif asked and (asked == LEAVE_NOW or taken - since >= LAST_BYTES):     # after a turn, however often it is asked
            return 0
        n = turn_receive(&turn, socket)
        if n < 0:
            if errno == EINTR:
                continue
            if errno != EAGAIN:
                return errno
            if asked:
                return 0
            turn_wait(socket, bell)
            continue
        calls[0] += 1
        reception_at(reception, now_ns())
        for i in range(n):
            at = 0
            size = turn_size(&turn, i)
            step = turn_step(&turn, i)
            while True:         # one of no bytes is a datagram as well
                reception_datagram(reception, buffers + i * STRIDE + at, step if step < size - at else size - at)
                at += step
                if at >= size:
                    break
        reception_flush(reception)


@cython.no_gc_clear         # as Memory
cdef class Receiver:
    """Feeds an engine with datagrams.

    engine: an Engine; back_seconds, ahead_seconds: time stamps beyond this far from now are taken for it; keys: secrets of
    1 to 64 bytes by their numbers (0..255); with any, what is not signed by one of them is refused; window_seconds: how far
    a signature's time may be off; started: what was signed before this (s, None: now) may be a repetition. Raises ValueError for other keys.
    """

    def __cinit__(self, Core engine not None, double back_seconds=900.0, double ahead_seconds=10.0, dict keys=None,
                  double window_seconds=30.0, started=None):
        self.bell = -1
        self.engine = engine
        self.reception = <Reception *>PyMem_Calloc(1, sizeof(Reception))
        self.buffers = <unsigned char *>PyMem_Calloc(AT_ONCE, STRIDE)
        if self.reception == NULL or self.buffers == NULL:
            raise MemoryError()
        self.reception.wire.names = <unsigned char *>PyMem_Calloc(1, NAMES_ROOM)
        self.reception.events = <Event *>PyMem_Calloc(EVENTS_ROOM, sizeof(Event))
        if self.reception.wire.names == NULL or self.reception.events == NULL:
            raise MemoryError()
        self.reception.table = &engine.table
        self.reception.wire.names_room = NAMES_ROOM
        self.reception.wire.key = engine.key
        self.reception.wire.learner.names = engine.table.names
        self.reception.wire.learner.me = engine.table.me
        self.reception.signatures.window = <int64_t>(window_seconds * 1e3)
        self.reception.signatures.floor = now_ns() // 1000000 if started is None else <int64_t>(<double>started * 1e3)
        self.use(back_seconds, ahead_seconds, keys)
        self.bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def use(self, double back_seconds=900.0, double ahead_seconds=10.0, dict keys=None):
        """Have other keys and bounds from now on, those of the constructor. What came of each sender is still known. Not
        while run() runs. Raises ValueError, and then nothing changes."""
        cdef Signatures *signatures = &self.reception.signatures
        cdef bytes secret
        for number, key in (keys or {}).items():
            if not isinstance(number, int) or not 0 <= number <= 255:
                raise ValueError(f"the number of a key is {number!r}; allowed is a whole number from 0 to 255")
            if not isinstance(key, bytes) or not 1 <= len(key) <= KEY_MOST:
                raise ValueError(f"key {number} is of {len(key)} bytes; allowed are 1 to 64")
        self.reception.back = <int64_t>(back_seconds * 1e9)
        self.reception.ahead = <int64_t>(ahead_seconds * 1e9)
        memset(signatures.key, 0, sizeof(signatures.key))
        for number, key in (keys or {}).items():
            secret = key
            signatures.key[<int>number].size = len(secret)
            memcpy(signatures.key[<int>number].secret, <const char *>secret, len(secret))
        signatures.wanted = bool(keys)

    def __dealloc__(self):
        if self.bell >= 0:
            os.close(self.bell)
        if self.reception != NULL:
            PyMem_Free(self.reception.wire.names)
            PyMem_Free(self.reception.events)
            memset(&self.reception.signatures, 0, sizeof(self.reception.signatures))
            PyMem_Free(self.reception)
        PyMem_Free(self.buffers)

    def run(self, int socket):
        """Receive from a UDP socket's descriptor until stop() or pause(), which hold until settle(). Raises OSError. One
        thread at a time."""
        cdef int failed
        with nogil:
            failed = receive(self.reception, self.buffers, socket, self.bell, &self.leave, &self.calls)
        if failed:
            raise OSError(failed, os.strerror(failed))

    def settle(self):
        """Forget stop() and pause(), once run() has returned: only then has the bell surely rung."""
        word_store(&self.leave, 0)
        try:
            os.eventfd_read(self.bell)
        except BlockingIOError:
            pass

    def stop(self):
        """End run(), from any thread; what is in the socket then is taken in, however much comes meanwhile."""
        word_store(&self.leave, LEAVE_EMPTY)
        os.eventfd_write(self.bell, 1)

    def pause(self):
        """End run(), from any thread, after one turn of the loop; what is in the socket then stays there."""
        word_store(&self.leave, LEAVE_NOW)
        os.eventfd_write(self.bell, 1)

    def take(self, datagram, now=None):
        """Take in one datagram given as bytes, as if it had come at a time (s, None: now). What became of it, one of
        OUTCOME_NAMES. Not while run() runs."""
        cdef const unsigned char[::1] view = datagram
        cdef uint64_t size = view.shape[0]
        cdef int outcome
        if size > DATAGRAM_MOST:
            raise ValueError(f"a datagram of {size:,} bytes; there are none beyond 65,507")
        if size:
            memcpy(self.buffers, &view[0], size)
        reception_at(self.reception, now_ns() if now is None else <int64_t>(<double>now * 1e9))
        with nogil:
            outcome = reception_datagram(self.reception, self.buffers, size)
            reception_flush(self.reception)
        return OUTCOME_NAMES[outcome]

    def stats(self):
        """Counts since the start: datagrams, bytes, calls (of recvmmsg), events (in datagrams that were taken),
        observed (those that found a row), clamped (time stamps);
        refused: datagrams by reason; missing and wrong: those by field."""
        cdef Reception *a = self.reception
        cdef int i
        return {
            "datagrams": a.datagrams, "bytes": a.bytes, "calls": self.calls, "taken": a.outcome[0],
            "events": a.received, "observed": a.observed, "clamped": a.wire.clamped,
            "refused": {OUTCOME_NAMES[i]: a.outcome[i] for i in range(1, OUTCOMES)},
            "missing": {FIELD_NAMES[i]: a.missing[i] for i in range(12) if a.missing[i]},
            "wrong": {FIELD_NAMES[i]: a.wrong[i] for i in range(12) if a.wrong[i]},
        }
