"""The trie block, one immutable, contiguous, position-independent piece of memory, and its search functions.

    offset  section       present    content
    0       TrieHeader    always     count and flags of each family; CLOSED
    8       first4        n4 > 0     uint32[n4]   network addresses of the IPv4 prefixes
            length4                  uint8[n4]    their lengths, padded to 8 bytes
            high6         n6 > 0     uint64[n6]   first 64 bits of the IPv6 prefixes
            low6          not UPPER, uint64[n6]   last 64 bits
                          not SPARSE
            length6       n6 > 0     uint8[n6]    their lengths, padded to 8 bytes
            longer6       SPARSE     uint32 count, uint32[count], padded to 8 bytes: which prefixes are longer than 64
                                     bits; uint64[count] their last 64 bits
            index4        n4 > SMALL IndexHeader, nodes, root, words
            index6        n6 > SMALL the same

The prefixes of a family are sorted by (network, length), which is the preorder of the trie they form: all prefixes
inside a prefix follow it directly, and the longest match of an address is the last prefix that covers it.

For up to SMALL prefixes, the search counts the networks that are not above the address. A list without nested prefixes
(NESTED clear, as in every validated allowlist) then needs one comparison. Larger families have a multibit trie with
strides of eight bits over the sorted arrays. From DIRECT prefixes on, this trie has a direct-pointing root of 16 bits.
Its nodes are compressed by population count, as in Asai and Ohara, "Poptrie" (SIGCOMM 2015), and its paths where only
few prefixes are left:

- A *leaf* is the slot of a span with a single prefix that no other prefix covers: the address is compared with it.
- A *run* is the slot of a span with at most RUN prefixes: they are searched as a small list.
- A *skip* is the slot of a span whose prefixes are inside one much smaller network: the address is compared with this
  network, and the walk continues in the node of its bits.

So a prefix costs the index one path of nodes only as far as other prefixes share it, whatever its length is. Runs and
skips are described by a few words (`Branch`) beside the slots of the node that refers to them.

Most nodes are the last one of their walks, and have few prefixes. Such a *final* node (`Final`) has slots of one byte,
which count from its first prefix. They follow the node, so a walk that is there waits for nothing far away.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from address cimport IPV4, IPV6, Address, Prefix, same_network, set_ipv4
from native cimport popcount, select

cdef extern from "ranks.h" nogil:
    uint32_t (*rank4 "cidrgate_rank4")(const uint32_t *first, uint32_t count, uint32_t address) noexcept
    uint32_t (*rank6 "cidrgate_rank6")(
        const uint64_t *high, const uint64_t *low, uint32_t count, uint64_t hi, uint64_t lo) noexcept
    uint32_t rank6_portable "cidrgate_rank6_portable" (
        const uint64_t *high, const uint64_t *low, uint32_t count, uint64_t hi, uint64_t lo) noexcept

cdef enum:
    # Families of up to this many prefixes are searched as arrays.
    SMALL = 64
    # Lists of up to this many are searched without wide vectors, which would wait for what is behind the list.
    FEW = 16
    # Families of at least this many prefixes have a root of 2**ROOT_BITS slots.
    DIRECT = 8192
    ROOT_BITS = 16
    ROOTS = 65536
    STRIDE = 8
    FANOUT = 256
    # Values of a slot: the index of a prefix (below LEAF), `LEAF + index` for a leaf, NONE for no prefix,
    # `CHILD - number` for a node one stride below, `BRANCH - position` for a run or a skip, or `FINAL - position` for a
    # final node.
    LEAF = 0x40000000
    NONE = -1
    CHILD = -2
    BRANCH = -0x40000002
    FINAL = -0x60000002
    # The most prefixes of one list, and how many values of a slot are for nodes. Half as many are for the words of runs
    # and skips, and half as many for those of final nodes (`counters.h`).
    MOST_LISTED = 0x3FFFFFFF
    MOST_NODES = 0x40000000
    # The most prefixes of a run. A search compares this many networks, so RUN - 1 that follow the run may be read. They
    # are in the block: families with an index have more than SMALL prefixes, and so many lengths after their networks.
    RUN = 8
    # The words that describe a run and a skip.
    RUN_WORDS = 3
    SKIP_WORDS = 4
    # A block is SPARSE if at most one IPv6 prefix of so many is longer than 64 bits.
    SEVERAL = 16
    # The slot of a final node for the match of an address that is in none of its prefixes, and the most prefixes of it.
    INHERITED = 255

cdef enum: NESTED = 0x80000000
# Of IPv6: no prefix is longer than 64 bits, and there is no section low6.
cdef enum: UPPER = 0x40000000
cdef enum: COUNT = 0x3FFFFFFF
# Has the same bit as UPPER, but in the word of IPv4: few IPv6 prefixes are longer than 64 bits, and there is a section
# longer6 instead of low6. Only of families with an index, and never without a longer prefix.
cdef enum: SPARSE = 0x40000000
# Has the same bit as NESTED. In a block without prefixes, it means that the account is enforced and allows nothing.
cdef enum: CLOSED = 0x80000000
# Shifted right by a prefix length, the lower half is the IPv4 network mask.
cdef enum: IPV4_MASKS = 0xFFFFFFFF00000000

cdef struct TrieHeader:
    uint32_t ipv4           # count | NESTED | SPARSE
    uint32_t ipv6           # count | NESTED | UPPER

cdef struct IndexHeader:
    # Without a direct root, the first slot of a walk. With one, which of its 2**ROOT_BITS slots is the first that is
    # stored: of IPv4 all are, of IPv6 those from the first prefix to the last one.
    int32_t start
    uint32_t roots          # the stored slots of a direct root, or 0
    uint32_t nodes
    uint32_t words          # the slots of the nodes, and what they refer to by a position

# A node covers FANOUT equal spans of addresses. Bit i of `bits` is set if span i has a different slot than span i - 1.
# The slots of the set bits are stored in order from `base` on. `before[w]` counts the set bits below word w.
cdef struct Node:
    uint64_t bits[4]
    uint32_t base
    uint8_t before[4]

# What the words at the position of a run or of a skip contain.
cdef struct Branch:
    int32_t kind            # run: how many prefixes; skip: -depth of the node
    int32_t start           # run: the first prefix; skip: a prefix inside the network
    int32_t inherited       # the longest match of an address that is in none of them
    int32_t node            # skip: the slot of the node

# What the words at the position of a final node contain: a node, and behind it a byte for each set bit.
cdef packed struct Final:
    uint64_t bits[4]
    int32_t start           # the first prefix of the node, from which the slots count
    int32_t inherited       # the longest match of an address that is in none of them
    uint8_t before[4]

cdef struct Index:
    const int32_t *root     # NULL without a direct root
    const Node *nodes
    const int32_t *words
    int32_t start
    uint32_t roots

# The last 64 bits of the IPv6 prefixes: of all, or only of those that are longer than 64 bits, or of none.
cdef struct Lows:
    const uint64_t *dense   # NULL if UPPER or SPARSE
    const uint64_t *sparse
    const uint32_t *longer  # the prefixes that `sparse` has, in order
    uint32_t count

# Pointers to the sections of a block, so that they are computed only once.
cdef struct Trie:
    uint32_t n4
    uint32_t n6
    bint nested4
    bint nested6
    const uint32_t *first4
    const uint8_t *length4
    const uint64_t *high6
    Lows low6
    const uint8_t *length6
    Index index4
    Index index6
    const void *edges       # Edges of a large table (`edges.pxd`), or NULL


# The sizes of sections have 64 bits on every target, so that none wraps: they are computed from the counts of a file
# before the counts are checked.
cdef inline uint64_t padded(uint64_t size) noexcept nogil:
    """Return the next multiple of eight."""
    return (size + 7) & ~<uint64_t>7


cdef inline uint64_t dense_size(const TrieHeader *header) noexcept nogil:
    """Return the bytes of the header and the sorted arrays without the section longer6."""
    return (sizeof(TrieHeader) + padded(5 * <uint64_t>(header.ipv4 & COUNT))
            + padded(ipv6_width(header) * (header.ipv6 & COUNT)))


cdef inline uint64_t longer_size(uint32_t count) noexcept nogil:
    """Return the bytes of a section longer6."""
    return padded(sizeof(uint32_t) * (<uint64_t>count + 1)) + sizeof(uint64_t) * <uint64_t>count


cdef inline uint64_t arrays_size(const TrieHeader *header) noexcept nogil:
    """Return the bytes of the header of a block and its sorted arrays."""
    cdef uint64_t size = dense_size(header)
    if header.ipv4 & SPARSE:
        size += longer_size((<const uint32_t *>(<const char *>header + size))[0])
    return size


cdef inline uint64_t ipv6_width(const TrieHeader *header) noexcept nogil:
    """Return the bytes of an IPv6 prefix in the sorted arrays, without those in the section longer6."""
    return 9 if header.ipv6 & UPPER or header.ipv4 & SPARSE else 17


cdef inline const uint8_t *view_lows(const char *block, Lows *lows) noexcept nogil:
    """Locate the last 64 bits of the IPv6 prefixes of a block; return the start of their lengths."""
    cdef const TrieHeader *header = <const TrieHeader *>block
    cdef const uint64_t *behind_high6 = <const uint64_t *>ipv6_section(block) + (header.ipv6 & COUNT)
    cdef const uint32_t *section
    lows.count = 0
    if ipv6_width(header) > 9:
        lows.dense = behind_high6
        return <const uint8_t *>(behind_high6 + (header.ipv6 & COUNT))
    lows.dense = NULL
    if header.ipv4 & SPARSE:
        section = <const uint32_t *>(block + dense_size(header))
        lows.count = section[0]
        lows.longer = section + 1
        lows.sparse = <const uint64_t *>(
            <const char *>section + padded(sizeof(uint32_t) * (<uint64_t>lows.count + 1)))
    return <const uint8_t *>behind_high6


cdef inline const char *ipv6_section(const char *block) noexcept nogil:
    """Return the start of the arrays of the IPv6 prefixes."""
    return block + sizeof(TrieHeader) + padded(5 * <uint64_t>((<const TrieHeader *>block).ipv4 & COUNT))


cdef inline uint64_t index_size(const IndexHeader *header) noexcept nogil:
    """Return the bytes of an index section."""
    return (sizeof(IndexHeader) + <uint64_t>header.nodes * sizeof(Node)
            + padded(sizeof(int32_t) * (<uint64_t>header.roots + header.words)))


cdef inline const char *view_index(const char *section, Index *index) noexcept nogil:
    """Locate the parts of an index; return the end of its section."""
    cdef const IndexHeader *header = <const IndexHeader *>section
    cdef const int32_t *roots
    index.start = header.start
    index.nodes = <const Node *>(section + sizeof(IndexHeader))
    roots = <const int32_t *>(index.nodes + header.nodes)
    index.root = roots if header.roots else NULL
    index.roots = header.roots
    index.words = roots + header.roots
    return section + index_size(header)


cdef inline void view_trie(const char *block, Trie *trie) noexcept nogil:
    """Locate the sections of a block."""
    cdef const TrieHeader *header = <const TrieHeader *>block
    cdef const char *section
    trie.n4 = header.ipv4 & COUNT
    trie.n6 = header.ipv6 & COUNT
    trie.nested4 = header.ipv4 & NESTED != 0
    trie.nested6 = header.ipv6 & NESTED != 0
    trie.first4 = <const uint32_t *>(block + sizeof(TrieHeader))
    trie.length4 = <const uint8_t *>(trie.first4 + trie.n4)
    trie.high6 = <const uint64_t *>ipv6_section(block)
    trie.length6 = view_lows(block, &trie.low6)
    section = block + arrays_size(header)
    if trie.n4 > SMALL:
        section = view_index(section, &trie.index4)
    if trie.n6 > SMALL:
        view_index(section, &trie.index6)
    trie.edges = NULL


cdef inline uint32_t stride_of(uint64_t hi, uint64_t lo, int depth) noexcept nogil:
    """Return the eight address bits after the first `depth` bits; `depth` is a multiple of eight."""
    if depth < 64:
        return <uint32_t>(hi >> (56 - depth)) & (FANOUT - 1)
    return <uint32_t>(lo >> (120 - depth)) & (FANOUT - 1)


cdef inline uint32_t rank_of(uint32_t before, uint64_t bits, uint32_t span) noexcept nogil:
    """Return the number of a span's slot in its node, by the word of the bitmap that has its bit."""
    return before + popcount(bits << (63 - (span & 63))) - 1


