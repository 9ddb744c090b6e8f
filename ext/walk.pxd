"""Many walks through a multibit trie at once: each level is read for all of them before the next one.

A walk alone waits for every node and every slot it meets. Here the nodes of all walks that go on are prefetched, then
their slots, so that the waits overlap; walks that ended are left out by counting, not by branching, because whether
one ends is what a branch predictor cannot know.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from address cimport IPV4, Address
from batch cimport NUMBERS, PIECE, Batch, read_piece
from native cimport prefetch
from trie cimport (
    CHILD, NONE, ROOT_BITS, SMALL, STRIDE, Index, Trie, longest_match4, longest_match6, node_slot, stride_of,
)

# The addresses of one family in a piece of a batch, and their places in the piece.
cdef struct Keys:
    uint64_t hi[PIECE]
    uint64_t lo[PIECE]
    uint32_t places[PIECE]
    uint32_t count


cdef inline void walk_many(const Index *index, const Keys *keys, int32_t *slots) noexcept nogil:
    """The longest match of each key, by its number."""
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


cdef inline void add_key(Keys *keys, uint64_t hi, uint64_t lo, uint32_t place) noexcept nogil:
    """Note one address."""
    keys.hi[keys.count] = hi
    keys.lo[keys.count] = lo
    keys.places[keys.count] = place
    keys.count += 1


cdef inline Py_ssize_t match_piece(
    const Trie *trie, const Batch *batch, Py_ssize_t start, Py_ssize_t count, int32_t *matches
) noexcept nogil:
    """Indices of the longest matches of a piece; returns how many before an element that is no address."""
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
        for key in range(ipv4.count):
            matches[ipv4.places[key]] = slots[key]
    else:
        for key in range(ipv4.count):
            matches[ipv4.places[key]] = longest_match4(trie, <uint32_t>(ipv4.hi[key] >> 32))
    if trie.n6 > SMALL:
        walk_many(&trie.index6, &ipv6, slots)
        for key in range(ipv6.count):
            matches[ipv6.places[key]] = slots[key] + (<int32_t>trie.n4 if slots[key] != NONE else 0)
    else:
        for key in range(ipv6.count):
            matches[ipv6.places[key]] = longest_match6(trie, ipv6.hi[key], ipv6.lo[key])
    return got
