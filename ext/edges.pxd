"""Many IPv6 addresses in a large table: the search for the interval of an address, instead of a walk.

The prefixes of a table divide the addresses into intervals with the same longest match. This file has the edges of the
intervals of the first 64 bits, and for each interval its match. Where a prefix is longer than 64 bits, the walk
decides. Edges are made once for a table, when the first large array is looked up, and take up to 26 bytes a prefix.
Only the vector forms are faster than a walk.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from native cimport allocate, prefetch
from trie cimport NONE, Trie, count_longer, longest_match6

cdef extern from "edges.h" nogil:
    ctypedef struct Tree "cidrgate_tree":
        uint32_t count
    size_t plan_tree "cidrgate_plan_tree" (Tree *tree, uint32_t count) noexcept
    void make_tree "cidrgate_make_tree" (Tree *tree, uint64_t *keys) noexcept
    bint descends_fast "cidrgate_descends_fast" () noexcept
    void descend "cidrgate_descend" (
        const Tree *tree, const uint64_t *numbers, uint32_t count, uint32_t *positions) noexcept

cdef enum:
    # The match of an interval for which the walk decides.
    WALK = -2
    # The smallest table and the smallest array for which edges are made.
    WORTHWHILE_TABLE = 8192
    WORTHWHILE_ARRAY = 4096
    # Edges are made if at most one prefix of so many is longer than 64 bits.
    FEW = 16
    # Prefixes of up to 64 bits around each other, and the space outside of them.
    MOST_AROUND = 67
    LINE = 64

cdef struct Edges:
    Tree tree
    const int32_t *matches
    size_t size

# The edges of a table in the making.
cdef struct Sweep:
    uint64_t *keys
    int32_t *matches
    uint32_t count


cdef inline void add_edge(Sweep *sweep, uint64_t edge, int32_t match) noexcept nogil:
    """Begin an interval. Of two that begin at the same edge, the later one is right."""
    if sweep.count and sweep.keys[sweep.count - 1] == edge:
        sweep.count -= 1
    sweep.keys[sweep.count] = edge
    sweep.matches[sweep.count] = match
    sweep.count += 1


cdef inline void find_edges(const Trie *trie, Sweep *sweep) noexcept nogil:
    """Find the intervals of a table. Its prefixes are in preorder; a stack has those around the current one."""
    cdef uint64_t lasts[MOST_AROUND]
    cdef int32_t matches[MOST_AROUND]
    cdef int top = 0, length
    cdef uint32_t index
    cdef uint64_t first
    lasts[0] = ~<uint64_t>0
    matches[0] = NONE
    add_edge(sweep, 0, NONE)
    for index in range(trie.n6):
        first = trie.high6[index]
        while lasts[top] < first:
            top -= 1
            add_edge(sweep, lasts[top + 1] + 1, matches[top])
        length = trie.length6[index]
        if matches[top] == WALK:
            # All prefixes of these 64 bits that are longer.
            continue
        top += 1
        lasts[top] = first | (~<uint64_t>0 >> length if length < 64 else 0)
        matches[top] = <int32_t>(trie.n4 + index) if length <= 64 else WALK
        add_edge(sweep, first, matches[top])
    while top:
        top -= 1
        if lasts[top + 1] != lasts[0]:
            add_edge(sweep, lasts[top + 1] + 1, matches[top])


cdef inline bint are_worthwhile(const Trie *trie) noexcept nogil:
    """Return whether a table is large, and so few of its prefixes are longer than 64 bits that few walks remain."""
    return trie.n6 >= WORTHWHILE_TABLE and count_longer(trie.length6, trie.n6, 64) <= trie.n6 // FEW


cdef inline Edges *make_edges(const Trie *trie) noexcept nogil:
    """Make the edges of a table; the caller frees them. Return NULL without memory."""
    cdef Edges *edges
    cdef Sweep sweep
    cdef Tree tree
    cdef size_t keys, most = 2 * <size_t>trie.n6 + 1
    # Keys and matches for the most edges that there can be; then a tree of those that there are.
    sweep.count = 0
    sweep.keys = <uint64_t *>allocate(most * (sizeof(uint64_t) + sizeof(int32_t)))
    if sweep.keys == NULL:
        return NULL
    sweep.matches = <int32_t *>(sweep.keys + most)
    find_edges(trie, &sweep)
    keys = plan_tree(&tree, sweep.count)
    edges = place_edges(&sweep, &tree, keys)
    free(sweep.keys)
    return edges


cdef inline Edges *place_edges(const Sweep *sweep, const Tree *tree, size_t keys) noexcept nogil:
    """Put edges into one piece of memory; return NULL without memory."""
    cdef size_t start = sizeof(Edges) + LINE
    cdef size_t size = start + keys * sizeof(uint64_t) + sweep.count * sizeof(int32_t)
    cdef char *memory = <char *>allocate(size)
    cdef Edges *edges = <Edges *>memory
    cdef uint64_t *placed
    if memory == NULL:
        return NULL
    placed = <uint64_t *>((<size_t>(memory + start)) & ~<size_t>(LINE - 1))
    memcpy(placed, sweep.keys, sweep.count * sizeof(uint64_t))
    memcpy(placed + keys, sweep.matches, sweep.count * sizeof(int32_t))
    edges.tree = tree[0]
    make_tree(&edges.tree, placed)
    edges.matches = <const int32_t *>(placed + keys)
    edges.size = size
    return edges


cdef inline void search_edges(
    const Trie *trie, const Edges *edges, const uint64_t *hi, const uint64_t *lo, uint32_t count, uint32_t *positions,
    int32_t *matches
) noexcept nogil:
    """Find the index of each address's longest match in iteration order; `positions` has room for all."""
    cdef uint32_t index
    descend(&edges.tree, hi, count, positions)
    for index in range(count):
        prefetch(edges.matches + positions[index])
    for index in range(count):
        matches[index] = edges.matches[positions[index]]
    for index in range(count):
        if matches[index] == WALK:
            matches[index] = longest_match6(trie, hi[index], lo[index])