cdef inline uint32_t node_slot(const Node *node, uint32_t span) noexcept nogil:
    """Return the number of the slot for a span."""
    cdef uint32_t word = span >> 6
    return node.base + rank_of(node.before[word], node.bits[word], span)


cdef inline const Final *final_at(const Index *index, int32_t slot) noexcept nogil:
    """Return the final node that a slot refers to."""
    return <const Final *>(index.words + (<int64_t>FINAL - slot))


cdef inline uint32_t final_size(uint32_t slots) noexcept nogil:
    """Return the words of a final node with a number of slots."""
    return <uint32_t>(sizeof(Final) + slots + 3) >> 2


cdef inline const uint8_t *final_slot(const Final *node, uint32_t span) noexcept nogil:
    """Return where a final node has its slot for a span."""
    cdef uint32_t word = span >> 6
    return <const uint8_t *>(node + 1) + rank_of(node.before[word], node.bits[word], span)


cdef inline int32_t final_match(const Final *node, uint8_t slot) noexcept nogil:
    """Return the longest match that a slot of a final node stands for."""
    return select(slot, INHERITED, node.inherited, node.start + slot)


cdef inline bint is_match(int32_t slot) noexcept nogil:
    """Return whether a slot is the index of a prefix or NONE: the end of a walk."""
    return <uint32_t>slot + 1 <= LEAF


