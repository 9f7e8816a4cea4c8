"""Where a table lives: memory of one process, or a file that all workers of a host map.

A shared one is left by detach(), by the end of the process, or by being forgotten; a thread outside the
GIL (janitor.pxd) puts in order what others left. A forked child becomes a process of its own.
"""

cimport cython
from cpython.time cimport time as wall_clock
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

import mmap
import os
import weakref

from ztcore import custom, statefile

from ztcore.atomic cimport word_store
from ztcore.block cimport block_attach, block_init, block_plan
from ztcore.custom cimport CustomCall
from ztcore.event cimport Event
from ztcore.janitor cimport (fork_unwatch, fork_watch, janitor_adopt, janitor_run, janitor_settle, janitor_spill,
                             map_apart, private_forked, thread_join, thread_start)
from ztcore.keys cimport sip_key_load
from ztcore.pool cimport SLOTS
from ztcore.row cimport Row
from ztcore.table cimport Header, LAYOUT_VERSION
from ztcore.word cimport OWNER_SHIFT

cdef extern from "<unistd.h>" nogil:
    int getpid()
    int close(int fd)

cdef enum:
    SEGMENTS = 4096             # path segments whose text may be kept

cdef extern from *:
    """
    #define NOBODY (1023ULL << 54)      /* a tag that no slot has */
    """
    const uint64_t NOBODY

_memories = weakref.WeakSet()


def _forked():
    for memory in list(_memories):
        memory.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


POPULATE_WRITE = 23                 # MADV_POPULATE_WRITE, Linux 5.14


def anonymous(size, huge):
    """Zeroed memory of this process. huge: on huge pages where the system has them, all of it taken
    now, so that no first event waits for a page."""
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size)
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if huge:
        for advice in (getattr(mmap, "MADV_HUGEPAGE", None), POPULATE_WRITE):
            try:
                if advice is not None:
                    block.madvise(advice)
            except OSError:
                pass                # not on this kernel; only slower
    return block


cdef uint32_t python_signal(const Event *e, void *state, void *own) noexcept with gil:
    """A signal of the user's own where numba is not installed."""
    cdef char *event = <char *>e
    cdef char *kept = <char *>state
    signal = <object><PyObject *>own
    return signal.run(<char[:sizeof(Event)]>event, <char[:signal.size or 1]>kept)


