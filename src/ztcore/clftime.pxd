# The time of an access log's line, "10/Oct/2000:13:55:36 -0700" or ISO 8601, to ns since the epoch.
# Lines come in order: most have the second, or at least the minute, of the one before.

from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy

from ztcore.hash cimport load64
from ztcore.ids cimport is_digit

cdef enum:
    CLF_TIME = 26               # bytes of the usual form
    CLF_MINUTE = 17             # of its date, hour and minute
    CLF_ZONE = 20               # where " -0700" starts
    NO_TIME = -1

cdef struct ClfTime:            # the last time read
    unsigned char text[CLF_TIME]
    int64_t minute              # its minute, ns
    int64_t ns

cdef extern from *:
    """
    #define CLF_MONTHS "janfebmaraprmayjunjulaugsepoctnovdec"
    """
    const char *CLF_MONTHS

cdef inline int two_digits(const unsigned char *s) noexcept nogil:
    """0..99, or negative."""
    return (s[0] - 48) * 10 + s[1] - 48 if is_digit(s[0]) and is_digit(s[1]) else -1000

cdef inline int64_t days_from(int year, int month, int day) noexcept nogil:
    """Days from 1970-01-01 to a date of the Gregorian calendar, year at least 1."""
    cdef int64_t y = year - (month <= 2)
    cdef int64_t era = y // 400
    cdef int64_t of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    cdef int64_t of_era = (y - era * 400) * 365 + (y - era * 400) // 4 - (y - era * 400) // 100 + of_year
    return era * 146097 + of_era - 719468

cdef inline int month_of(const unsigned char *s) noexcept nogil:
    """1..12 from three letters in any case, 0 for others."""
    cdef int i
    for i in range(12):
        if (s[0] | 32 == CLF_MONTHS[3 * i] and s[1] | 32 == CLF_MONTHS[3 * i + 1]
                and s[2] | 32 == CLF_MONTHS[3 * i + 2]):
            return i + 1
    return 0

cdef inline const unsigned char *read_fraction(const unsigned char *s, const unsigned char *end, int64_t *ns) noexcept nogil:
    """Behind ".123", where that stands there."""
    cdef int64_t unit = 100000000
    if s < end and (s[0] == 46 or s[0] == 44):
        s += 1
        while s < end and is_digit(s[0]):
            ns[0] += (s[0] - 48) * unit
            unit //= 10
            s += 1
    return s

cdef inline int64_t zone_seconds(const unsigned char *s, const unsigned char *end) noexcept nogil:
    """Of " -0700", "-07:00", "Z" or nothing; a day or more where it is none of these."""
    cdef int hours, minutes
    cdef int sign
    if s < end and s[0] == 32:
        s += 1
    if s == end or end - s == 1 and s[0] | 32 == 122:
        return 0
    if end - s < 5 or s[0] != 43 and s[0] != 45:
        return 86400
    sign = -1 if s[0] == 45 else 1
    hours = two_digits(s + 1)
    s += 4 if s[3] == 58 else 3
    if end - s != 2:
        return 86400
    minutes = two_digits(s)
    if hours < 0 or minutes < 0 or hours > 23 or minutes > 59:
        return 86400
    return sign * (hours * 3600 + minutes * 60)

cdef inline int64_t time_read(const unsigned char *s, size_t n) noexcept nogil:
    """ns since the epoch, or NO_TIME; a time before 1970 is none."""
    cdef const unsigned char *end = s + n
    cdef int64_t ns = 0, zone, seconds
    cdef int year, month, day, hour, minute, second
    if n >= 20 and s[2] == 47 and s[6] == 47 and s[11] == 58:
        day = two_digits(s)
        month = month_of(s + 3)
        year = two_digits(s + 7) * 100 + two_digits(s + 9)
    elif n >= 19 and s[4] == 45 and s[7] == 45 and (s[10] | 32 == 116 or s[10] == 32):
        year = two_digits(s) * 100 + two_digits(s + 2)
        month = two_digits(s + 5)
        day = two_digits(s + 8)
        s -= 1
    else:
        return NO_TIME
    hour = two_digits(s + 12)
    minute = two_digits(s + 15)
    second = two_digits(s + 18)
    if (s[14] != 58 or s[17] != 58 or not 1970 <= year <= 2105 or not 1 <= month <= 12 or not 1 <= day <= 31
            or not 0 <= hour < 24 or not 0 <= minute < 60 or not 0 <= second <= 60):
        return NO_TIME
    s = read_fraction(s + 20, end, &ns)
    zone = zone_seconds(s, end)
    seconds = days_from(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone
    if zone >= 86400 or seconds < 0:
        return NO_TIME
    return seconds * 1000000000 + ns

cdef inline int64_t clf_time(ClfTime *last, const unsigned char *s, size_t n) noexcept nogil:
    """The same, by what is known from the last line."""
    cdef int64_t ns
    cdef int second
    if n == CLF_TIME:
        if ((load64(s) ^ load64(last.text)) | (load64(s + 8) ^ load64(last.text + 8))
                | (load64(s + 16) ^ load64(last.text + 16)) | (load64(s + 18) ^ load64(last.text + 18))) == 0:
            return last.ns
        if memcmp(s, last.text, CLF_MINUTE + 1) == 0 and memcmp(s + CLF_ZONE, last.text + CLF_ZONE, CLF_TIME - CLF_ZONE) == 0:
            second = two_digits(s + CLF_MINUTE + 1)
            if 0 <= second <= 59:
                last.ns = last.minute + <int64_t>second * 1000000000
                memcpy(last.text, s, CLF_TIME)
                return last.ns
    ns = time_read(s, n)
    if n == CLF_TIME and ns != NO_TIME and s[11] == 58:
        second = two_digits(s + CLF_MINUTE + 1)
        last.ns = ns
        last.minute = ns - <int64_t>second * 1000000000
        memcpy(last.text, s, CLF_TIME)
    return ns