cdef inline bint is_node(int32_t slot) noexcept nogil:
    """Return whether a slot refers to a node."""
    return <uint32_t>CHILD - <uint32_t>slot < MOST_NODES


cdef inline bint is_final(int32_t slot) noexcept nogil:
    """Return whether a slot refers to a final node."""
    return slot <= FINAL


cdef inline const Branch *branch_at(const Index *index, int32_t slot) noexcept nogil:
    """Return the run or the skip that a slot refers to."""
    return <const Branch *>(index.words + (<int64_t>BRANCH - slot))


cdef inline uint64_t low_at(const Lows *lows, uint32_t index) noexcept nogil:
    """Return the last 64 bits of an IPv6 prefix; all are 0 where they are not stored."""
    cdef uint32_t low = 0, high, middle
    if lows.dense != NULL:
        return lows.dense[index]
    high = lows.count
    while low < high:
        middle = (low + high) >> 1
        if lows.longer[middle] < index:
            low = middle + 1
        else:
            high = middle
    return lows.sparse[low] if low < lows.count and lows.longer[low] == index else 0


cdef inline int32_t first_slot(const Index *index, bint ipv6, uint64_t hi) noexcept nogil:
    """Return the slot at which the walk of an address begins."""
    cdef uint32_t span = <uint32_t>(hi >> (64 - ROOT_BITS))
    if index.root == NULL:
        return index.start
    if not ipv6:
        return index.root[span]
    span -= <uint32_t>index.start
    return index.root[span] if span < index.roots else NONE


