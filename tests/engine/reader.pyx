# cython: freethreading_compatible = True
"""Reads a matcher by the native interface while others write, without the GIL, for `test_native_interface.py`."""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from cidrgate.api cimport cidrgate_api, cidrgate_import, cidrgate_matcher

cdef const cidrgate_api *cidrgate = cidrgate_import()


def read(object matcher, list accounts, uint32_t first, uint32_t steps, uint32_t together):
    """Ask, for account number n, the first address of the n-th network of 256 from `first` on, and of the next one.

    Names are resolved each time, and `together` questions are asked between entering and leaving.

    Returns:
        How often the first was allowed and the second denied.
    """
    cdef const cidrgate_matcher *handle = cidrgate.matcher(matcher)
    cdef const char *names[256]
    cdef size_t sizes[256]
    cdef list encoded = [account.encode() for account in accounts]
    cdef uint32_t count = len(encoded), step, number, inside
    cdef int32_t row
    cdef uint64_t right = 0
    cdef void *reader
    if count > 256:
        raise ValueError("at most 256 accounts")
    for number in range(count):
        names[number] = encoded[number]
        sizes[number] = len(encoded[number])
    with nogil:
        for step in range(steps):
            reader = cidrgate.enter(handle)
            for inside in range(together):
                number = (step * 31 + inside * 7) % count
                row = cidrgate.row(handle, names[number], sizes[number])
                right += (cidrgate.allows_ipv4(handle, row, first + number * 256) == 1
                          and cidrgate.allows_ipv4(handle, row, first + (number + 1) * 256) == 0)
            cidrgate.leave(reader)
    return right


def statuses(object matcher, int32_t row, uint32_t number, bytes octets not None, bytes text not None):
    """What `allows` and `check` say of a row, for IPv4 as a number, 16 octets, and text."""
    cdef const cidrgate_matcher *handle = cidrgate.matcher(matcher)
    cdef const unsigned char *packed = <const unsigned char *><char *>octets
    cdef void *reader = cidrgate.enter(handle)
    found = [
        (cidrgate.allows_ipv4(handle, row, number), cidrgate.check_ipv4(handle, row, number)),
        (cidrgate.allows_ipv6(handle, row, packed), cidrgate.check_ipv6(handle, row, packed)),
        (cidrgate.allows_text(handle, row, text, len(text)), cidrgate.check_text(handle, row, text, len(text))),
    ]
    cidrgate.leave(reader)
    return found


def enter(object matcher):
    """Begin to read, and return what `leave` needs."""
    return <size_t>cidrgate.enter(cidrgate.matcher(matcher))


def leave(size_t reader):
    """End to read."""
    cidrgate.leave(<void *>reader)
