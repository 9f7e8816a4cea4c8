# Python arguments to C values, without a Python frame in between. A wrong type raises TypeError
# with the argument's name; a value that cannot be used becomes one that event_clean() counts.

from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.unicode cimport PyUnicode_Check, PyUnicode_CheckExact, PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint16_t, uint32_t

from ztcore.atomic cimport zt_likely

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void *PyUnicode_DATA(object text)

cdef extern from "small.h" nogil:
    bint zt_small(object number, long long *value)

cdef struct Text:
    const unsigned char *data
    Py_ssize_t size

cdef inline object text_of(object value, str name, Text *out):
    """Point `out` at the UTF-8 of a str. Returns the object that keeps the bytes alive."""
    if zt_likely(PyUnicode_CheckExact(value) and PyUnicode_IS_COMPACT_ASCII(value)):    # its UTF-8 is itself
        out.data = <const unsigned char *>PyUnicode_DATA(value)
        out.size = PyUnicode_GET_LENGTH(value)
        return value
    return other_text(value, name, out)

cdef inline object other_text(object value, str name, Text *out):
    cdef bytes raw
    if not PyUnicode_Check(value):
        raise TypeError(f"{name} must be str, not {type(value).__name__}")
    try:
        out.data = <const unsigned char *>PyUnicode_AsUTF8AndSize(value, &out.size)
        return value
    except UnicodeEncodeError:      # lone surrogates
        raw = value.encode("utf-8", "surrogatepass")
        out.data = <const unsigned char *><const char *>raw
        out.size = len(raw)
        return raw

cdef inline float float_of(object value, str name) except? -1.0:
    cdef double x
    if PyFloat_CheckExact(value):
        x = PyFloat_AS_DOUBLE(value)
    elif PyLong_CheckExact(value):
        x = integer_of(value, name)
    else:
        x = other_float(value, name)
    return <float>x             # beyond a float: inf

cdef inline double other_float(object value, str name) except? -1.0:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    return float(value)

cdef inline long long integer_of(object value, str name) except? -1:
    """The integer, or -1 where it is beyond 64 bits."""
    cdef long long x
    if zt_likely(PyLong_CheckExact(value) and zt_small(value, &x)):
        return x
    return other_integer(value, name)

cdef inline long long other_integer(object value, str name) except? -1:
    cdef int overflow = 0
    cdef long long x
    if not PyLong_CheckExact(value):
        if isinstance(value, (str, bytes, float)) or not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be int, not {type(value).__name__}")
        value = value.__index__()
    x = PyLong_AsLongLongAndOverflow(value, &overflow)
    return -1 if overflow else x

cdef inline uint16_t status_of(object value) except? 65535:
    cdef long long x = integer_of(value, "status")
    return <uint16_t>x if 0 <= x < 65535 else 0

cdef inline uint32_t count_of(object value) except? 4294967295:
    cdef long long x = integer_of(value, "count")
    return <uint32_t>x if 0 <= x < 2147483647 else 0

cdef inline int64_t timestamp_of(object value, str name) except? -1:
    """Seconds to ns; what cannot be a time becomes 0."""
    cdef double x
    if PyFloat_CheckExact(value):
        x = PyFloat_AS_DOUBLE(value)
    elif PyLong_CheckExact(value):
        x = <double>integer_of(value, name)
    else:
        x = other_float(value, name)
    return <int64_t>(x * 1e9) if 0.0 < x < 9e9 else 0
