# Endpoints that came up in the fleet: what several partners began to use at about the same time is a
# deployment (new routes, renamed routes), and new to one of them for no reason of its own.
#
# 1,024 words, each an endpoint: 20 bits of its hash | the hour it came up (16) | the first two partners who called it
# with success (14 each); both the same once there was a third. What came up in the fleet's first day was always there.
# Once several endpoints have become common within hours, what else came up since then belongs to the same deployment,
# though fewer partners use it.

from libc.stdint cimport uint32_t, uint64_t

from ztcore.atomic cimport word_peek, word_store

cdef enum:
    RELEASES = 1024
    RELEASE_HOURS = 96          # so long it is one
    FIRST_HOURS = 24
    DEPLOY_HOURS = 6
    DEPLOY_COMMON = 5           # endpoints
    HOUR_BITS = 0xffff
    PARTNER_BITS = 0x3fff

cdef extern from *:
    """
    #define RELEASE_MARK (0xfffffULL << 44)
    """
    const uint64_t RELEASE_MARK

cdef struct Releases:
    uint64_t began              # 1 + the hour of the fleet's first call, 0: none yet
    uint64_t deployed           # 1 + the hour in which the first endpoint of the latest deployment became common
    uint64_t common             # how many did since, within DEPLOY_HOURS
    uint64_t entry[RELEASES]

cdef inline uint32_t release_hour(uint64_t entry) noexcept nogil:
    return <uint32_t>(entry >> 28) & HOUR_BITS

cdef inline uint64_t *release_find(Releases *r, uint64_t endpoint) noexcept nogil:
    """Its word, or of the two it may have the emptier or older one."""
    cdef uint64_t *a = &r.entry[endpoint & (RELEASES - 1)]
    cdef uint64_t *b = &r.entry[(endpoint & (RELEASES - 1)) ^ 1]
    cdef uint64_t one = word_peek(a), two = word_peek(b)
    if (one ^ endpoint) & RELEASE_MARK == 0:
        return a
    if (two ^ endpoint) & RELEASE_MARK == 0:
        return b
    return a if one == 0 or (two and release_hour(one) < release_hour(two)) else b

cdef inline uint64_t release_meet(uint64_t entry, uint64_t partner) noexcept nogil:
    """The word after a partner's call."""
    cdef uint64_t mark = 1 + (partner >> 32) % (PARTNER_BITS - 1)
    cdef uint64_t first = entry & PARTNER_BITS, second = (entry >> 14) & PARTNER_BITS
    if first == 0:
        return entry | mark
    if first == mark or second == mark or first == second:
        return entry
    return entry | (mark << 14) if second == 0 else (entry & ~(<uint64_t>PARTNER_BITS << 14)) | (first << 14)

cdef inline bint release_common(uint64_t entry) noexcept nogil:
    return entry & PARTNER_BITS == (entry >> 14) & PARTNER_BITS and entry & PARTNER_BITS != 0

cdef inline void release_deploy(Releases *r, uint32_t hour) noexcept nogil:
    """An endpoint became common."""
    cdef uint32_t since = (hour + 1 - <uint32_t>r.deployed) & HOUR_BITS
    if r.deployed == 0 or since > <uint32_t>(RELEASE_HOURS if r.common >= DEPLOY_COMMON else DEPLOY_HOURS):
        r.deployed = 1 + hour
        r.common = 0
    r.common += 1

cdef inline bint release_young(const Releases *r, uint64_t entry, uint32_t hour) noexcept nogil:
    """Whether it came up lately, and not in the fleet's first day."""
    return ((hour - release_hour(entry)) & HOUR_BITS) < RELEASE_HOURS and (
        (release_hour(entry) + 1 - <uint32_t>r.began) & HOUR_BITS) >= FIRST_HOURS

cdef inline bint release_see(Releases *r, uint64_t endpoint, uint64_t partner, uint32_t hour, bint success) noexcept nogil:
    """A partner called an endpoint that it does not know; True where that is a release's doing."""
    cdef uint64_t *at = release_find(r, endpoint)
    cdef uint64_t before = word_peek(at), entry = before
    hour &= HOUR_BITS
    if r.began == 0:
        r.began = 1 + hour
    if (entry ^ endpoint) & RELEASE_MARK:
        if not success:
            return False
        entry = (endpoint & RELEASE_MARK) | (<uint64_t>hour << 28)
    if success:
        entry = release_meet(entry, partner)
        if entry != before:
            word_store(at, entry)
            if release_common(entry) and release_young(r, entry, hour):
                release_deploy(r, hour)
    if not release_young(r, entry, hour):
        return False
    return release_common(entry) or (r.common >= DEPLOY_COMMON and (
        (release_hour(entry) + 2 - <uint32_t>r.deployed) & HOUR_BITS) < RELEASE_HOURS)

cdef inline uint32_t release_since(const Releases *r, uint32_t hour) noexcept nogil:
    """Clock hours since the latest deployment, at least 1; 0: there was none lately. What a partner last called so long
    ago may have been renamed by it."""
    cdef uint32_t since = (hour + 1 - <uint32_t>r.deployed) & HOUR_BITS
    if r.common < DEPLOY_COMMON or since >= RELEASE_HOURS:
        return 0
    return since if since else 1
