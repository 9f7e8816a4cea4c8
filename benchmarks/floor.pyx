"""Floors: methods that do nothing, called with the same values as the ones measured."""

cimport cython


cdef class Empty:
    """Cython's defaults, as anybody would write it."""

    def observe(self, partner, endpoint, method="GET", status=200, latency_ms=0.0, request_bytes=0,
                response_bytes=0, source=None, app="default", timestamp=None):
        return None

    def check(self, partner, app="default", timestamp=None):
        return None


cdef class Bare:
    """Without Cython's function objects: the cheapest call that CPython knows."""

    @cython.binding(False)
    def observe(self, partner, endpoint, method="GET", status=200, latency_ms=0.0, request_bytes=0,
                response_bytes=0, source=None, app="default", timestamp=None):
        return None

    @cython.binding(False)
    def check(self, partner, app="default", timestamp=None):
        return None
