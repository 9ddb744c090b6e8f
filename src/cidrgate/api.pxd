"""`cidrgate.h` for Cython: `from cidrgate.api cimport cidrgate_api, cidrgate_import`."""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

cdef extern from "cidrgate.h":
    enum:
        CIDRGATE_ABI_VERSION
        CIDRGATE_UNKNOWN_ROW
        CIDRGATE_DENIED
        CIDRGATE_ALLOWED
        CIDRGATE_INVALID_ADDRESS
        CIDRGATE_INVALID_ROW
        CIDRGATE_UNKNOWN_ACCOUNT

    ctypedef struct cidrgate_matcher:
        pass

    ctypedef struct cidrgate_api:
        uint32_t abi_version
        uint32_t size
        uint64_t reserved[2]
        const cidrgate_matcher *(*matcher)(object matcher) except NULL
        int32_t (*row)(const cidrgate_matcher *matcher, const char *account, size_t size) noexcept nogil
        int (*allows_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address) noexcept nogil
        int (*allows_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets) noexcept nogil
        int (*allows_text)(const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size) noexcept nogil
        int (*check_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address) noexcept nogil
        int (*check_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets) noexcept nogil
        int (*check_text)(const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size) noexcept nogil
        void *(*enter)(const cidrgate_matcher *matcher) noexcept nogil
        void (*leave)(void *reader) noexcept nogil

    const cidrgate_api *cidrgate_import() except NULL
