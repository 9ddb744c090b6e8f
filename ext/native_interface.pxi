"""The functions of `cidrgate.h` in a capsule. Part of `_engine.pyx`."""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from accounts cimport Accounts, Lists, Name, accounts_of, is_row, list_at, row_of
from address cimport Address, parse_address, set_ipv4, unpack_address
from native cimport load_acquire
from readers cimport enter, leave
from trie cimport NONE


cdef extern from "../src/cidrgate/include/cidrgate.h":
    enum:
        CIDRGATE_API_VERSION
        CIDRGATE_NO_ADDRESS
        CIDRGATE_NO_ROW
    const char *CIDRGATE_API_NAME

    ctypedef struct cidrgate_matcher:
        pass

    ctypedef struct cidrgate_api:
        uint32_t version
        const cidrgate_matcher *(*matcher)(object matcher) except NULL
        int32_t (*row)(const cidrgate_matcher *matcher, const char *account, size_t size) noexcept nogil
        int (*allows_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address) noexcept nogil
        int (*allows_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets) noexcept nogil
        int (*allows_text)(
            const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size) noexcept nogil
        void *(*enter)(const cidrgate_matcher *matcher) noexcept nogil
        void (*leave)(void *reader) noexcept nogil


cdef const cidrgate_matcher *api_matcher(object matcher) except NULL:
    return <const cidrgate_matcher *>&(<Matcher?>matcher).lists


cdef int32_t api_row(const cidrgate_matcher *matcher, const char *account, size_t size) noexcept nogil:
    cdef Name name
    name.text = <const uint8_t *>account
    name.size = size
    return row_of(accounts_of(<const Lists *>matcher), &name)


cdef int allows_row(const Accounts *accounts, int32_t row, const Address *address) noexcept nogil:
    """Return whether a row allows an address, or CIDRGATE_NO_ROW."""
    cdef uint32_t block
    if row == NONE:
        return True
    block = load_acquire(list_at(accounts, row)) if is_row(accounts, row) else 0
    return allowed(accounts, block, address, True) if block else CIDRGATE_NO_ROW


cdef int api_allows_ipv4(const cidrgate_matcher *matcher, int32_t row, uint32_t address) noexcept nogil:
    cdef Address wanted
    set_ipv4(&wanted, address)
    return allows_row(accounts_of(<const Lists *>matcher), row, &wanted)


cdef int api_allows_ipv6(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets) noexcept nogil:
    cdef Address wanted
    unpack_address(octets, 16, &wanted)
    return allows_row(accounts_of(<const Lists *>matcher), row, &wanted)


cdef int api_allows_text(
    const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size
) noexcept nogil:
    cdef Address wanted
    if not parse_address(<const uint8_t *>text, <Py_ssize_t>size, &wanted):
        return CIDRGATE_NO_ADDRESS
    return allows_row(accounts_of(<const Lists *>matcher), row, &wanted)


cdef void *api_enter(const cidrgate_matcher *matcher) noexcept nogil:
    return enter(&(<const Lists *>matcher).readers)


cdef void api_leave(void *reader) noexcept nogil:
    leave(<int64_t *>reader)


cdef cidrgate_api functions

functions.version = CIDRGATE_API_VERSION
functions.matcher = api_matcher
functions.row = api_row
functions.allows_ipv4 = api_allows_ipv4
functions.allows_ipv6 = api_allows_ipv6
functions.allows_text = api_allows_text
functions.enter = api_enter
functions.leave = api_leave

_api = PyCapsule_New(&functions, CIDRGATE_API_NAME, NULL)
