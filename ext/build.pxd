"""Builds a trie block: sorts the prefixes, removes duplicates, and builds the multibit trie over them.

A build calls `plan_trie` (every step that may run out of memory), then `write_trie` into a block of `Plan.size` bytes,
then `drop_plan`. This file uses no Python objects.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memcpy, memset

from address cimport IPV4, Prefix, same_network
from counters cimport limits
from native cimport changes, leading_zeros, reallocate_array, trailing_zeros
from trie cimport (
    BRANCH, CHILD, DIRECT, FANOUT, FINAL, INHERITED, LEAF, NESTED, NONE, ROOTS, ROOT_BITS, RUN, RUN_WORDS, SEVERAL,
    SKIP_WORDS, SMALL, SPARSE, STRIDE, UPPER,
    Final, IndexHeader, Node, TrieHeader, dense_size, final_size, index_size, ipv6_section, ipv6_width, is_match,
    longer_size, padded, precedes, stride_of,
)

cdef enum:
    # Lists up to this size are sorted by insertion, which is faster than the library's sort for them.
    INSERTION = 64
    # From this depth on, a lone prefix is a leaf even if its node would be final: few addresses of IPv6 come so far.
    DEEP = 40

# A prefix to be written into a block, with its position in the caller's input.
cdef struct Item:
    Prefix prefix
    uint32_t order

# A multibit trie under construction.
cdef struct Growth:
    const Item *items
    Node *nodes
    int32_t *words
    int32_t *root
    int32_t start
    uint32_t roots
    uint32_t node_count
    uint32_t node_room
    uint32_t word_count
    uint32_t word_room
    bint failed

cdef struct Plan:
    const Item *items
    uint32_t n4
    uint32_t n6
    uint32_t longer         # how many IPv6 prefixes are in the section longer6
    TrieHeader header
    Growth index4
    Growth index6
    size_t size


cdef inline bint item_precedes(const Item *one, const Item *other) noexcept nogil:
    """Return whether an item is before another: by iteration order, and for equal prefixes by input order."""
    if precedes(&one.prefix, &other.prefix):
        return True
    return not precedes(&other.prefix, &one.prefix) and one.order < other.order


cdef inline int compare_items(const void *one, const void *other) noexcept nogil:
    """Compare two items as `qsort` requires."""
    if item_precedes(<const Item *>one, <const Item *>other):
        return -1
    return 1


cdef inline void sort_items(Item *items, uint32_t count) noexcept nogil:
    """Sort into iteration order. A list that is already sorted, as large tables often are, needs only one pass."""
    cdef uint32_t index, at
    cdef Item moving
    for index in range(1, count):
        if item_precedes(items + index, items + index - 1):
            break
    else:
        return
    if count > INSERTION:
        qsort(items, count, sizeof(Item), compare_items)
        return
    for index in range(index, count):
        moving = items[index]
        at = index
        while at and item_precedes(&moving, items + at - 1):
            items[at] = items[at - 1]
            at -= 1
        items[at] = moving


cdef inline uint32_t unite_items(Item *items, uint32_t count) noexcept nogil:
    """Keep the last of equal prefixes; return how many remain."""
    cdef uint32_t kept = 0, index
    for index in range(count):
        if kept and not precedes(&items[kept - 1].prefix, &items[index].prefix):
            kept -= 1
        if kept != index:
            items[kept] = items[index]
        kept += 1
    return kept


cdef inline bint any_nested(const Item *items, uint32_t count) noexcept nogil:
    """Return whether a prefix of the sorted family is inside another: then one is inside its direct predecessor."""
    cdef uint32_t index
    cdef const Prefix *outer
    cdef const Prefix *inner
    for index in range(1, count):
        outer = &items[index - 1].prefix
        inner = &items[index].prefix
        if same_network(outer.first.hi, outer.first.lo, inner.first.hi, inner.first.lo, outer.length):
            return True
    return False


cdef inline uint32_t count_longer(const Item *items, uint32_t count, int length) noexcept nogil:
    """Return how many of the prefixes are longer than a length."""
    cdef uint32_t index, longer = 0
    for index in range(count):
        longer += items[index].prefix.length > length
    return longer


cdef inline void fill_spans(
    Growth *growth, uint32_t start, uint32_t stop, int depth, int stride, int32_t *spans
) noexcept nogil:
    """Set the slot of every span of one node from the items inside it, shorter prefixes first."""
    cdef uint32_t index = start, end, span, last
    cdef const Prefix *prefix
    while index < stop:
        prefix = &growth.items[index].prefix
        span = span_of(prefix, depth, stride)
        if prefix.length <= depth + stride:
            last = span + (<uint32_t>1 << (depth + stride - prefix.length))
            while span < last:
                spans[span] = <int32_t>index
                span += 1
            index += 1
        else:
            end = index + 1
            while end < stop and span_of(&growth.items[end].prefix, depth, stride) == span:
                end += 1
            spans[span] = grow_child(growth, index, end, depth + stride, spans[span])
            index = end


cdef inline uint32_t span_of(const Prefix *prefix, int depth, int stride) noexcept nogil:
    """Return the number of the span in which a prefix begins."""
    if stride == ROOT_BITS:
        return <uint32_t>(prefix.first.hi >> (64 - ROOT_BITS))
    return stride_of(prefix.first.hi, prefix.first.lo, depth)


cdef inline void *room_for(
    void *array, uint32_t count, uint32_t *room, uint32_t more, size_t size, uint32_t most
) noexcept nogil:
    """Return an array, possibly moved, with room for `more` elements; NULL without memory or beyond `most` elements."""
    cdef uint64_t wanted = <uint64_t>count + more
    cdef void *larger
    if wanted <= room[0]:
        return array
    if wanted > most:
        return NULL
    wanted = min(max(wanted, room[0] + (<uint64_t>room[0] >> 1) + FANOUT), <uint64_t>most)
    larger = reallocate_array(array, wanted, size)
    if larger != NULL:
        room[0] = <uint32_t>wanted
    return larger


cdef inline int32_t *room_for_words(Growth *growth, uint32_t more) noexcept nogil:
    """Return a pointer to the next word, with room for `more`; NULL without memory or beyond the limit."""
    cdef void *moved = room_for(
        growth.words, growth.word_count, &growth.word_room, more, sizeof(int32_t), limits.words)
    if moved == NULL:
        growth.failed = True
        return NULL
    growth.words = <int32_t *>moved
    return growth.words + growth.word_count


cdef inline int shared_bits(const Prefix *first, const Prefix *last) noexcept nogil:
    """Return how many bits the networks of a sorted range have in common, from its first and its last prefix."""
    cdef int bits = leading_zeros(first.first.hi ^ last.first.hi)
    return bits if bits < 64 else 64 + leading_zeros(first.first.lo ^ last.first.lo)


cdef inline int32_t grow_branch(
    Growth *growth, uint32_t start, int32_t kind, int32_t inherited, int32_t node
) noexcept nogil:
    """Append the description of a run or a skip; return the slot that points to it."""
    cdef uint32_t size = RUN_WORDS if kind > 0 else SKIP_WORDS
    cdef int32_t *words = room_for_words(growth, size)
    if words == NULL:
        return NONE
    words[0] = kind
    words[1] = <int32_t>start
    words[2] = inherited
    if kind <= 0:
        words[3] = node
    growth.word_count += size
    return BRANCH - <int32_t>(growth.word_count - size)


cdef inline int32_t grow_child(
    Growth *growth, uint32_t start, uint32_t stop, int depth, int32_t inherited
) noexcept nogil:
    """Return the slot of a span for the prefixes in [start, stop), which are all longer than `depth`."""
    cdef const Prefix *first = &growth.items[start].prefix
    cdef int deeper
    cdef int32_t node
    if stop - start == 1 and inherited == NONE and (depth >= DEEP or first.length > depth + STRIDE):
        return LEAF + <int32_t>start
    if stop - start <= RUN and count_longer(growth.items + start, stop - start, depth + STRIDE):
        return grow_branch(growth, start, <int32_t>(stop - start), inherited, NONE)
    # A prefix that is not longer than the bits that all of them share covers all of them, and so it is the first.
    deeper = min(shared_bits(first, &growth.items[stop - 1].prefix), first.length - 1) & ~(STRIDE - 1)
    if deeper <= depth:
        return grow_node(growth, start, stop, depth, inherited)
    node = grow_node(growth, start, stop, deeper, inherited)
    return grow_branch(growth, start, -deeper, inherited, node)


cdef inline int32_t grow_node(
    Growth *growth, uint32_t start, uint32_t stop, int depth, int32_t inherited
) noexcept nogil:
    """Append the node of the items in [start, stop), children first; return the slot that points to it."""
    # What is before the first span is no slot of it, so that a slot begins there.
    cdef int32_t padded_spans[FANOUT + 1]
    cdef int32_t *spans = padded_spans + 1
    cdef int32_t slots[FANOUT]
    cdef int32_t *words
    cdef Node node
    cdef uint32_t span, word, count = 0
    cdef uint64_t begins
    cdef bint is_final = stop - start <= INHERITED
    cdef void *moved
    for span in range(FANOUT):
        spans[span] = inherited
    fill_spans(growth, start, stop, depth, STRIDE, spans)
    spans[-1] = ~spans[0]
    if growth.failed:
        return NONE
    for word in range(4):
        node.before[word] = <uint8_t>count
        node.bits[word] = begins = changes(spans + 64 * word)
        while begins:
            slots[count] = spans[64 * word + trailing_zeros(begins)]
            is_final &= is_match(slots[count])
            count += 1
            begins &= begins - 1
    if is_final:
        return grow_final(growth, &node, slots, count, start, inherited)
    moved = room_for(growth.nodes, growth.node_count, &growth.node_room, 1, sizeof(Node), limits.nodes)
    words = room_for_words(growth, count)
    if moved != NULL:
        growth.nodes = <Node *>moved
    if moved == NULL or words == NULL:
        growth.failed = True
        return NONE
    memcpy(words, slots, count * sizeof(int32_t))
    node.base = growth.word_count
    growth.word_count += count
    growth.nodes[growth.node_count] = node
    growth.node_count += 1
    return CHILD - <int32_t>(growth.node_count - 1)


cdef inline int32_t grow_final(
    Growth *growth, const Node *node, const int32_t *slots, uint32_t count, uint32_t start, int32_t inherited
) noexcept nogil:
    """Append a final node with the bits of a node; return the slot that points to it."""
    cdef uint32_t size = final_size(count), rank
    cdef int32_t *words = room_for_words(growth, size)
    cdef Final *final = <Final *>words
    cdef uint8_t *written = <uint8_t *>(final + 1)
    if words == NULL:
        return NONE
    # The padding is compared and hashed with the block.
    words[size - 1] = 0
    memcpy(<void *>final, node.bits, sizeof(node.bits))
    memcpy(final.before, node.before, sizeof(node.before))
    final.start = <int32_t>start
    final.inherited = inherited
    for rank in range(count):
        written[rank] = <uint8_t>(INHERITED if slots[rank] == inherited else slots[rank] - <int32_t>start)
    growth.word_count += size
    return FINAL - <int32_t>(growth.word_count - size)


cdef inline size_t grow_index(Growth *growth, const Item *items, uint32_t count) noexcept nogil:
    """Build the multibit trie of one family; return the bytes of its section, 0 for a small family."""
    cdef IndexHeader header
    cdef uint32_t span
    memset(growth, 0, sizeof(Growth))
    if count <= SMALL:
        return 0
    growth.items = items
    if count >= DIRECT and shared_bits(&items[0].prefix, &items[count - 1].prefix) < STRIDE:
        growth.root = <int32_t *>malloc(sizeof(int32_t) << ROOT_BITS)
        if growth.root == NULL:
            growth.failed = True
            return 0
        for span in range(ROOTS):
            growth.root[span] = NONE
        fill_spans(growth, 0, count, 0, ROOT_BITS, growth.root)
        keep_roots(growth, items[0].prefix.first.family)
    else:
        growth.start = grow_child(growth, 0, count, 0, NONE)
    describe_index(growth, &header)
    return index_size(&header)


cdef inline void keep_roots(Growth *growth, int family) noexcept nogil:
    """Find the slots of a direct root that are stored: of IPv6 no more than have prefixes."""
    cdef uint32_t first = 0, last = ROOTS - 1
    if family != IPV4 and not growth.failed:
        while growth.root[first] == NONE:
            first += 1
        while growth.root[last] == NONE:
            last -= 1
    growth.start = <int32_t>first
    growth.roots = last - first + 1


cdef inline void describe_index(const Growth *growth, IndexHeader *header) noexcept nogil:
    """Fill in the header of a built index."""
    header.start = growth.start
    header.roots = growth.roots
    header.nodes = growth.node_count
    header.words = growth.word_count


cdef inline bint plan_trie(Item *items, uint32_t count, Plan *plan) noexcept nogil:
    """Sort `items` in place, remove duplicates, and build the indexes of a block; return False without memory."""
    sort_items(items, count)
    count = unite_items(items, count)
    plan.items = items
    plan.n4 = 0
    while plan.n4 < count and items[plan.n4].prefix.first.family == IPV4:
        plan.n4 += 1
    plan.n6 = count - plan.n4
    plan.header.ipv4 = plan.n4 | (NESTED if any_nested(items, plan.n4) else 0)
    plan.header.ipv6 = plan.n6 | (NESTED if any_nested(items + plan.n4, plan.n6) else 0)
    plan.longer = count_longer(items + plan.n4, plan.n6, 64)
    if plan.n6 and plan.longer == 0:
        plan.header.ipv6 |= UPPER
    elif plan.n6 > SMALL and plan.longer <= plan.n6 // SEVERAL:
        plan.header.ipv4 |= SPARSE
    plan.size = (planned_arrays(plan) + grow_index(&plan.index4, items, plan.n4)
                 + grow_index(&plan.index6, items + plan.n4, plan.n6))
    if plan.index4.failed or plan.index6.failed:
        drop_plan(plan)
        return False
    return True


cdef inline size_t planned_arrays(const Plan *plan) noexcept nogil:
    """Return what `arrays_size` will return for the block."""
    return dense_size(&plan.header) + (longer_size(plan.longer) if plan.header.ipv4 & SPARSE else 0)


cdef inline void drop_plan(Plan *plan) noexcept nogil:
    """Free the memory of a plan."""
    free(plan.index4.nodes)
    free(plan.index4.words)
    free(plan.index4.root)
    free(plan.index6.nodes)
    free(plan.index6.words)
    free(plan.index6.root)


cdef inline char *write_index(const Growth *growth, char *section) noexcept nogil:
    """Copy a built index into its section; return the section's end."""
    cdef IndexHeader header
    cdef char *at = section + sizeof(IndexHeader)
    describe_index(growth, &header)
    memcpy(section, &header, sizeof(IndexHeader))
    # A root may have no nodes. `nodes` is then NULL, and memcpy() must not be called even for zero bytes.
    if header.nodes:
        memcpy(at, growth.nodes, header.nodes * sizeof(Node))
        at += header.nodes * sizeof(Node)
    if header.roots:
        memcpy(at, growth.root + growth.start, header.roots * sizeof(int32_t))
        at += header.roots * sizeof(int32_t)
    if header.words:
        memcpy(at, growth.words, header.words * sizeof(int32_t))
        at += header.words * sizeof(int32_t)
    memset(at, 0, section + index_size(&header) - at)
    return section + index_size(&header)