@cython.no_gc_clear         # the janitor needs the mapping until __dealloc__ has ended it
cdef class Memory:
    """A fixed-size table of partners and all that is known of them.

    capacity: how many partners are remembered at once (1..16,777,216); memory is reserved for all
    of them and used as they come. hash_key: 16 bytes that key every hash; None draws one. huge_pages:
    take all memory at the start, on huge pages: a tenth faster with a thousand partners and more.
    state: a file that other processes attach to as well; None: memory of this process alone. signals: of the
    user's own, see custom.Signal. Raises
    ValueError for what is out of range, MemoryError where there is not enough memory, StateError where the
    file cannot be used.
    """

    def __cinit__(self, capacity=65536, hash_key=None, huge_pages=False, state=None, signals=(), **settings):
        self.lock = -1
        if not isinstance(capacity, int) or not 1 <= capacity <= 1 << 24:
            raise ValueError(f"capacity is {capacity!r}; allowed is a whole number from 1 to {1 << 24}")
        if hash_key is not None and (not isinstance(hash_key, bytes) or len(hash_key) != 16):
            raise ValueError("hash_key must be 16 bytes")
        self.signals = custom.signals(signals)
        self.own_signals = tuple(signal.name for signal in self.signals)
        self.capacity = capacity
        self.state = None if state is None else os.path.abspath(state)
        self.take_signals()
        if state is None:
            self.take_memory(hash_key, huge_pages)
        else:
            self.attach(hash_key)
        _memories.add(self)

    cdef int take_signals(self) except -1:
        """Where the core calls the user's own signals."""
        cdef size_t address
        cdef int i
        self.table.custom.n = len(self.signals)
        for i, at in enumerate(custom.places(self.signals)):
            address = self.signals[i].address()
            self.table.custom.at[i] = at
            self.table.custom.call[i] = <CustomCall><void *>address if address else python_signal
            self.table.custom.own[i] = <void *><PyObject *>self.signals[i]
        return 0

    cdef int take_memory(self, object hash_key, bint huge_pages) except -1:
        """Private memory."""
        cdef Header plan
        memset(&plan, 0, sizeof(plan))
        block_plan(&plan, self.capacity, SEGMENTS, 0)
        try:
            self.block = anonymous(plan.size, huge_pages)
        except OSError as error:
            raise MemoryError(f"{plan.size:,} bytes for capacity={self.capacity:,}: {error}") from error
        self.make(self.block, os.urandom(16) if hash_key is None else hash_key, 0)
        self.settle_in(0)
        return 0

    cdef int attach(self, object hash_key) except -1:
        """Memory that other processes have too."""
        cdef Header plan
        memset(&plan, 0, sizeof(plan))
        block_plan(&plan, self.capacity, SEGMENTS, SLOTS)
        wanted = statefile.Wanted(LAYOUT_VERSION, sizeof(Row), plan.size, self.capacity, hash_key, custom.fingerprint(self.signals))
        key = os.urandom(16) if hash_key is None else hash_key
        found = statefile.attach(self.state, wanted, lambda block: self.make(block, key, SLOTS))
        self.block = found.block
        self.lock = found.lock
        self.places = found.places
        self.settle_in(found.slot)
        return 0

    def make(self, block, bytes hash_key, uint64_t slots):
        """Write the header into new memory."""
        cdef Header plan
        cdef unsigned char[::1] view = block
        cdef Header *header = <Header *>&view[0]
        memset(&plan, 0, sizeof(plan))
        block_plan(&plan, self.capacity, SEGMENTS, slots)
        block_init(header, &plan, SEGMENTS)
        memcpy(header.hash_key, <const char *>hash_key, 16)
        of_signals = custom.fingerprint(self.signals)
        memcpy(header.signals, <const char *>of_signals, 16)

    cdef int settle_in(self, uint64_t slot) except -1:
        """Be the process of that slot: put in order what an earlier one left there, start the janitor."""
        cdef unsigned char[::1] view = self.block
        cdef Header *header = <Header *>&view[0]
        block_attach(&self.table, header, slot)
        sip_key_load(&self.key, header.hash_key)
        self.slot = slot
        if not self.table.shared:
            return 0
        with nogil:
            janitor_settle(&self.table, slot)
            word_store(&self.table.worker.pid, getpid())
            fork_watch(self.lock)
        self.table.worker.attached = <uint64_t>(wall_clock() * 1e9)
        self.janitor.table = self.table
        self.janitor.lock = self.lock
        self.janitor.slot = slot
        self.janitor.stop = 0
        self.janitor.running = thread_start(&self.janitor.thread, janitor_run, &self.janitor)
        return 0

    def forked(self):
        """In a forked child: be a process of one's own."""
        cdef uint64_t slot = (self.slot + 1) % 1000
        self.janitor.running = False
        if not self.table.shared:
            self.table.me = (slot + 1) << OWNER_SHIFT
            self.slot = slot
            private_forked(&self.table)
            return
        try:
            self.lock, slot = statefile.attach_again(self.state, self.places[1])
            self.settle_in(slot)
        except statefile.StateError as error:
            self.part()
            statefile.log.error("a forked process cannot attach to %s and goes on with a copy of its own: %s",
                                self.state, error)

    cdef int part(self) except -1:
        """Go on alone, with a copy of the state as it is: nothing that is done from now on reaches the others."""
        cdef bytes path = os.fsencode(self.state)
        self.lock = -1
        self.table.me = NOBODY          # where there is no copy to be had, the file is nobody else's any more
        if map_apart(self.table.header, self.table.header.size, path, self.places[0]):
            self.slot = SLOTS
            self.table.me = (self.slot + 1) << OWNER_SHIFT
            self.table.shared = False
            private_forked(&self.table)
        return 0

    def detach(self):
        """Leave a shared state; the last one to do so marks the file as whole. Who goes on calling has a copy of its
        own. Without a shared state nothing happens."""
        if self.lock < 0:
            return
        self.end_janitor()
        with nogil:
            janitor_adopt(&self.table)
            if not janitor_spill(&self.table, self.slot, True):
                word_store(&self.table.worker.left, 1)
        word_store(&self.table.worker.pid, 0)
        statefile.leave(self.state, self.block, self.lock, self.slot)
        lock = self.lock
        self.part()                     # before the slot can be somebody else's
        fork_unwatch(lock)
        os.close(lock)

    cdef void end_janitor(self) noexcept:
        if self.janitor.running:
            word_store(&self.janitor.stop, 1)
            with nogil:
                thread_join(self.janitor.thread)
            self.janitor.running = False

    def __dealloc__(self):
        self.end_janitor()
        if self.lock >= 0:
            word_store(&self.table.worker.left, 1)
            word_store(&self.table.worker.pid, 0)
            fork_unwatch(self.lock)
            close(self.lock)
