"""Many walks through a multibit trie at once: each level is read for all walks before the next level.

A single walk waits for every node and every slot. Here the nodes of all active walks are prefetched, then their slots,
so that the waits overlap. Finished walks are removed by counting and not by branching, because a branch predictor
cannot predict which walks finish.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from address cimport IPV4, Address
from batch cimport NUMBERS, PIECE, Batch, read_piece
from native cimport prefetch
from trie cimport (
    CHILD, IPV4_MASKS, NONE, ROOT_BITS, SMALL, STRIDE,
    Index, Trie, last_cover4, longest_match4, longest_match6, node_slot, stride_of,
)

cdef extern from "ranks.h" nogil:
    enum:
        GROUP "CIDRGATE_RANKS_GROUP"
    void ranks_of "cidrgate_ranks" (
        const uint32_t *first, uint32_t count, const uint32_t *addresses, uint32_t groups, int32_t *ranks) noexcept

    struct RanksForm "cidrgate_ranks_form":
        const char *name
    const RanksForm ranks_forms "cidrgate_ranks_forms"[]
    bint can_run "cidrgate_can_run" (const char *form) noexcept
    bint choose_ranks "cidrgate_choose_ranks" (const char *name) noexcept

# The addresses of one family in a piece of a batch, and their positions in the piece.
cdef struct Keys:
    uint64_t hi[PIECE]
    uint64_t lo[PIECE]
    uint32_t places[PIECE]
    uint32_t count


cdef inline void walk_many(const Index *index, const Keys *keys, int32_t *slots) noexcept nogil:
    """Find the longest match of each key, by the number of the key."""
    cdef uint32_t pending[PIECE]
    cdef uint32_t numbers[PIECE]
    cdef uint32_t left = 0, still, at, key
    cdef int depth = 0
    if index.root != NULL:
        depth = ROOT_BITS
        for key in range(keys.count):
            slots[key] = index.root[keys.hi[key] >> (64 - ROOT_BITS)]
            pending[left] = key
            left += slots[key] <= CHILD
    else:
        for key in range(keys.count):
            slots[key] = index.start
            pending[key] = key
        left = keys.count if index.start <= CHILD else 0
    while left:
        for at in range(left):
            prefetch(index.nodes + (CHILD - slots[pending[at]]))
        for at in range(left):
            key = pending[at]
            numbers[at] = node_slot(index.nodes + (CHILD - slots[key]), stride_of(keys.hi[key], keys.lo[key], depth))
            prefetch(index.slots + numbers[at])
        still = 0
        for at in range(left):
            key = pending[at]
            slots[key] = index.slots[numbers[at]]
            pending[still] = key
            still += slots[key] <= CHILD
        left = still
        depth += STRIDE


cdef inline void search_many(const Trie *trie, const Keys *keys, int32_t *matches) noexcept nogil:
    """Find the longest match of each key in a small list of IPv4 prefixes, by the number of the key."""
    cdef uint32_t numbers[PIECE]
    cdef int32_t ranks[PIECE]
    # For a group that is less than half full, single searches are faster.
    cdef uint32_t groups = (keys.count + GROUP // 2) // GROUP
    cdef uint32_t grouped = min(groups * GROUP, keys.count), key, last
    for key in range(grouped):
        numbers[key] = <uint32_t>(keys.hi[key] >> 32)
    for key in range(grouped, groups * GROUP):
        numbers[key] = 0
    ranks_of(trie.first4, trie.n4, numbers, groups, ranks)
    if trie.nested4:
        for key in range(grouped):
            matches[key] = last_cover4(trie.first4, trie.length4, ranks[key], True, numbers[key])
    elif trie.n4:
        for key in range(grouped):
            last = max(ranks[key], 1) - 1
            matches[key] = (
                NONE if (ranks[key] == 0)
                | (((trie.first4[last] ^ numbers[key]) & <uint32_t>(IPV4_MASKS >> trie.length4[last])) != 0)
                else <int32_t>last)
    else:
        grouped = 0
    for key in range(grouped, keys.count):
        matches[key] = longest_match4(trie, <uint32_t>(keys.hi[key] >> 32))


cdef inline void add_key(Keys *keys, uint64_t hi, uint64_t lo, uint32_t place) noexcept nogil:
    """Append one address."""
    keys.hi[keys.count] = hi
    keys.lo[keys.count] = lo
    keys.places[keys.count] = place
    keys.count += 1


cdef inline Py_ssize_t match_piece(
    const Trie *trie, const Batch *batch, Py_ssize_t start, Py_ssize_t count, int32_t *matches
) noexcept nogil:
    """Find the indices of the longest matches of a piece; return how many elements precede the first invalid one."""
    cdef Address addresses[PIECE]
    cdef int32_t slots[PIECE]
    cdef Keys ipv4, ipv6
    cdef Py_ssize_t got = count, index
    cdef uint32_t key
    ipv4.count = ipv6.count = 0
    if batch.form == NUMBERS:
        for index in range(count):
            add_key(&ipv4, <uint64_t>batch.numbers[start + index] << 32, 0, <uint32_t>index)
    else:
        got = read_piece(batch, start, count, addresses)
        for index in range(got):
            add_key(&ipv4 if addresses[index].family == IPV4 else &ipv6,
                    addresses[index].hi, addresses[index].lo, <uint32_t>index)
    if trie.n4 > SMALL:
        walk_many(&trie.index4, &ipv4, slots)
    else:
        search_many(trie, &ipv4, slots)
    for key in range(ipv4.count):
        matches[ipv4.places[key]] = slots[key]
    if trie.n6 > SMALL:
        walk_many(&trie.index6, &ipv6, slots)
        for key in range(ipv6.count):
            matches[ipv6.places[key]] = slots[key] + (<int32_t>trie.n4 if slots[key] != NONE else 0)
    else:
        for key in range(ipv6.count):
            matches[ipv6.places[key]] = longest_match6(trie, ipv6.hi[key], ipv6.lo[key])
    return got
