"""Membership of many IPv4 addresses in a small list: three loads per address, no branches, no search.

The root has 2**16 codes, one for each first half of an address. Below it are tables of 256 codes. A code names the
table in which the next octet is looked up. The tables OUT and IN contain their own code for every octet, so each
address takes the same three loads, and the last code is the result. The tables are made for one batch and then freed:
filling 64 KiB takes microseconds, which is worthwhile for thousands of addresses.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from trie cimport Trie

cdef enum:
    OUT = 0
    IN = 1
    ROOT = 65536
    TABLE = 256
    # Codes are bytes. A prefix needs at most two tables, so lists of this size never run out of codes.
    MOST_PREFIXES = 127
    # The smallest batch for which making the tables is worthwhile.
    WORTHWHILE = 4096

cdef struct Direct:
    uint8_t *root           # uint8[ROOT], then the tables
    uint8_t *tables
    uint32_t count


cdef inline uint8_t table_below(Direct *direct, uint8_t *code) noexcept nogil:
    """Return the table that a code names. If the code is OUT or IN, make a new table filled with this code."""
    if code[0] <= IN:
        memset(direct.tables + direct.count * TABLE, code[0], TABLE)
        code[0] = <uint8_t>direct.count
        direct.count += 1
    return code[0]


cdef inline bint open_direct(const Trie *trie, Direct *direct) noexcept nogil:
    """Make the tables of a trie with at most MOST_PREFIXES IPv4 prefixes; return False without memory."""
    cdef uint32_t index, first
    cdef int length
    cdef uint8_t *codes
    direct.root = <uint8_t *>malloc(ROOT + (2 + 2 * <size_t>trie.n4) * TABLE)
    if direct.root == NULL:
        return False
    direct.tables = direct.root + ROOT
    direct.count = 2
    memset(direct.root, OUT, ROOT)
    memset(direct.tables, OUT, TABLE)
    memset(direct.tables + TABLE, IN, TABLE)
    for index in range(trie.n4):
        first = trie.first4[index]
        length = trie.length4[index]
        codes = direct.root + (first >> 16)
        if length > 16:
            codes = direct.tables + table_below(direct, codes) * TABLE + (first >> 8 & 255)
        if length > 24:
            codes = direct.tables + table_below(direct, codes) * TABLE + (first & 255)
        # A wider prefix comes first: every code inside it is already IN, and stays IN in the tables below.
        memset(codes, IN, <size_t>1 << (32 - length if length > 24 else 24 - length if length > 16 else 16 - length))
    return True


cdef inline void close_direct(Direct *direct) noexcept nogil:
    """Free the tables."""
    free(direct.root)


cdef inline uint8_t is_member(const Direct *direct, uint32_t address) noexcept nogil:
    """Return IN or OUT."""
    cdef uint32_t code = direct.root[address >> 16]
    code = direct.tables[code * TABLE + (address >> 8 & 255)]
    return direct.tables[code * TABLE + (address & 255)]


cdef inline void match_numbers(
    const Direct *direct, const uint32_t *numbers, Py_ssize_t count, uint8_t *found
) noexcept nogil:
    """Look up an array of addresses."""
    cdef Py_ssize_t index
    for index in range(count):
        found[index] = is_member(direct, numbers[index])
