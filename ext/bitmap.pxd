"""Membership of very many IPv4 addresses in a large list: one load for an address, from two bits for each /24.

The bits of a /24 say that all of its addresses are in the list, that none is, or that the trie decides, because the
list has longer prefixes there. The bitmap takes 4 MiB. It is made for one batch and then freed. That takes a few
milliseconds for a large table, which is worthwhile for twice as many addresses as there are prefixes, and only for a
list with few prefixes longer than /24.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memset

from batch cimport PIECE
from native cimport allocate, prefetch
from trie cimport NONE, Trie, count_longer
from walk cimport Keys, match_keys

cdef enum:
    OUTSIDE = 0
    INSIDE = 1
    MIXED = 2
    # Four codes a byte.
    BITMAP = 4194304
    ALL_INSIDE = 0x55
    # A bitmap is made if at most one prefix of so many is longer than /24.
    FEW = 8
    # The smallest batch for which a bitmap is worthwhile: this many addresses, and more for each prefix.
    WORTHWHILE_BITMAP = 262144
    FOR_EACH_PREFIX = 2


cdef inline bint is_worthwhile(const Trie *trie, Py_ssize_t count) noexcept nogil:
    """Return whether a batch has so many addresses that a bitmap saves more time than it takes."""
    if trie.n4 == 0 or count < WORTHWHILE_BITMAP + FOR_EACH_PREFIX * <Py_ssize_t>trie.n4:
        return False
    return count_longer(trie.length4, trie.n4, 24) <= trie.n4 // FEW


cdef inline void mark(uint8_t *bitmap, uint32_t first, uint32_t last) noexcept nogil:
    """Set the codes of the /24s from `first` up to `last` to INSIDE; they are OUTSIDE."""
    while first < last and first & 3:
        bitmap[first >> 2] |= <uint8_t>(INSIDE << 2 * (first & 3))
        first += 1
    if first < last:
        memset(bitmap + (first >> 2), ALL_INSIDE, (last >> 2) - (first >> 2))
        first = last & ~<uint32_t>3
    while first < last:
        bitmap[first >> 2] |= <uint8_t>(INSIDE << 2 * (first & 3))
        first += 1


cdef inline uint32_t code_of(const uint8_t *bitmap, uint32_t network) noexcept nogil:
    """Return the code of a /24."""
    return bitmap[network >> 2] >> 2 * (network & 3) & 3


cdef inline uint8_t *make_bitmap(const Trie *trie) noexcept nogil:
    """Make the bitmap of a trie; the caller frees it. Return NULL without memory."""
    cdef uint8_t *bitmap = <uint8_t *>allocate(BITMAP)
    cdef uint32_t index, network, covered = 0, width
    if bitmap == NULL:
        return NULL
    memset(bitmap, OUTSIDE, BITMAP)
    # The prefixes are in order, so everything before `covered` is done: what is inside another prefix adds nothing.
    for index in range(trie.n4):
        network = trie.first4[index] >> 8
        if network < covered:
            continue
        if trie.length4[index] <= 24:
            width = <uint32_t>1 << (24 - trie.length4[index])
            mark(bitmap, network, network + width)
            covered = network + width
        else:
            bitmap[network >> 2] |= <uint8_t>(MIXED << 2 * (network & 3))
    return bitmap


cdef inline void look_up(
    const Trie *trie, const uint8_t *bitmap, const uint32_t *numbers, Py_ssize_t count, uint8_t *found
) noexcept nogil:
    """Find out for up to PIECE addresses whether they are in the list."""
    cdef uint32_t mixed[PIECE]
    cdef uint32_t rest[PIECE]
    cdef int32_t matches[PIECE]
    cdef Keys keys
    cdef uint32_t at, code
    keys.count = 0
    keys.numbers = rest
    for at in range(<uint32_t>count):
        prefetch(bitmap + (numbers[at] >> 10))
    for at in range(<uint32_t>count):
        code = code_of(bitmap, numbers[at] >> 8)
        found[at] = code == INSIDE
        mixed[keys.count] = at
        rest[keys.count] = numbers[at]
        keys.count += code == MIXED
    if keys.count:
        match_keys(trie, False, &keys, matches)
        for at in range(keys.count):
            found[mixed[at]] = matches[at] != NONE
