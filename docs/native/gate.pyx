# cython: freethreading_compatible = True
"""Counts the calls that may pass: rows are resolved once, then nothing of Python is touched."""

from libc.stdint cimport int32_t, uint32_t

from cidrgate.api cimport cidrgate_api, cidrgate_import, cidrgate_matcher

cdef const cidrgate_api *cidrgate = cidrgate_import()


def count_allowed(object matcher, str account not None, uint32_t first, uint32_t count):
    """How many of `count` IPv4 addresses from `first` on may act for an account."""
    cdef bytes name = account.encode()
    cdef const cidrgate_matcher *handle = cidrgate.matcher(matcher)
    cdef void *reader = cidrgate.enter(handle)
    cdef int32_t row = cidrgate.row(handle, name, len(name))
    cdef uint32_t allowed = 0, step
    with nogil:
        for step in range(count):
            allowed += cidrgate.allows_ipv4(handle, row, first + step)
    cidrgate.leave(reader)
    return allowed


def check(object matcher, int32_t row, bytes text not None):
    """The status of one address as text, for a row."""
    cdef const cidrgate_matcher *handle = cidrgate.matcher(matcher)
    cdef void *reader = cidrgate.enter(handle)
    cdef int status = cidrgate.check_text(handle, row, text, len(text))
    cidrgate.leave(reader)
    return status
