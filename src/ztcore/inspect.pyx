"""What stands in the header of a state, for who only looks at it."""

from libc.stdint cimport uint64_t

from ztcore.pool cimport RECORD_FREE, RECORD_PREPARED, RECORDS, SPILLS, Record, Spill
from ztcore.table cimport Header, LAYOUT_VERSION

COUNTERS = ("events_gone", "late", "turned_away", "admitted", "evicted", "rewound", "bad_timestamp", "bad_status",
            "bad_latency_ms", "bad_request_bytes", "bad_response_bytes", "bad_count", "bad_partner", "bad_method",
            "long_names", "hashed_apps", "dropped", "takeovers", "lost")
"""Names of the header's counters, in their order."""

VERSION = LAYOUT_VERSION


def describe(block):
    """The header of a mapped state as a dict. block: a buffer of at least the header's size, of this layout."""
    cdef const unsigned char[::1] view = block
    cdef const Header *h = <const Header *>&view[0]
    cdef int i
    if <uint64_t>len(view) < sizeof(Header):
        raise ValueError(f"block has {len(view)} bytes; a header has {sizeof(Header)}")
    return {
        "version": h.version, "row_size": h.row_size, "size": h.size, "rows": h.rows, "capacity": h.capacity,
        "clock": h.clock, "boot": bytes(h.boot[:16]), "clean": bool(h.clean),
        "slots": h.slots, "keys_at": h.keys_at, "rows_at": h.rows_at,
        "counters": {COUNTERS[i]: h.counter[i] for i in range(len(COUNTERS))},
        "workers": [
            {"slot": i, "pid": h.worker[i].pid, "attached": h.worker[i].attached, "posted": h.worker[i].posted,
             "dropped": h.worker[i].dropped}
            for i in range(<int>h.slots) if h.worker[i].pid
        ],
    }


def attached(head):
    """The processes that are listed in the beginning of a file, [] where it is not of this layout or too short."""
    cdef const unsigned char[::1] view = head
    cdef const Header *h
    if <uint64_t>len(view) < sizeof(Header):
        return []
    h = <const Header *>&view[0]
    return [worker["pid"] for worker in describe(head)["workers"]] if h.version == LAYOUT_VERSION else []


def waiting(block):
    """How many events of a mapped state are posted, or coalesced, and not yet taken in."""
    cdef const unsigned char[::1] view = block
    cdef const Header *h = <const Header *>&view[0]
    cdef const Record *record
    cdef const Spill *spill
    cdef uint64_t slot, i, found = 0
    if <uint64_t>len(view) < h.size:
        raise ValueError(f"block has {len(view)} bytes; the state has {h.size}")
    for slot in range(h.slots):
        if h.worker[slot].attached == 0:        # nobody ever was there
            continue
        record = <const Record *>&view[h.records_at] + slot * RECORDS
        for i in range(RECORDS):
            if record[i].state not in (RECORD_FREE, RECORD_PREPARED):
                found += record[i].event.count
        spill = <const Spill *>&view[h.spills_at] + slot * SPILLS
        for i in range(SPILLS):
            found += spill[i].count
    return found
