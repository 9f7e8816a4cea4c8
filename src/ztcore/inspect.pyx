"""What stands in the header of a state, for who only looks at it."""

from libc.stdint cimport uint64_t

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
        "occupied": h.occupied, "clock": h.clock, "boot": bytes(h.boot[:16]), "clean": bool(h.clean),
        "slots": h.slots, "keys_at": h.keys_at, "rows_at": h.rows_at,
        "counters": {COUNTERS[i]: h.counter[i] for i in range(len(COUNTERS))},
        "workers": [
            {"slot": i, "pid": h.worker[i].pid, "attached": h.worker[i].attached, "posted": h.worker[i].posted,
             "dropped": h.worker[i].dropped}
            for i in range(<int>h.slots) if h.worker[i].pid
        ],
    }
