# Many events in one datagram, as our own client sends them: records of fixed width, and behind them each text once. All
# numbers are little-endian.
#
#   Batch     0xc1 'z' version 0 | events (2) | texts (2) | base, us since 1970 (8)
#   Record    32 bytes each, see below
#   texts     each: length (2), UTF-8
#
# 0xc1 begins neither JSON nor msgpack nor syslog.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    OURS = 0xc1
    PACKED_KIND = 122
    PACKED_VERSION = 1

cdef struct PackedHead:
    uint8_t ours
    uint8_t kind
    uint8_t version
    uint8_t unused
    uint16_t events
    uint16_t texts
    int64_t base

cdef struct PackedRecord:
    int32_t after               # us behind base
    uint16_t app                # texts are numbered from 1
    uint16_t partner
    uint16_t endpoint
    uint16_t source             # 0: none
    uint16_t status
    uint8_t method              # as in event.pxd
    uint8_t unused
    uint32_t count
    float latency_ms
    float request_bytes
    float response_bytes
