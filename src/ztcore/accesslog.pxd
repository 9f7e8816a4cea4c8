from libc.stdint cimport int64_t, uint32_t, uint64_t

from ztcore.clf cimport LINE_KINDS, LINE_MOST, Line
from ztcore.clftime cimport ClfTime
from ztcore.event cimport Event
from ztcore.hash cimport SipKey
from ztcore.learner cimport Learner

cdef enum:
    CLIENTS = 4096              # that are remembered between lines
    CLIENT_WAYS = 8
    EVENTS_MOST = 16384         # of one call
    BAD_MOST = 10               # broken lines that are told one by one

cdef enum:                      # who is the partner
    BY_CLIENT = 0
    BY_USER = 1
    BY_HOST = 2

cdef struct Client:             # what a partner was found to be
    uint64_t seen               # key of the address or of the name, 0: free
    uint64_t partner
    uint32_t name               # of its record, 1 + offset
    uint32_t call               # for which call that holds

cdef struct Bad:
    uint64_t line
    int reason

cdef struct Log:                # all of a parser that is used without the GIL
    SipKey key
    SipKey alias                # of pseudonyms
    SipKey app
    ClfTime last
    int by
    bint show
    double unit                 # ms for 1 of the last field, 0: only seconds with a point
    Learner learner
    uint32_t call
    bint inside                 # of a line that is too long
    uint64_t line               # lines begun since the start of the file
    uint64_t broken
    uint64_t reasons[LINE_KINDS]
    Bad bad[BAD_MOST]
    uint64_t bads
    unsigned char *names
    uint64_t names_size
    uint64_t names_room
    const unsigned char *app_name
    uint64_t app_size
    Event *events
    Client client[CLIENTS]
    unsigned char scratch[LINE_MOST]

cdef class AccessLogParser:
    cdef Log *log
    cdef object array           # of EVENT
    cdef object engine          # whose names are learned, kept alive
    cdef object app_bytes
    cdef unsigned char[::1] events