cdef inline const Index *index_of(const Trie *trie, bint ipv6) noexcept nogil:
    """Return the index of a family."""
    return &trie.index6 if ipv6 else &trie.index4


cdef inline bint shares(
    const Trie *trie, bint ipv6, uint32_t index, int length, uint64_t hi, uint64_t lo
) noexcept nogil:
    """Return whether an address has the first `length` bits of a prefix's network."""
    if ipv6:
        return same_network(trie.high6[index], low_at(&trie.low6, index) if length > 64 else 0, hi, lo, length)
    return ((trie.first4[index] ^ <uint32_t>(hi >> 32)) & <uint32_t>(IPV4_MASKS >> length)) == 0


cdef inline bint covers(const Trie *trie, bint ipv6, uint32_t index, uint64_t hi, uint64_t lo) noexcept nogil:
    """Return whether a prefix covers an address."""
    return shares(trie, ipv6, index, trie.length6[index] if ipv6 else trie.length4[index], hi, lo)


cdef inline uint32_t count_longer(const uint8_t *lengths, uint32_t count, int length) noexcept nogil:
    """Return how many of `count` prefixes are longer than a length."""
    cdef uint32_t index, longer = 0
    for index in range(count):
        longer += lengths[index] > length
    return longer


cdef inline int32_t search_run(
    const Trie *trie, bint ipv6, uint32_t start, uint32_t count, int32_t inherited, uint64_t hi, uint64_t lo
) noexcept nogil:
    """Return the longest match of an address whose walk ends at a run."""
    cdef uint32_t rank = 0, at, address = <uint32_t>(hi >> 32)
    cdef int32_t last
    # Compilers turn these loops into vector code, as the number of steps is fixed.
    if not ipv6:
        for at in range(RUN):
            rank += (trie.first4[start + at] <= address) & (at < count)
    elif trie.low6.dense != NULL:
        for at in range(RUN):
            rank += ((trie.high6[start + at] < hi) | (
                (trie.high6[start + at] == hi) & (trie.low6.dense[start + at] <= lo))) & (at < count)
    elif trie.low6.count == 0 or count_longer(trie.length6 + start, count, 64) == 0:
        for at in range(RUN):
            rank += (trie.high6[start + at] <= hi) & (at < count)
    else:
        for at in range(count):
            rank += trie.high6[start + at] < hi or (
                trie.high6[start + at] == hi and low_at(&trie.low6, start + at) <= lo)
    # Without branches for the last network that is not above the address: most often it decides.
    last = <int32_t>(start + rank - (rank > 0))
    last = last if (rank > 0) & covers(trie, ipv6, <uint32_t>last, hi, lo) else NONE
    if last == NONE and (trie.nested6 if ipv6 else trie.nested4):
        while rank > 1:
            rank -= 1
            if covers(trie, ipv6, start + rank - 1, hi, lo):
                return <int32_t>(start + rank - 1)
    return inherited if last == NONE else last


