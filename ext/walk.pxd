"""Many walks through a multibit trie at once: each level is read for all walks before the next level.

A single walk waits for every node and every slot. Here the nodes of all active walks are prefetched, then their slots,
so that the waits overlap. Finished walks are removed by counting and not by branching, because a branch predictor
cannot predict which walks finish. Walks that come to a final node, and then those that come to a leaf, a run or a
skip, wait until every other walk is there too.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from address cimport IPV4, Address
from batch cimport NUMBERS, OCTETS, PIECE, Batch, read_piece
from edges cimport Edges, search_edges
from native cimport network32, network64, prefetch
from trie cimport (
    CHILD, FANOUT, IPV4_MASKS, LEAF, NONE, ROOT_BITS, SMALL, STRIDE,
    Final, Index, Trie, branch_at, covers, end_walk, final_at, final_match, final_slot, first_slot, index_of, is_final,
    is_match, is_node, last_cover4, longest_match4, longest_match6, node_slot, stride_of,
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

# The addresses of one family in a piece of a batch: IPv4 as numbers, IPv6 as halves.
cdef struct Keys:
    const uint32_t *numbers
    uint64_t hi[PIECE]
    uint64_t lo[PIECE]
    uint32_t count


cdef inline uint64_t hi_of(bint ipv6, const Keys *keys, uint32_t key) noexcept nogil:
    """Return the first 64 bits of a key."""
    return keys.hi[key] if ipv6 else <uint64_t>keys.numbers[key] << 32


cdef inline uint64_t lo_of(bint ipv6, const Keys *keys, uint32_t key) noexcept nogil:
    """Return the last 64 bits of a key."""
    return keys.lo[key] if ipv6 else 0


cdef inline uint32_t stride_at(bint ipv6, const Keys *keys, uint32_t key, int depth) noexcept nogil:
    """Return the eight bits of a key after its first `depth` bits."""
    if ipv6:
        return stride_of(keys.hi[key], keys.lo[key], depth)
    return keys.numbers[key] >> (24 - depth) & (FANOUT - 1)


cdef inline void walk_nodes(
    const Index *index, bint ipv6, const Keys *keys, int32_t *slots, uint8_t *depths, bint mixed, uint32_t *pending,
    uint32_t left
) noexcept nogil:
    """Walk from node to node until no key is left at one. All keys begin at one depth, unless they are `mixed`."""
    cdef uint32_t numbers[PIECE]
    cdef uint32_t still, at, key
    cdef uint8_t depth = depths[pending[0]] if left else 0
    while left:
        for at in range(left):
            prefetch(index.nodes + (CHILD - slots[pending[at]]))
        for at in range(left):
            key = pending[at]
            if mixed:
                depth = depths[key]
            numbers[at] = node_slot(index.nodes + (CHILD - slots[key]), stride_at(ipv6, keys, key, depth))
            prefetch(index.words + numbers[at])
            depths[key] = depth + STRIDE
        still = 0
        for at in range(left):
            key = pending[at]
            slots[key] = index.words[numbers[at]]
            pending[still] = key
            still += is_node(slots[key])
        left = still
        depth += STRIDE


cdef inline void end_at_finals(
    const Index *index, bint ipv6, const Keys *keys, int32_t *slots, const uint8_t *depths, const uint32_t *finals,
    uint32_t count
) noexcept nogil:
    """End the walks of keys that are at final nodes."""
    cdef const Final *nodes[PIECE]
    cdef const uint8_t *places[PIECE]
    cdef uint32_t at, key
    for at in range(count):
        nodes[at] = final_at(index, slots[finals[at]])
        # Most of these nodes are in two lines of the cache.
        prefetch(nodes[at])
        prefetch(nodes[at] + 1)
    for at in range(count):
        key = finals[at]
        places[at] = final_slot(nodes[at], stride_at(ipv6, keys, key, depths[key]))
        prefetch(places[at])
    for at in range(count):
        slots[finals[at]] = final_match(nodes[at], places[at][0])


cdef inline uint32_t begin_walks(
    const Index *index, bint ipv6, const Keys *keys, int32_t *slots, uint32_t *pending, uint32_t *finals,
    uint32_t *ended
) noexcept nogil:
    """Set the slots at which walks begin, and note the keys that are at final nodes; return how many are at others."""
    cdef uint32_t left = 0, count = 0, key
    if index.root == NULL:
        for key in range(keys.count):
            slots[key] = index.start
            pending[key] = finals[key] = key
        ended[0] = keys.count if is_final(index.start) else 0
        return keys.count if is_node(index.start) else 0
    for key in range(keys.count):
        slots[key] = first_slot(index, ipv6, hi_of(ipv6, keys, key))
        finals[count] = key
        count += is_final(slots[key])
    ended[0] = count
    # First count without compacting: in a large table of IPv4, few walks begin at a node that is not final.
    for key in range(keys.count):
        left += is_node(slots[key])
    if left:
        left = 0
        for key in range(keys.count):
            pending[left] = key
            left += is_node(slots[key])
    return left


cdef inline uint32_t note_finals(
    const int32_t *slots, const uint32_t *walked, uint32_t count, uint32_t *finals, uint32_t ended
) noexcept nogil:
    """Add the keys that have come to final nodes to a list of `ended` keys; return how many it has then."""
    cdef uint32_t at
    for at in range(count):
        finals[ended] = walked[at]
        ended += is_final(slots[walked[at]])
    return ended


cdef inline void walk_many(const Trie *trie, bint ipv6, const Keys *keys, int32_t *slots) noexcept nogil:
    """Find the longest match of each key, by the number of the key."""
    cdef const Index *index = index_of(trie, ipv6)
    cdef uint8_t depths[PIECE]
    cdef uint32_t pending[PIECE]
    cdef uint32_t waiting[PIECE]
    cdef uint32_t finals[PIECE]
    cdef uint32_t left, ended = 0, found = 0, later = 0, at, key
    memset(depths, 0 if index.root == NULL else ROOT_BITS, sizeof(depths))
    left = begin_walks(index, ipv6, keys, slots, pending, finals, &ended)
    if left:
        memcpy(waiting, pending, left * sizeof(uint32_t))
        walk_nodes(index, ipv6, keys, slots, depths, False, pending, left)
        for key in range(keys.count):
            found += is_final(slots[key])
        if found > ended:
            ended = note_finals(slots, waiting, left, finals, ended)
    end_at_finals(index, ipv6, keys, slots, depths, finals, ended)
    # First count without compacting: most walks of a large table end at a match.
    for key in range(keys.count):
        later += not is_match(slots[key])
    if later:
        later = 0
        for key in range(keys.count):
            waiting[later] = key
            later += not is_match(slots[key])
    while later:
        later = end_walks(trie, ipv6, keys, waiting, later, slots, depths)
        # Only a skip leads to a node, and below the node there may be further leaves, runs and skips.
        left = 0
        for at in range(later):
            pending[left] = waiting[at]
            left += is_node(slots[waiting[at]])
        walk_nodes(index, ipv6, keys, slots, depths, True, pending, left)
        ended = note_finals(slots, waiting, later, finals, 0)
        end_at_finals(index, ipv6, keys, slots, depths, finals, ended)
        later = keep_unended(slots, waiting, later)


cdef inline uint32_t keep_unended(const int32_t *slots, uint32_t *waiting, uint32_t count) noexcept nogil:
    """Remove the keys whose walks have ended; return how many remain."""
    cdef uint32_t still = 0, at, key
    for at in range(count):
        key = waiting[at]
        waiting[still] = key
        still += not is_match(slots[key])
    return still


cdef inline uint32_t end_walks(
    const Trie *trie, bint ipv6, const Keys *keys, uint32_t *waiting, uint32_t count, int32_t *slots, uint8_t *depths
) noexcept nogil:
    """Search the leaves, runs and skips at which keys wait; keep the keys that continue, and return how many do."""
    cdef const Index *index = index_of(trie, ipv6)
    cdef uint32_t branches[PIECE]
    cdef uint32_t at_leaves[PIECE]
    cdef uint32_t leaves = 0, branched = 0, left = 0, at, key
    for at in range(count):
        key = waiting[at]
        branches[branched] = key
        at_leaves[leaves] = key
        branched += slots[key] < LEAF
        leaves += slots[key] >= LEAF
    for at in range(leaves):
        prefetch_prefix(trie, ipv6, <uint32_t>(slots[at_leaves[at]] - LEAF))
    for at in range(branched):
        prefetch(branch_at(index, slots[branches[at]]))
    for at in range(branched):
        prefetch_prefix(trie, ipv6, <uint32_t>branch_at(index, slots[branches[at]]).start)
    for at in range(leaves):
        key = at_leaves[at]
        slots[key] = (
            slots[key] - LEAF if covers(
                trie, ipv6, <uint32_t>(slots[key] - LEAF), hi_of(ipv6, keys, key), lo_of(ipv6, keys, key))
            else NONE)
    for at in range(branched):
        key = branches[at]
        slots[key] = end_walk(
            trie, ipv6, slots[key], hi_of(ipv6, keys, key), lo_of(ipv6, keys, key), &depths[key])
        waiting[left] = key
        left += not is_match(slots[key])
    return left


cdef inline void prefetch_prefix(const Trie *trie, bint ipv6, uint32_t index) noexcept nogil:
    """Prefetch what is compared of a prefix."""
    if not ipv6:
        prefetch(trie.first4 + index)
        prefetch(trie.length4 + index)
        return
    prefetch(trie.high6 + index)
    prefetch(trie.length6 + index)
    if trie.low6.dense != NULL:
        prefetch(trie.low6.dense + index)


cdef inline void search_many(const Trie *trie, const Keys *keys, int32_t *matches) noexcept nogil:
    """Find the longest match of each key in a small list of IPv4 prefixes, by the number of the key."""
    cdef const uint32_t *numbers = keys.numbers
    cdef uint32_t rest[GROUP]
    cdef int32_t ranks[PIECE]
    cdef uint32_t groups = keys.count // GROUP
    cdef uint32_t grouped = groups * GROUP, key, last
    if not trie.n4:
        for key in range(keys.count):
            matches[key] = NONE
        return
    ranks_of(trie.first4, trie.n4, numbers, groups, ranks)
    # For a group that is less than half full, single searches are faster.
    if keys.count - grouped >= GROUP // 2:
        memset(rest, 0, sizeof(rest))
        memcpy(rest, numbers + grouped, (keys.count - grouped) * sizeof(uint32_t))
        ranks_of(trie.first4, trie.n4, rest, 1, ranks + grouped)
        grouped = keys.count
    if trie.nested4:
        for key in range(grouped):
            matches[key] = last_cover4(trie.first4, trie.length4, ranks[key], True, numbers[key])
    else:
        for key in range(grouped):
            last = max(ranks[key], 1) - 1
            matches[key] = (
                NONE if (ranks[key] == 0)
                | (((trie.first4[last] ^ numbers[key]) & <uint32_t>(IPV4_MASKS >> trie.length4[last])) != 0)
                else <int32_t>last)
    for key in range(grouped, keys.count):
        matches[key] = longest_match4(trie, numbers[key])


cdef inline void match_keys(const Trie *trie, bint ipv6, const Keys *keys, int32_t *matches) noexcept nogil:
    """Find the indices of the longest matches of all keys, by the number of the key."""
    cdef uint32_t positions[PIECE]
    cdef uint32_t key
    if not ipv6:
        if trie.n4 > SMALL:
            walk_many(trie, False, keys, matches)
        else:
            search_many(trie, keys, matches)
    elif trie.edges != NULL:
        search_edges(trie, <const Edges *>trie.edges, keys.hi, keys.lo, keys.count, positions, matches)
    elif trie.n6 > SMALL:
        walk_many(trie, True, keys, matches)
        for key in range(keys.count):
            matches[key] += <int32_t>trie.n4 if matches[key] != NONE else 0
    else:
        for key in range(keys.count):
            matches[key] = longest_match6(trie, keys.hi[key], keys.lo[key])


cdef inline bint read_octets(
    const Batch *batch, Py_ssize_t start, uint32_t count, Keys *ipv6, uint32_t *numbers
) noexcept nogil:
    """Read a piece of octets directly as keys; return False if an IPv4-mapped address is among them."""
    cdef const uint8_t *octets = batch.octets + start * batch.width
    cdef uint32_t index
    cdef bint mapped = False
    if batch.width == 4:
        for index in range(count):
            numbers[index] = network32(octets + 4 * index)
        return True
    for index in range(count):
        ipv6.hi[index] = network64(octets + 16 * index)
        ipv6.lo[index] = network64(octets + 16 * index + 8)
        mapped |= (ipv6.hi[index] == 0) & (ipv6.lo[index] >> 32 == 0xFFFF)
    return not mapped


cdef inline Py_ssize_t match_piece(
    const Trie *trie, const Batch *batch, Py_ssize_t start, Py_ssize_t count, int32_t *matches
) noexcept nogil:
    """Find the indices of the longest matches of a piece; return how many elements precede the first invalid one."""
    cdef Address addresses[PIECE]
    cdef uint32_t numbers[PIECE]
    cdef uint32_t places4[PIECE]
    cdef uint32_t places6[PIECE]
    cdef int32_t found[PIECE]
    cdef Keys ipv4, ipv6
    cdef Py_ssize_t got = count, index
    cdef uint32_t key
    if batch.form == NUMBERS:
        ipv4.numbers = batch.numbers + start
        ipv4.count = <uint32_t>count
        match_keys(trie, False, &ipv4, matches)
        return count
    ipv4.numbers = numbers
    if batch.form == OCTETS and batch.valid == NULL and read_octets(batch, start, <uint32_t>count, &ipv6, numbers):
        ipv4.count = ipv6.count = <uint32_t>count
        match_keys(trie, batch.width == 16, &ipv6 if batch.width == 16 else &ipv4, matches)
        return count
    got = read_piece(batch, start, count, addresses)
    ipv4.count = ipv6.count = 0
    for index in range(got):
        if addresses[index].family == IPV4:
            numbers[ipv4.count] = <uint32_t>(addresses[index].hi >> 32)
            places4[ipv4.count] = <uint32_t>index
            ipv4.count += 1
        else:
            ipv6.hi[ipv6.count] = addresses[index].hi
            ipv6.lo[ipv6.count] = addresses[index].lo
            places6[ipv6.count] = <uint32_t>index
            ipv6.count += 1
    match_keys(trie, False, &ipv4, found)
    for key in range(ipv4.count):
        matches[places4[key]] = found[key]
    match_keys(trie, True, &ipv6, found)
    for key in range(ipv6.count):
        matches[places6[key]] = found[key]
    return got
