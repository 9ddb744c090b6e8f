"""The smallest cover: at most so many networks that contain given networks and the fewest other addresses.

An exact dynamic program (a knapsack on a tree) over the compressed binary trie of the given networks. Without Python
objects; `covers.pxi` is its door.

The given networks are the *leaves*: sorted, and none inside another. Each *branch* of the trie is the longest network
that contains its leaves. A cover with the fewest extra addresses consists of leaves and branches only, because every
other network contains the same leaves as a longer one. The table of a branch has, for each number of entries, the
fewest extra addresses of a cover of its leaves:

- of one entry, which is the branch itself: its addresses less those of its leaves, if it is *permitted*: not wider than
  the bound, and without a barred address;
- of more entries: the best division of them between its two children.

So exactly `n` entries cover a branch for each `n` from its `fewest` to the number of its leaves, and more entries never
have more extra addresses: an entry can always be divided. A table ends at the number of entries that is asked for, so
that all tables together take time in proportion to leaves times entries.

Branches are stored in postorder. The children of a branch follow from that: the right one is directly before it, and
the left one before the branches of the right one.

    leaves      a   b   c   d                    the stack of tables while the branch of c and d is worked out:
    branches  0 [a b] 1 [c d] 2 [all]            [a b] of 1 to 2 entries, [c] of 1, [d] of 1

A cost is an exact number of addresses of one family below 2^128, in two halves.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from address cimport IPV4, Prefix, high_bits, same_network
from build cimport Item
from native cimport allocate_array, leading_zeros

cdef enum:
    # The most entries: a division of them is a uint16_t.
    MOST_ENTRIES = 65535
    # The most tables on the stack: those on the way to a leaf of 128 bits, and the leaf.
    PENDING = 130

# What is known of a given network.
cdef enum:
    COVERED = 0
    BARRED = 1
    WIDE = 2

cdef struct Cost:
    uint64_t hi
    uint64_t lo

cdef struct Branch:
    # The extra addresses if the branch is an entry, and whether it may be one.
    Cost extra
    bint permitted
    int length
    uint32_t first
    uint32_t leaves
    # How many of the leaves are below the right child.
    uint32_t right
    uint32_t fewest
    # Where its divisions begin: for two entries, for three, and so on.
    size_t divisions

# A subtree that waits for its sibling.
cdef struct Pending:
    uint32_t first
    uint32_t leaves
    uint32_t fewest
    # The number of entries at which its table ends.
    uint32_t most
    # The bits that its first leaf has in common with the leaf before.
    int shared
    Cost addresses
    size_t table

cdef struct Cover:
    const Item *leaves
    uint32_t count
    uint32_t most
    int widest
    int bits
    Branch *branches
    # For each branch and each number of entries from two on, how many of them the left child has.
    uint16_t *divisions
    # The stack of tables, and a table under construction.
    Cost *tables
    Cost *growing
    Pending pending[PENDING]
    int depth
    # How far `work` has come: branches done, leaves taken, and entries of the left child for the next branch.
    uint32_t done
    uint32_t taken
    uint32_t left


cdef inline bint less(uint64_t hi, uint64_t lo, const Cost *other) noexcept nogil:
    """Return whether one cost is less than another."""
    return hi < other.hi or (hi == other.hi and lo < other.lo)


cdef inline Cost addresses_of(int host_bits) noexcept nogil:
    """Return the number of addresses of a network, modulo 2^128."""
    cdef Cost size
    size.hi = <uint64_t>1 << (host_bits - 64) if 64 <= host_bits < 128 else 0
    size.lo = <uint64_t>1 << host_bits if host_bits < 64 else 0
    return size


cdef inline void add(Cost *sum, const Cost *more) noexcept nogil:
    """Add a cost to another one, modulo 2^128."""
    sum.lo += more.lo
    sum.hi += more.hi + (sum.lo < more.lo)


cdef inline int shared_bits(const Prefix *one, const Prefix *other) noexcept nogil:
    """Return how many bits the first addresses of two networks of one family have in common."""
    if one.first.hi != other.first.hi:
        return leading_zeros(one.first.hi ^ other.first.hi)
    return 64 + leading_zeros(one.first.lo ^ other.first.lo)


cdef inline bint contains_network(const Prefix *outer, const Prefix *inner) noexcept nogil:
    """Return whether a network contains another one, or is the same."""
    return outer.first.family == inner.first.family and outer.length <= inner.length and same_network(
        outer.first.hi, outer.first.lo, inner.first.hi, inner.first.lo, outer.length
    )


cdef inline bint begins_before(const Prefix *one, const Prefix *other) noexcept nogil:
    """Return whether the first address of a network is before that of another one, IPv4 first."""
    if one.first.family != other.first.family:
        return one.first.family == IPV4
    return one.first.hi < other.first.hi or (one.first.hi == other.first.hi and one.first.lo < other.first.lo)


cdef inline uint32_t outermost(Item *items, uint32_t count) noexcept nogil:
    """Keep those sorted networks that are not inside another one; return how many remain."""
    cdef uint32_t kept = 0, index
    for index in range(count):
        if not kept or not contains_network(&items[kept - 1].prefix, &items[index].prefix):
            items[kept] = items[index]
            kept += 1
    return kept


cdef inline bint meets_any(const Prefix *network, const Item *barred, uint32_t count) noexcept nogil:
    """Return whether a network overlaps one of the barred networks, which are sorted and disjoint."""
    cdef uint32_t low = 0, high = count, middle
    while low < high:
        middle = low + (high - low) // 2
        if begins_before(&barred[middle].prefix, network):
            low = middle + 1
        else:
            high = middle
    # What overlaps it begins before it and contains it, or begins inside of it.
    if low < count and (
        contains_network(network, &barred[low].prefix) or contains_network(&barred[low].prefix, network)
    ):
        return True
    return low > 0 and contains_network(&barred[low - 1].prefix, network)


cdef inline uint32_t keep_leaves(
    Item *items, uint32_t count, const Item *barred, uint32_t barred_count, int widest4, int widest6, uint8_t *states
) noexcept nogil:
    """Keep the leaves among sorted networks: what no entry may contain, and what is inside a leaf, is left out.

    Sets the state of each network by its input order; returns how many remain.
    """
    cdef uint32_t kept = 0, index
    cdef const Prefix *prefix
    for index in range(count):
        prefix = &items[index].prefix
        if kept and contains_network(&items[kept - 1].prefix, prefix):
            states[items[index].order] = COVERED
        elif meets_any(prefix, barred, barred_count):
            states[items[index].order] = BARRED
        elif prefix.length < (widest4 if prefix.first.family == IPV4 else widest6):
            states[items[index].order] = WIDE
        else:
            states[items[index].order] = COVERED
            items[kept] = items[index]
            kept += 1
    return kept


cdef inline Prefix network_of(const Cover *cover, const Branch *branch) noexcept nogil:
    """Return the network of a branch."""
    cdef Prefix network = cover.leaves[branch.first].prefix
    network.length = branch.length
    network.first.hi &= high_bits(branch.length)
    network.first.lo &= high_bits(branch.length - 64)
    return network


cdef inline void join_top(Cover *cover, uint32_t at, const Item *barred, uint32_t barred_count) noexcept nogil:
    """Join the two upper subtrees of the stack to branch `at`, and describe it."""
    cdef Pending *right = &cover.pending[cover.depth - 1]
    cdef Pending *left = &cover.pending[cover.depth - 2]
    cdef Branch *branch = &cover.branches[at]
    cdef Cost size
    cdef Prefix network
    branch.length = right.shared
    branch.first = left.first
    branch.leaves = left.leaves + right.leaves
    branch.right = right.leaves
    add(&left.addresses, &right.addresses)
    size = addresses_of(cover.bits - branch.length)
    branch.extra.hi = size.hi - left.addresses.hi - (size.lo < left.addresses.lo)
    branch.extra.lo = size.lo - left.addresses.lo
    branch.permitted = branch.length >= cover.widest
    if branch.permitted:
        network = network_of(cover, branch)
        branch.permitted = not meets_any(&network, barred, barred_count)
    branch.fewest = 1 if branch.permitted else left.fewest + right.fewest
    left.leaves = branch.leaves
    left.fewest = branch.fewest
    cover.depth -= 1


cdef inline bint plan_cover(Cover *cover, const Item *barred, uint32_t barred_count) noexcept nogil:
    """Find the branches, and allocate everything that is needed; return False without memory.

    `leaves`, `count`, `most`, `widest` and `bits` are set, and all else is zero. There is at least one leaf.
    """
    cdef uint32_t leaf, joined = 0, size
    cdef int shared
    cdef size_t divisions = 0, room = 0, deepest = 0
    cdef Pending *top
    cover.branches = <Branch *>allocate_array(cover.count, sizeof(Branch))
    if cover.branches == NULL:
        return False
    for leaf in range(cover.count):
        top = &cover.pending[cover.depth]
        top.first = leaf
        top.leaves = top.fewest = 1
        top.addresses = addresses_of(cover.bits - cover.leaves[leaf].prefix.length)
        top.shared = shared_bits(&cover.leaves[leaf - 1].prefix, &cover.leaves[leaf].prefix) if leaf else -1
        cover.depth += 1
        room += 1
        deepest = max(deepest, room)
        shared = -1
        if leaf + 1 < cover.count:
            shared = shared_bits(&cover.leaves[leaf].prefix, &cover.leaves[leaf + 1].prefix)
        while cover.depth > 1 and cover.pending[cover.depth - 1].shared > shared:
            room -= min(cover.pending[cover.depth - 1].leaves, cover.most)
            room -= min(cover.pending[cover.depth - 2].leaves, cover.most)
            join_top(cover, joined, barred, barred_count)
            size = min(cover.branches[joined].leaves, cover.most)
            room += size
            cover.branches[joined].divisions = divisions
            divisions += size - 1
            joined += 1
    cover.depth = 0
    cover.divisions = <uint16_t *>allocate_array(divisions + 1, sizeof(uint16_t))
    cover.tables = <Cost *>allocate_array(deepest, sizeof(Cost))
    cover.growing = <Cost *>allocate_array(min(cover.count, cover.most), sizeof(Cost))
    return cover.divisions != NULL and cover.tables != NULL and cover.growing != NULL


cdef inline void drop_cover(Cover *cover) noexcept nogil:
    """Free what `plan_cover` allocated."""
    free(cover.branches)
    free(cover.divisions)
    free(cover.tables)
    free(cover.growing)
    memset(cover, 0, sizeof(Cover))


cdef inline void take_leaves(Cover *cover, uint32_t end) noexcept nogil:
    """Push the tables of the leaves before `end`: one entry, and no extra address."""
    cdef Pending *top
    while cover.taken < end:
        top = &cover.pending[cover.depth]
        top.table = 0
        if cover.depth:
            top.table = cover.pending[cover.depth - 1].table + cover.pending[cover.depth - 1].most
        top.fewest = top.most = 1
        cover.tables[top.table].hi = cover.tables[top.table].lo = 0
        cover.depth += 1
        cover.taken += 1


cdef inline void divide(
    const Cost *left, const Cost *right, uint32_t begin, uint32_t end, Cost *grown, uint16_t *divisions, uint32_t i
) noexcept nogil:
    """Compare with `i` entries of the left child and `begin` to `end` of the right one."""
    cdef uint32_t j
    cdef uint64_t hi, lo
    for j in range(begin, end + 1):
        lo = left[i - 1].lo + right[j - 1].lo
        hi = left[i - 1].hi + right[j - 1].hi + (lo < right[j - 1].lo)
        if less(hi, lo, &grown[i + j - 1]):
            grown[i + j - 1].hi = hi
            grown[i + j - 1].lo = lo
            divisions[i + j - 2] = <uint16_t>i


cdef inline bint work(Cover *cover, uint64_t steps) noexcept nogil:
    """Continue with the tables for about so many steps; return whether all are done."""
    cdef Pending *left
    cdef Pending *right
    cdef Branch *branch
    cdef uint32_t most, last
    cdef uint64_t spent = 0
    while cover.done + 1 < cover.count:
        branch = &cover.branches[cover.done]
        most = min(branch.leaves, cover.most)
        if cover.left == 0:
            take_leaves(cover, branch.first + branch.leaves)
            # No cover has so many extra addresses.
            memset(cover.growing, 0xFF, most * sizeof(Cost))
            cover.left = cover.pending[cover.depth - 2].fewest
        left = &cover.pending[cover.depth - 2]
        right = &cover.pending[cover.depth - 1]
        while cover.left <= left.most and cover.left + right.fewest <= most:
            if spent > steps:
                return False
            last = min(right.most, most - cover.left)
            divide(
                cover.tables + left.table, cover.tables + right.table, right.fewest, last,
                cover.growing, cover.divisions + branch.divisions, cover.left,
            )
            spent += last - right.fewest + 4
            cover.left += 1
        if branch.permitted:
            cover.growing[0] = branch.extra
        memcpy(cover.tables + left.table, cover.growing, most * sizeof(Cost))
        left.most = most
        left.fewest = branch.fewest
        cover.depth -= 1
        cover.left = 0
        cover.done += 1
        spent += 16
    take_leaves(cover, cover.count)
    return True


cdef inline uint32_t fewest_of(const Cover *cover) noexcept nogil:
    """Return the fewest entries that cover all leaves; 0 without leaves."""
    if cover.count < 2:
        return cover.count
    return cover.branches[cover.count - 2].fewest


cdef inline Cost cost_of(const Cover *cover, uint32_t entries) noexcept nogil:
    """Return the fewest extra addresses of so many entries, after all work."""
    cdef Cost nothing
    nothing.hi = nothing.lo = 0
    return cover.tables[entries - 1] if entries else nothing


cdef inline uint32_t best_share(const Cover *cover4, const Cover *cover6, uint32_t entries) noexcept nogil:
    """Return how many of the entries are IPv4 in the best cover: an extra IPv4 address counts as much as 2^64 of IPv6.

    The cost has 129 bits at most: 2^32 addresses of IPv4 and 2^128 of IPv6.
    """
    cdef uint32_t least = fewest_of(cover4), most = min(cover4.count, cover4.most), share, best = 0
    cdef Cost ipv4, ipv6, sum, lowest
    cdef bint over, lowest_over = True
    lowest.hi = lowest.lo = <uint64_t>-1
    if entries > cover6.count and entries - cover6.count > least:
        least = entries - cover6.count
    most = min(most, entries - fewest_of(cover6))
    for share in range(least, most + 1):
        ipv4 = cost_of(cover4, share)
        ipv6 = cost_of(cover6, entries - share)
        sum.hi = ipv4.lo + ipv6.hi
        sum.lo = ipv6.lo
        over = sum.hi < ipv6.hi
        if over < lowest_over or (over == lowest_over and less(sum.hi, sum.lo, &lowest)):
            best = share
            lowest = sum
            lowest_over = over
    return best


cdef inline uint32_t trace(const Cover *cover, uint32_t entries, Prefix *networks) noexcept nogil:
    """Write the networks of the best cover of exactly so many entries, in address order; return how many."""
    cdef uint32_t at[PENDING]
    cdef uint32_t leaves[PENDING]
    cdef uint32_t shares[PENDING]
    cdef uint32_t written = 0, leaf = 0, share
    cdef int depth = 1
    cdef const Branch *branch
    if not entries:
        return 0
    # Of a subtree of one leaf, the place is not used: its leaf is the next one.
    at[0] = cover.count - 2
    leaves[0] = cover.count
    shares[0] = entries
    while depth:
        depth -= 1
        if leaves[depth] == 1:
            networks[written] = cover.leaves[leaf].prefix
            written += 1
            leaf += 1
            continue
        branch = &cover.branches[at[depth]]
        if shares[depth] == 1:
            networks[written] = network_of(cover, branch)
            written += 1
            leaf += branch.leaves
            continue
        share = cover.divisions[branch.divisions + shares[depth] - 2]
        at[depth + 1] = at[depth] - branch.right
        leaves[depth + 1] = branch.leaves - branch.right
        shares[depth + 1] = share
        at[depth] -= 1
        leaves[depth] = branch.right
        shares[depth] -= share
        depth += 2
    return written