cdef inline int32_t end_walk(
    const Trie *trie, bint ipv6, int32_t slot, uint64_t hi, uint64_t lo, uint8_t *depth
) noexcept nogil:
    """Return what a leaf, a run or a skip comes to: a match, or any node after a skip, with its depth."""
    cdef const Branch *branch
    if slot >= LEAF:
        return slot - LEAF if covers(trie, ipv6, <uint32_t>(slot - LEAF), hi, lo) else NONE
    branch = branch_at(index_of(trie, ipv6), slot)
    if branch.kind > 0:
        return search_run(trie, ipv6, <uint32_t>branch.start, <uint32_t>branch.kind, branch.inherited, hi, lo)
    if not shares(trie, ipv6, <uint32_t>branch.start, -branch.kind, hi, lo):
        return branch.inherited
    depth[0] = <uint8_t>-branch.kind
    return branch.node


cdef inline int32_t walk(const Trie *trie, bint ipv6, uint64_t hi, uint64_t lo) noexcept nogil:
    """Return the longest match of an address in the multibit trie of a family."""
    cdef const Index *index = index_of(trie, ipv6)
    cdef int32_t slot = first_slot(index, ipv6, hi)
    cdef const Final *final
    cdef uint8_t depth = 0 if index.root == NULL else ROOT_BITS
    while not is_match(slot):
        if is_node(slot):
            slot = index.words[node_slot(index.nodes + (CHILD - slot), stride_of(hi, lo, depth))]
            depth += STRIDE
        elif is_final(slot):
            final = final_at(index, slot)
            return final_match(final, final_slot(final, stride_of(hi, lo, depth))[0])
        else:
            slot = end_walk(trie, ipv6, slot, hi, lo, &depth)
    return slot


cdef inline int32_t search4(
    const uint32_t *first, const uint8_t *length, uint32_t count, bint nested, uint32_t address
) noexcept nogil:
    """Return the longest match of an IPv4 address in small sorted arrays, or NONE."""
    cdef int32_t rank = 0
    cdef uint32_t index
    if count > FEW:
        rank = <int32_t>rank4(first, count, address)
    else:
        for index in range(count):
            rank += first[index] <= address
    return last_cover4(first, length, rank, nested, address)


