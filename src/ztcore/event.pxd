# What happened: one call of one partner. One cache line; the numpy dtype beside it is layout.EVENT.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    EVENT_SUSPICIOUS = 1        # a suspicious pattern was found in the raw path or query

cdef enum:                      # methods
    METHOD_GET = 0
    METHOD_HEAD = 1
    METHOD_OPTIONS = 2
    METHOD_POST = 3             # beyond it: methods that change or remove what is there
    METHOD_PUT = 4
    METHOD_PATCH = 5
    METHOD_DELETE = 6
    METHOD_OTHER = 7

cdef struct Event:
    int64_t timestamp           # ns since the epoch
    uint64_t partner            # keyed hash of (app, partner), never 0
    uint64_t endpoint           # keyed hash of method and template
    uint64_t source             # keyed hash of the address, 0: not given
    uint64_t object_id          # first id in the path, 0: none
    float latency_ms
    float request_bytes
    float response_bytes
    uint16_t status
    uint8_t method
    uint8_t flags
    uint32_t count              # this event stands for so many like it, at least 1
    uint32_t name               # 1 + offset of the partner's name record, 0: no name at hand