cdef inline void write_trie(const Plan *plan, char *block) noexcept nogil:
    """Write a planned trie into a block of `plan.size` bytes."""
    cdef uint32_t index, found = 0
    cdef size_t width = ipv6_width(&plan.header)
    cdef uint32_t *first4 = <uint32_t *>(block + sizeof(TrieHeader))
    cdef uint8_t *length4 = <uint8_t *>(first4 + plan.n4)
    cdef uint64_t *high6
    cdef uint64_t *low6
    cdef uint8_t *length6
    cdef uint32_t *longer
    cdef const Prefix *prefix
    cdef char *section = block + planned_arrays(plan)
    memcpy(block, &plan.header, sizeof(TrieHeader))
    high6 = <uint64_t *>ipv6_section(block)
    low6 = high6 + plan.n6
    length6 = <uint8_t *>high6 + (width - 1) * plan.n6
    # Tries are compared and hashed by the bytes of their blocks, which include the padding.
    memset(length4 + plan.n4, 0, padded(5 * <size_t>plan.n4) - 5 * <size_t>plan.n4)
    memset(length6 + plan.n6, 0, padded(width * plan.n6) - width * plan.n6)
    for index in range(plan.n4):
        prefix = &plan.items[index].prefix
        first4[index] = <uint32_t>(prefix.first.hi >> 32)
        length4[index] = <uint8_t>prefix.length
    for index in range(plan.n6):
        prefix = &plan.items[plan.n4 + index].prefix
        high6[index] = prefix.first.hi
        length6[index] = <uint8_t>prefix.length
    if plan.header.ipv4 & SPARSE:
        longer = <uint32_t *>(block + dense_size(&plan.header))
        low6 = <uint64_t *>(section - sizeof(uint64_t) * plan.longer)
        longer[plan.longer + (plan.longer & 1 ^ 1)] = 0
        longer[0] = plan.longer
        for index in range(plan.n6):
            if length6[index] > 64:
                longer[1 + found] = index
                low6[found] = plan.items[plan.n4 + index].prefix.first.lo
                found += 1
    elif not plan.header.ipv6 & UPPER:
        for index in range(plan.n6):
            low6[index] = plan.items[plan.n4 + index].prefix.first.lo
    if plan.n4 > SMALL:
        section = write_index(&plan.index4, section)
    if plan.n6 > SMALL:
        write_index(&plan.index6, section)