cdef inline int32_t last_cover4(
    const uint32_t *first, const uint8_t *length, int32_t rank, bint nested, uint32_t address
) noexcept nogil:
    """Return the last of the first `rank` prefixes that covers an IPv4 address, or NONE."""
    while rank > 0:
        rank -= 1
        if ((first[rank] ^ address) & <uint32_t>(IPV4_MASKS >> length[rank])) == 0:
            return rank
        if not nested:
            break
    return NONE


cdef inline int32_t search6(
    const uint64_t *high, const uint64_t *low, const uint8_t *length, uint32_t count, bint nested,
    uint64_t hi, uint64_t lo
) noexcept nogil:
    """Return the longest match of an IPv6 address in small sorted arrays, or NONE; `low` is NULL if all of it is 0."""
    cdef int32_t rank = 0
    if count:
        rank = <int32_t>(
            rank6(high, low, count, hi, lo) if count > FEW else rank6_portable(high, low, count, hi, lo))
    while rank > 0:
        rank -= 1
        if same_network(high[rank], 0 if low == NULL else low[rank], hi, lo, length[rank]):
            return rank
        if not nested:
            break
    return NONE


cdef inline int32_t longest_match4(const Trie *trie, uint32_t address) noexcept nogil:
    """Return the index of an IPv4 address's longest match in iteration order, or NONE."""
    if trie.n4 > SMALL:
        return walk(trie, False, <uint64_t>address << 32, 0)
    return search4(trie.first4, trie.length4, trie.n4, trie.nested4, address)


cdef inline int32_t longest_match6(const Trie *trie, uint64_t hi, uint64_t lo) noexcept nogil:
    """Return the index of an IPv6 address's longest match in iteration order, or NONE."""
    cdef int32_t index
    if trie.n6 > SMALL:
        index = walk(trie, True, hi, lo)
    else:
        index = search6(trie.high6, trie.low6.dense, trie.length6, trie.n6, trie.nested6, hi, lo)
    return index if index < 0 else index + <int32_t>trie.n4


cdef inline int32_t longest_match(const Trie *trie, const Address *address) noexcept nogil:
    """Return the index of the longest match in iteration order, or NONE."""
    if address.family == IPV4:
        return longest_match4(trie, <uint32_t>(address.hi >> 32))
    return longest_match6(trie, address.hi, address.lo)


cdef inline void prefix_at(const Trie *trie, uint32_t index, Prefix *prefix) noexcept nogil:
    """Read the prefix at an index of the iteration order."""
    if index < trie.n4:
        set_ipv4(&prefix.first, trie.first4[index])
        prefix.length = trie.length4[index]
    else:
        index -= trie.n4
        prefix.first.hi = trie.high6[index]
        prefix.first.lo = low_at(&trie.low6, index)
        prefix.first.family = IPV6
        prefix.length = trie.length6[index]


cdef inline bint precedes(const Prefix *one, const Prefix *other) noexcept nogil:
    """Return whether a prefix is before another in iteration order: IPv4 first, then by network, then by length."""
    if one.first.family != other.first.family:
        return one.first.family < other.first.family
    if one.first.hi != other.first.hi:
        return one.first.hi < other.first.hi
    if one.first.lo != other.first.lo:
        return one.first.lo < other.first.lo
    return one.length < other.length


cdef inline bint contains(const Prefix *outer, const Prefix *inner) noexcept nogil:
    """Return whether a prefix covers another prefix or equals it."""
    return (outer.first.family == inner.first.family and outer.length <= inner.length
            and same_network(outer.first.hi, outer.first.lo, inner.first.hi, inner.first.lo, outer.length))


cdef inline uint32_t lower_bound(const Trie *trie, const Prefix *prefix) noexcept nogil:
    """Return the index of the first stored prefix that does not precede the given one, or the count without one."""
    cdef uint32_t low = 0, high = trie.n4 + trie.n6, middle
    cdef Prefix stored
    while low < high:
        middle = (low + high) >> 1
        prefix_at(trie, middle, &stored)
        if precedes(&stored, prefix):
            low = middle + 1
        else:
            high = middle
    return low
