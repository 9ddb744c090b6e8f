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
        CIDRGATE_ABI_VERSION
        CIDRGATE_ALLOWED
        CIDRGATE_INVALID_ADDRESS
        CIDRGATE_INVALID_ROW
        CIDRGATE_UNKNOWN_ACCOUNT
    const char *CIDRGATE_API_NAME

    ctypedef struct cidrgate_matcher:
        pass

    ctypedef struct cidrgate_api:
        uint32_t abi_version
        uint32_t size
        const cidrgate_matcher *(*matcher)(object matcher) except NULL
        int32_t (*row)(const cidrgate_matcher *matcher, const char *account, size_t size) noexcept nogil
        int (*allows_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address) noexcept nogil
        int (*allows_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets) noexcept nogil
        int (*allows_text)(
            const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size) noexcept nogil
        int (*check_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address) noexcept nogil
        int (*check_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets) noexcept nogil
        int (*check_text)(
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


cdef int check_row(const Accounts *accounts, int32_t row, const Address *address) noexcept nogil:
    """Return the status of a row and an address."""
    cdef uint32_t block
    if row == NONE:
        return CIDRGATE_UNKNOWN_ACCOUNT
    block = load_acquire(list_at(accounts, row)) if is_row(accounts, row) else 0
    return allowed(accounts, block, address, True, True) if block else CIDRGATE_INVALID_ROW


cdef bint is_allowed(int status) noexcept nogil:
    """Return whether a status allows the address; an unknown account has no list."""
    return status == CIDRGATE_ALLOWED or status == CIDRGATE_UNKNOWN_ACCOUNT


cdef int api_check_ipv4(const cidrgate_matcher *matcher, int32_t row, uint32_t address) noexcept nogil:
    cdef Address wanted
    set_ipv4(&wanted, address)
    return check_row(accounts_of(<const Lists *>matcher), row, &wanted)


cdef int api_check_ipv6(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets) noexcept nogil:
    cdef Address wanted
    unpack_address(octets, 16, &wanted)
    return check_row(accounts_of(<const Lists *>matcher), row, &wanted)


cdef int api_check_text(
    const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size
) noexcept nogil:
    cdef Address wanted
    if not parse_address(<const uint8_t *>text, <Py_ssize_t>size, &wanted):
        return CIDRGATE_INVALID_ADDRESS
    return check_row(accounts_of(<const Lists *>matcher), row, &wanted)


cdef int api_allows_ipv4(const cidrgate_matcher *matcher, int32_t row, uint32_t address) noexcept nogil:
    return is_allowed(api_check_ipv4(matcher, row, address))


cdef int api_allows_ipv6(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets) noexcept nogil:
    return is_allowed(api_check_ipv6(matcher, row, octets))


cdef int api_allows_text(
    const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size
) noexcept nogil:
    return is_allowed(api_check_text(matcher, row, text, size))


cdef void *api_enter(const cidrgate_matcher *matcher) noexcept nogil:
    return enter(&(<const Lists *>matcher).readers)


cdef void api_leave(void *reader) noexcept nogil:
    leave(<int64_t *>reader)


cdef cidrgate_api functions

functions.abi_version = CIDRGATE_ABI_VERSION
functions.size = sizeof(cidrgate_api)
functions.matcher = api_matcher
functions.row = api_row
functions.allows_ipv4 = api_allows_ipv4
functions.allows_ipv6 = api_allows_ipv6
functions.allows_text = api_allows_text
functions.check_ipv4 = api_check_ipv4
functions.check_ipv6 = api_check_ipv6
functions.check_text = api_check_text
functions.enter = api_enter
functions.leave = api_leave

_api = PyCapsule_New(&functions, CIDRGATE_API_NAME, NULL)
