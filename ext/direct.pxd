"""Membership of many IPv4 addresses in a small list: three loads an address, no branches, no search.

A table of 2**16 codes for the first half of an address, and tables of 256 codes below it. A code names the table the
next octet is looked up in; tables OUT and IN give themselves for every octet, so each address takes the same three
loads and the last code is the answer. Made for one batch and thrown away: 64 KiB are filled in microseconds, which
thousands of addresses repay.
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
    # Codes are bytes. A prefix needs at most two tables, so lists up to this size never run out of codes.
    MOST_PREFIXES = 127
    # Batches from this size on repay the tables.
    WORTHWHILE = 4096

cdef struct Direct:
    uint8_t *root           # uint8[ROOT], then the tables
    uint8_t *tables
    uint32_t count


cdef inline uint8_t table_below(Direct *direct, uint8_t *code) noexcept nogil:
    """The table a code names; a new one, filled with the code, where it is OUT or IN."""
    if code[0] <= IN:
        memset(direct.tables + direct.count * TABLE, code[0], TABLE)
        code[0] = <uint8_t>direct.count
        direct.count += 1
    return code[0]


cdef inline bint open_direct(const Trie *trie, Direct *direct) noexcept nogil:
    """Make the tables of a trie's IPv4 prefixes; False without memory. The trie has at most MOST_PREFIXES of them."""
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
        # A wider prefix comes first, so what is inside it is already IN, and stays so below.
        memset(codes, IN, <size_t>1 << (32 - length if length > 24 else 24 - length if length > 16 else 16 - length))
    return True


cdef inline void close_direct(Direct *direct) noexcept nogil:
    """Free the tables."""
    free(direct.root)


cdef inline uint8_t is_member(const Direct *direct, uint32_t address) noexcept nogil:
    """IN or OUT."""
    cdef uint32_t code = direct.root[address >> 16]
    code = direct.tables[code * TABLE + (address >> 8 & 255)]
    return direct.tables[code * TABLE + (address & 255)]


cdef inline void match_numbers(
    const Direct *direct, const uint32_t *numbers, Py_ssize_t count, uint8_t *found
) noexcept nogil:
    """Membership of an array of addresses."""
    cdef Py_ssize_t index
    for index in range(count):
        found[index] = is_member(direct, numbers[index])
