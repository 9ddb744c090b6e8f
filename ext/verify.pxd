"""The checks that make a file of unknown origin safe. They prove every property in the table of `snapshot.pxd` once.

Whatever the bytes are, a check reads only inside the image, and its time depends only on the size of the image: the
steps along a chain are counted, and the walk of an index is not deeper than its prefixes are long. So it is in
proportion to the size, but for names in long runs of slots, which are compared by sorting.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort
from libc.string cimport memcmp, memcpy, memset

from accounts cimport (
    DEAD, KIN, LENIENT, MAX_NAME, MOST_ROWS, SUBACCOUNT,
    AccountHeader, Kin, Slot, SlotTable,
    first_place, is_overfull, kin_of, text_of, trie_of,
)
from address cimport Prefix, has_host_bits, is_mapped, same_network
from arena cimport SEGMENTS, SEGMENT_UNITS, UNIT
from native cimport (
    Lock, add_and_fetch, allocate_array, close_lock, keyed_hash, leave_lock, load_acquire, open_lock, popcount,
    prefetch, read64, store_release, take_lock, work_twice,
)
from readers cimport CACHE_LINE
from snapshot cimport (
    BYTE_ORDER, DAMAGED, FOREIGN, FORMAT_VERSION, HOSTILE, MOST_NOTE, NEWER, OTHER_ORDER, OUT_OF_MEMORY, PAGE,
    SEGMENT_BYTES, SOUND, TRUNCATED,
    Snapshot, held_size, next_place, next_segment, paged, place_block, reference, sum_header, sum_image, sum_until,
)
from trie cimport (
    BRANCH, CHILD, CLOSED, COUNT, FANOUT, FINAL, LEAF, MOST_LISTED, NESTED, NONE, ROOTS, ROOT_BITS, RUN, RUN_WORDS,
    SEVERAL, SKIP_WORDS, SMALL, SPARSE, STRIDE, UPPER,
    Branch, Final, Index, IndexHeader, Lows, Node, TrieHeader, arrays_size, branch_at, dense_size, final_at,
    final_match, final_size, index_size, ipv6_section, is_final, is_node, longer_size, low_at, node_slot, stride_of,
    view_index, view_lows,
)

cdef extern from "ranks.h" nogil:
    int (*check4 "cidrgate_check4")(const uint32_t *first, const uint8_t *length, uint32_t count) noexcept
    enum:
        WRONG "CIDRGATE_WRONG"
        INSIDE "CIDRGATE_NESTED"

cdef enum:
    # After this many steps of a search, or names with the same tag, the whole index is checked run by run. No choice of
    # names can slow down that check. So many adjacent slots that are not empty are in no table that the engine filled.
    FAR = 512
    ALIKE = 16
    # The same after all searches of a part of the index took this many steps for each slot that is not empty, and FAR
    # more. In a table that the engine filled they take about two.
    USUAL = 16
    THREADS = 2
    # For each thread and part of the index, one for accounts with a list and one for subaccounts.
    CHAINS = 4
    # How far ahead of a block to prefetch.
    NEAR = 1024
    BUNDLED = 64
    # The searches that begin in a part of the index are made together. So a large index is read part by part, and not
    # at random. A part has 2**PART_BITS slots, or more if there were more than MOST_PARTS.
    PART_BITS = 13
    MOST_PARTS = 512

# The sorted arrays of one family, the index over them, and memory for the expected slots of a direct root.
cdef struct Family:
    const uint32_t *first4          # NULL for IPv6
    const uint64_t *high6
    Lows low6
    const uint8_t *lengths
    uint32_t count
    Index index
    const IndexHeader *header
    int32_t *roots

# The expected runs of equal spans of a node, computed from its prefixes in order: a bit at the start of each run, and
# its slot, which is compared at once.
cdef struct Runs:
    uint64_t bits[4]
    uint64_t found[4]       # the bits that the node has
    const Node *node        # NULL for a final node
    const Final *final
    const int32_t *slots
    uint32_t most
    uint32_t count
    uint32_t start          # the start of the current run
    int32_t slot
    int32_t before          # the slot of the previous run
    bint wrong

# A name to be sorted by its tag.
cdef struct Tagged:
    const AccountHeader *header
    uint32_t tag


# ------------------------------------------------------------------------------------------------------- header


cdef inline int verify_header(const uint8_t *image, uint64_t size, Snapshot *header) noexcept nogil:
    """Check that an image is a complete snapshot of this version with its sections in the right places."""
    if size < PAGE or memcmp(image, b"cidrgate", sizeof(header.magic)) != 0:
        return FOREIGN
    memcpy(header, image, sizeof(Snapshot))
    if header.byte_order != BYTE_ORDER:
        return OTHER_ORDER
    if header.version > FORMAT_VERSION:
        return NEWER
    if header.version == 0 or header.own_sum != sum_header(header):
        return DAMAGED
    if header.size != size:
        return TRUNCATED
    if (header.table_size < sizeof(SlotTable) or header.table_size > size or header.arena_size > size
            or header.arena_size > <uint64_t>(SEGMENTS - 1) * SEGMENT_BYTES or header.arena_size % UNIT
            or header.rows_offset != PAGE + paged(header.table_size)
            or header.arena_offset != header.rows_offset + paged(header.row_count * <uint64_t>sizeof(uint32_t))
            or header.note_size > MOST_NOTE
            or size != header.arena_offset + paged(header.arena_size) + paged(header.note_size)
            or header.live > header.row_count or header.row_count > MOST_ROWS):
        return HOSTILE
    return SOUND


# -------------------------------------------------------------------------------------------------------- lists


cdef inline bint verify_prefixes4(
    const uint32_t *first, const uint8_t *length, uint32_t count, bint nested
) noexcept nogil:
    """Check that IPv4 prefixes are valid, have no host bits, grow strictly, and nest only if NESTED is set."""
    cdef int found = check4(first, length, count)
    return not found & WRONG and (nested or not found & INSIDE)


cdef inline bint verify_prefixes6(
    const uint64_t *high, const Lows *lows, const uint8_t *length, uint32_t count, bint nested
) noexcept nogil:
    """Check the same for IPv6 prefixes, and that none of them is IPv4-mapped."""
    cdef uint32_t index, found = 0
    cdef Prefix prefix
    cdef uint64_t before
    prefix.first.lo = 0
    for index in range(count):
        before = prefix.first.lo
        prefix.first.hi = high[index]
        prefix.first.lo = 0 if lows.dense == NULL else lows.dense[index]
        prefix.length = length[index]
        if prefix.length > 64 and lows.dense == NULL:
            # The next one of the prefixes whose last 64 bits are stored.
            if found == lows.count or lows.longer[found] != index:
                return False
            prefix.first.lo = lows.sparse[found]
            found += 1
        if (prefix.length > 128 or has_host_bits(&prefix)
                or (prefix.length >= 96 and is_mapped(&prefix.first))):
            return False
        if index == 0:
            continue
        if high[index] < high[index - 1]:
            return False
        if high[index] == high[index - 1]:
            if prefix.first.lo < before or (prefix.first.lo == before and length[index] <= length[index - 1]):
                return False
        if not nested and same_network(high[index], prefix.first.lo, high[index - 1], before, length[index - 1]):
            return False
    return found == lows.count


cdef inline bint verify_index(const uint8_t *section, uint64_t left, Family *family, uint64_t *size) noexcept nogil:
    """Check that an index ends within `left` bytes, and that every walk through it finds the family's longest match."""
    cdef const IndexHeader *header = <const IndexHeader *>section
    if left < sizeof(IndexHeader):
        return False
    if header.roots and (
            header.start < 0 or header.roots > ROOTS or <uint32_t>header.start > ROOTS - header.roots
            or (family.first4 != NULL and header.roots != ROOTS)):
        return False
    size[0] = index_size(header)
    if size[0] > left:
        return False
    view_index(<const char *>section, &family.index)
    family.header = header
    if family.index.root == NULL:
        return verify_child(family, family.index.start, 0, family.count, 0, NONE)
    return verify_root(family)


cdef inline bint verify_root(Family *family) noexcept nogil:
    """Check that a direct root and the nodes below it match the prefixes, which are all in its stored spans."""
    cdef const int32_t *stored = family.index.root
    cdef int32_t *spans = family.roots
    cdef uint32_t index = 0, end, span, last, count = family.header.roots
    # Only what is stored: a file may have very many lists with a root of one span.
    for span in range(count):
        spans[span] = NONE
    while index < family.count:
        span = stored_span(family, index)
        if span >= count:
            return False
        if family.lengths[index] <= ROOT_BITS:
            last = span + (<uint32_t>1 << (ROOT_BITS - family.lengths[index]))
            if last > count:
                return False
            while span < last:
                spans[span] = <int32_t>index
                span += 1
            index += 1
            continue
        end = index + 1
        while end < family.count and stored_span(family, end) == span:
            end += 1
        # A slot for longer prefixes is copied as it is; what it refers to is checked.
        if not verify_child(family, stored[span], index, end, ROOT_BITS, spans[span]):
            return False
        spans[span] = stored[span]
        index = end
    return memcmp(spans, stored, count * sizeof(int32_t)) == 0


cdef inline uint32_t stored_span(const Family *family, uint32_t index) noexcept nogil:
    """Return the span of a direct root in which a prefix begins, counted from the first stored one.

    Before that one, it is a number beyond all spans.
    """
    cdef uint32_t first = <uint32_t>family.header.start
    if family.first4 != NULL:
        return (family.first4[index] >> (32 - ROOT_BITS)) - first
    return <uint32_t>(family.high6[index] >> (64 - ROOT_BITS)) - first


cdef inline uint32_t node_span(const Family *family, uint32_t index, int depth) noexcept nogil:
    """Return the number of the span of a node in which a prefix begins."""
    if family.first4 != NULL:
        return family.first4[index] >> (32 - STRIDE - depth) & (FANOUT - 1)
    return stride_of(family.high6[index], low_at(&family.low6, index) if depth >= 64 else 0, depth)


cdef inline bint have_in_common(const Family *family, uint32_t one, uint32_t other, int length) noexcept nogil:
    """Return whether two networks have the same first `length` bits."""
    if family.first4 != NULL:
        return same_network(
            <uint64_t>family.first4[one] << 32, 0, <uint64_t>family.first4[other] << 32, 0, length)
    if length <= 64:
        return same_network(family.high6[one], 0, family.high6[other], 0, length)
    return same_network(
        family.high6[one], low_at(&family.low6, one), family.high6[other], low_at(&family.low6, other), length)


cdef inline bint verify_child(
    const Family *family, int32_t slot, uint32_t start, uint32_t stop, int depth, int32_t inherited
) noexcept nogil:
    """Check that a slot is right for the prefixes in [start, stop): those of one span, all longer than `depth`."""
    cdef const Branch *branch
    cdef uint64_t position
    cdef int deeper
    if is_node(slot) or is_final(slot):
        return verify_node(family, slot, start, stop, depth, inherited)
    if slot >= LEAF:
        return <uint32_t>(slot - LEAF) == start and stop - start == 1 and inherited == NONE
    if slot > BRANCH:
        return False
    position = <uint64_t>(<int64_t>BRANCH - slot)
    if position + RUN_WORDS > family.header.words:
        return False
    branch = branch_at(&family.index, slot)
    if <uint32_t>branch.start != start or branch.inherited != inherited:
        return False
    if branch.kind > 0:
        return <uint32_t>branch.kind == stop - start and stop - start <= RUN
    if position + SKIP_WORDS > family.header.words or branch.kind < -128:
        return False
    deeper = -branch.kind
    # Prefixes in order that share these bits are longer if the first of them is, so the node gets what it relies on.
    return (deeper > depth and deeper % STRIDE == 0 and family.lengths[start] > deeper
            and have_in_common(family, start, stop - 1, deeper)
            and verify_node(family, branch.node, start, stop, deeper, inherited))


cdef inline void end_run(Runs *runs, uint32_t span, int32_t slot) noexcept nogil:
    """End the current run before a span, if the run is not empty, and begin a new run."""
    if span > runs.start:
        if runs.count == 0 or runs.slot != runs.before:
            runs.bits[runs.start >> 6] |= <uint64_t>1 << (runs.start & 63)
            runs.wrong |= runs.count >= runs.most or slot_of_run(runs, runs.count) != runs.slot
            runs.before = runs.slot
            # Never exceeds `most`: after the first wrong run, no further slot is read.
            runs.count += not runs.wrong
        runs.start = span
    runs.slot = slot


cdef inline int32_t slot_of_run(const Runs *runs, uint32_t number) noexcept nogil:
    """Return the slot that a node has for a run of spans."""
    if runs.node == NULL:
        return final_match(runs.final, (<const uint8_t *>(runs.final + 1))[number])
    return runs.slots[number]


cdef inline bint begin_runs(const Family *family, int32_t slot, Runs *runs) noexcept nogil:
    """Begin with the node that a slot names; return False if the node or its slots are not inside the index."""
    cdef uint64_t position = <uint64_t>(<int64_t>FINAL - slot)
    cdef uint32_t number = <uint32_t>(<int64_t>CHILD - slot), words = family.header.words
    memset(runs, 0, sizeof(Runs))
    if is_final(slot):
        if position + final_size(0) > words:
            return False
        runs.final = final_at(&family.index, slot)
        memcpy(runs.found, <const void *>runs.final, sizeof(runs.found))
        return has_counts(runs, runs.final.before) and position + final_size(runs.most) <= words
    if not is_node(slot) or number >= family.header.nodes:
        return False
    runs.node = family.index.nodes + number
    memcpy(runs.found, runs.node.bits, sizeof(runs.found))
    if not has_counts(runs, runs.node.before) or runs.node.base > words or runs.most > words - runs.node.base:
        return False
    runs.slots = family.index.words + runs.node.base
    return True


cdef inline bint has_counts(Runs *runs, const uint8_t *before) noexcept nogil:
    """Return whether a node has a slot for its first span and counts its slots; set how many there are."""
    cdef uint32_t word
    for word in range(4):
        if before[word] != runs.most:
            return False
        runs.most += popcount(runs.found[word])
    return runs.found[0] & 1 != 0


cdef inline bint verify_node(
    const Family *family, int32_t slot, uint32_t start, uint32_t stop, int depth, int32_t inherited
) noexcept nogil:
    """Check that a slot names the right node for the prefixes in [start, stop), which are all longer than `depth`.

    The prefixes are in order, so their expected runs of equal spans are in order too. At the end of a prefix, the
    innermost prefix around it applies again; a stack holds these prefixes.
    """
    cdef uint32_t ends[STRIDE + 3]
    cdef int32_t slots[STRIDE + 3]
    cdef int top = 0
    cdef Runs runs
    cdef uint32_t span, index = start, end, number
    if not begin_runs(family, slot, &runs):
        return False
    if runs.node == NULL and (<uint32_t>runs.final.start != start or runs.final.inherited != inherited):
        return False
    runs.slot = inherited
    ends[0] = FANOUT
    slots[0] = inherited
    while index < stop:
        span = node_span(family, index, depth)
        while ends[top] <= span:
            top -= 1
            end_run(&runs, ends[top + 1], slots[top])
        if family.lengths[index] <= depth + STRIDE:
            slot = <int32_t>index
            end = span + (<uint32_t>1 << (depth + STRIDE - family.lengths[index]))
            index += 1
        elif runs.node == NULL:
            return False
        else:
            number = index + 1
            while number < stop and node_span(family, number, depth) == span:
                number += 1
            slot = family.index.words[node_slot(runs.node, span)]
            end = span + 1
            if not verify_child(family, slot, index, number, depth + STRIDE, slots[top]):
                return False
            index = number
        end_run(&runs, span, slot)
        top += 1
        ends[top] = end
        slots[top] = slot
    while top:
        top -= 1
        end_run(&runs, ends[top + 1], slots[top])
    end_run(&runs, FANOUT, NONE)
    return not runs.wrong and runs.count == runs.most and memcmp(runs.bits, runs.found, sizeof(runs.bits)) == 0


cdef inline bint is_ascii(const uint8_t *text, uint32_t size) noexcept nogil:
    """Return whether a name of at least eight bytes has only characters of ASCII."""
    cdef uint64_t bits = read64(text + size - 8)
    cdef uint32_t at = 0
    # Not `at + 8 < size`, which is less than `size` again where the sum has more than 32 bits.
    while at < size - 8:
        bits |= read64(text + at)
        at += 8
    return bits & <uint64_t>0x8080808080808080 == 0


cdef inline bint is_utf8(const uint8_t *text, uint32_t size) noexcept nogil:
    """Check that a name is UTF-8 (RFC 3629): no overlong form, no surrogate, nothing above U+10FFFF."""
    cdef uint32_t at = 0, more, code
    if size >= 8 and is_ascii(text, size):
        return True
    while at < size:
        code = text[at]
        at += 1
        if code < 0x80:
            continue
        if code < 0xC2 or code > 0xF4:
            return False
        more = 1 if code < 0xE0 else 2 if code < 0xF0 else 3
        if more > size - at:
            return False
        code &= 0x3F >> more
        while more:
            if text[at] & 0xC0 != 0x80:
                return False
            code = code << 6 | (text[at] & 0x3F)
            at += 1
            more -= 1
            # The second octet shows whether the character is overlong, a surrogate, or too large.
            if (more == 1 and (code < 0x20 or 0x360 <= code < 0x380)) or (more == 2 and not 0x10 <= code < 0x110):
                return False
    return True


cdef inline bint arrays_fit(const TrieHeader *counts, uint64_t left) noexcept nogil:
    """Return whether the sorted arrays end within `left` bytes, which are more than those of their header."""
    cdef uint64_t size = dense_size(counts)
    if size > left or not counts.ipv4 & SPARSE:
        return size <= left
    return left - size >= sizeof(uint32_t) and (
        longer_size((<const uint32_t *>(<const char *>counts + size))[0]) <= left - size)


cdef inline uint64_t verify_block(
    const uint8_t *block, uint64_t left, uint32_t row_count, int32_t *roots
) noexcept nogil:
    """Return the size of a valid account's block that starts here and ends within `left` bytes, otherwise 0."""
    cdef const AccountHeader *header = <const AccountHeader *>block
    cdef const TrieHeader *counts
    cdef uint64_t size, n4, n6, more = 0
    cdef Family ipv4, ipv6
    if left < sizeof(AccountHeader) + sizeof(Kin) or header.row >= row_count:
        return 0
    if header.name_size == 0 or header.name_size > MAX_NAME:
        return 0
    # A list has one mode, and a subaccount has no list.
    if header.flags & LENIENT == LENIENT or header.flags & ~LENIENT not in (0, KIN, KIN | SUBACCOUNT):
        return 0
    if header.flags & SUBACCOUNT and header.flags & LENIENT:
        return 0
    size = trie_of(header) - <const char *>block
    if size > left or not is_utf8(text_of(header), header.name_size):
        return 0
    if header.flags & SUBACCOUNT:
        return size
    if size + sizeof(TrieHeader) > left:
        return 0
    counts = <const TrieHeader *>(block + size)
    n4 = counts.ipv4 & COUNT
    n6 = counts.ipv6 & COUNT
    # A flag without prefixes is only valid as CLOSED of an account without any prefixes.
    if (n6 == 0 and counts.ipv6) or (n4 == 0 and counts.ipv4 & NESTED and (n6 or counts.ipv4 != CLOSED)):
        return 0
    if counts.ipv4 & SPARSE and (n6 <= SMALL or counts.ipv6 & UPPER):
        return 0
    if n4 + n6 > MOST_LISTED or not arrays_fit(counts, left - size):
        return 0
    ipv4.count = <uint32_t>n4
    ipv4.first4 = <const uint32_t *>(block + size + sizeof(TrieHeader))
    ipv4.lengths = <const uint8_t *>(ipv4.first4 + n4)
    ipv6.count = <uint32_t>n6
    ipv6.first4 = NULL
    ipv6.high6 = <const uint64_t *>ipv6_section(<const char *>counts)
    ipv6.lengths = view_lows(<const char *>counts, &ipv6.low6)
    # With more longer prefixes, to read the last 64 bits of each would take more than the file's size pays for.
    if counts.ipv4 & SPARSE and not 0 < ipv6.low6.count <= n6 // SEVERAL:
        return 0
    ipv4.roots = ipv6.roots = roots
    if not (verify_prefixes4(ipv4.first4, ipv4.lengths, ipv4.count, counts.ipv4 & NESTED != 0)
            and verify_prefixes6(ipv6.high6, &ipv6.low6, ipv6.lengths, ipv6.count, counts.ipv6 & NESTED != 0)):
        return 0
    size += arrays_size(counts)
    if n4 > SMALL:
        if not verify_index(block + size, left - size, &ipv4, &more):
            return 0
        size += more
    if n6 > SMALL:
        if not verify_index(block + size, left - size, &ipv6, &more):
            return 0
        size += more
    return size


# ------------------------------------------------------------------------------------------------------- blocks


# A block, and the keyed hash of its name.
cdef struct Found:
    uint32_t tag
    uint32_t block

# What two threads share. First they check the arena, then the rows and the index. No two of them write the same element
# except the counts; of a row that two blocks of a forged file claim, the counts tell.
cdef struct Survey:
    const uint8_t *image
    const Snapshot *header
    const SlotTable *table
    const uint32_t *rows
    const uint8_t *arena
    uint8_t *starts         # a bitmap by unit of the arena: a block starts here
    uint8_t *kin            # a flag for each row of a parent or a subaccount
    uint32_t *own           # the block of each row, or 0
    int32_t *roots          # for each thread, the expected direct root of one list at a time
    # The blocks by the part of the index in which their searches begin, in bundles. For each chain and part: the place
    # behind its last block. For each bundle: the place behind the last block of the bundle before it.
    Found *found
    uint64_t *parts
    uint64_t *before
    uint32_t part_count
    int part_bits           # a part of the index has 2**part_bits slots
    int64_t bundle_count
    int64_t used            # slots that are not empty, and of these, slots of accounts
    int64_t live
    int64_t block_count
    int64_t kin_count
    int64_t turns           # how many threads have begun
    int64_t taken_parts     # how many parts of the index are taken
    Lock lock               # of the following
    uint64_t taken          # the pieces of the arena before this place are taken
    uint64_t summed         # the image is in the checksum up to this place
    uint64_t sum
    uint32_t wrong
    uint32_t far            # a search was given up, so `verify_runs` checks the whole index
    uint32_t crowded        # searches for unknown names may be as long


cdef inline bint marked(const uint8_t *bits, uint64_t index) noexcept nogil:
    """Return whether a bit of a bitmap is set."""
    return bits[index >> 3] >> (index & 7) & 1


cdef inline void mark(uint8_t *bits, uint64_t index) noexcept nogil:
    """Set a bit of a bitmap."""
    bits[index >> 3] |= <uint8_t>(1 << (index & 7))


cdef inline uint64_t claimed_size(const uint8_t *block, uint64_t left) noexcept nogil:
    """Return the size that a block claims to have, if that can be read within `left` bytes, otherwise 0."""
    cdef const AccountHeader *header = <const AccountHeader *>block
    cdef const TrieHeader *counts
    cdef uint64_t size
    cdef int family
    if left < sizeof(AccountHeader) + sizeof(Kin):
        return 0
    size = trie_of(header) - <const char *>block
    if header.flags & SUBACCOUNT or size + sizeof(TrieHeader) > left:
        return 0
    counts = <const TrieHeader *>(block + size)
    if not arrays_fit(counts, left - size):
        return 0
    size += arrays_size(counts)
    for family in range(2):
        if (counts.ipv6 if family else counts.ipv4) & COUNT > SMALL:
            if size + sizeof(IndexHeader) > left:
                return 0
            size += index_size(<const IndexHeader *>(block + size))
    return size


cdef inline bint take_piece(Survey *survey, uint64_t *begin, uint64_t *end) noexcept nogil:
    """Take the next piece of the arena: a segment, or the segments of a large block; return False after the last one.

    Where a large block ends is what it claims. If that is false, the walk through its piece ends elsewhere. The piece
    is added to the checksum, so it is in the cache when it is checked.
    """
    cdef uint64_t size = survey.header.arena_size, claimed
    take_lock(&survey.lock)
    begin[0] = survey.taken
    if begin[0] < size:
        claimed = claimed_size(survey.arena + begin[0], size - begin[0])
        survey.taken = next_segment(begin[0] + (claimed if UNIT <= claimed <= size - begin[0] else UNIT))
    end[0] = survey.taken
    survey.sum = sum_until(
        survey.image, survey.header, &survey.summed,
        survey.header.size if end[0] >= size else survey.header.arena_offset + end[0], survey.sum)
    leave_lock(&survey.lock)
    return begin[0] < size


cdef inline bint keep_found(Survey *survey, uint64_t *parts, uint32_t tag, uint32_t block) noexcept nogil:
    """Keep a block with those of its part of the index; return False if there are more blocks than accounts."""
    cdef uint64_t *part = parts + (first_place(survey.table, tag) >> survey.part_bits)
    cdef uint64_t place = part[0]
    cdef int64_t bundle
    if place % BUNDLED == 0:
        bundle = add_and_fetch(&survey.bundle_count, 1) - 1
        if bundle >= most_bundles(survey):
            return False
        survey.before[bundle] = place
        place = <uint64_t>bundle * BUNDLED
    survey.found[place].tag = tag
    survey.found[place].block = block
    part[0] = place + 1
    return True


cdef inline int64_t most_bundles(const Survey *survey) noexcept nogil:
    """Return how many bundles are enough for all accounts."""
    return survey.header.live // BUNDLED + CHAINS * <int64_t>survey.part_count


cdef inline bint verify_piece(
    Survey *survey, uint64_t at, uint64_t end, int32_t *roots, uint64_t *parts
) noexcept nogil:
    """Check the blocks of a piece of the arena, and record them in the survey."""
    cdef uint64_t size = survey.header.arena_size, block_size
    cdef uint32_t row, count = 0, kin = 0
    cdef const AccountHeader *header
    while at < min(end, size):
        # Where a block ends is known only when it has been read, so the next blocks must be near by then.
        prefetch(survey.arena + at + NEAR)
        prefetch(survey.arena + at + NEAR + CACHE_LINE)
        if (<const uint64_t *>(survey.arena + at))[0] == 0:
            # The rest of a segment in which the next block did not fit, or the rest of a large block's last segment.
            at = next_segment(at + UNIT)
            continue
        block_size = held_size(verify_block(survey.arena + at, size - at, survey.header.row_count, roots))
        if block_size == 0 or block_size > size - at or place_block(at, block_size) != at:
            return False
        header = <const AccountHeader *>(survey.arena + at)
        row = header.row
        if load_acquire(survey.own + row):
            return False
        store_release(survey.own + row, reference(at))
        mark(survey.starts, at // UNIT)
        if header.flags & KIN:
            survey.kin[row] = True
            kin += 1
        if not keep_found(survey, parts + (survey.part_count if header.flags & SUBACCOUNT else 0),
                          keyed_hash(text_of(header), header.name_size, survey.header.seed), reference(at)):
            return False
        count += 1
        at = next_place(at, block_size)
    add_and_fetch(&survey.block_count, count)
    add_and_fetch(&survey.kin_count, kin)
    return at == end or (at >= size and end >= size)


cdef inline bint refers_to(const uint8_t *bits, uint64_t arena_size, uint32_t block) noexcept nogil:
    """Return whether a reference names a block that is marked in a bitmap."""
    cdef uint64_t unit = <uint64_t>block - SEGMENT_UNITS
    return block >= SEGMENT_UNITS and unit < arena_size // UNIT and marked(bits, unit)


cdef inline const AccountHeader *block_at(const uint8_t *arena, uint32_t block) noexcept nogil:
    """Return the block that a valid reference names."""
    return <const AccountHeader *>(arena + <uint64_t>(block - SEGMENT_UNITS) * UNIT)


# ----------------------------------------------------------------------------------------------- rows and index


cdef inline bint verify_rows(const Survey *survey) noexcept nogil:
    """Check that each row names the list that decides, and that subaccounts and parents refer to each other."""
    cdef uint64_t live = 0, subaccounts = 0, listed = 0
    cdef uint32_t row, row_count = survey.header.row_count, next_block, parent
    cdef const AccountHeader *block
    cdef bint wrong = False
    for row in range(row_count):
        live += survey.own[row] != 0
        wrong |= (survey.rows[row] != survey.own[row]) & (survey.kin[row] == 0)
    # Two blocks with one row would be counted twice here, and once there.
    if wrong or live != survey.header.live or <uint64_t>survey.block_count != live:
        return False
    if survey.kin_count == 0:
        return True
    for row in range(row_count):
        if not survey.kin[row]:
            continue
        block = block_at(survey.arena, survey.own[row])
        if block.flags & SUBACCOUNT:
            subaccounts += 1
            parent = kin_of(block).parent
            if (parent >= row_count or not survey.kin[parent] or survey.rows[row] != survey.own[parent]
                    or block_at(survey.arena, survey.own[parent]).flags & SUBACCOUNT):
                return False
            continue
        if survey.rows[row] != survey.own[row]:
            return False
        next_block = kin_of(block).next
        while next_block:
            listed += 1
            if listed > row_count or not names_subaccount(survey, next_block):
                return False
            block = block_at(survey.arena, next_block)
            if kin_of(block).parent != row:
                return False
            next_block = kin_of(block).next
    return listed == subaccounts


cdef inline bint names_subaccount(const Survey *survey, uint32_t block) noexcept nogil:
    """Return whether a reference names a subaccount's block."""
    return (refers_to(survey.starts, survey.header.arena_size, block)
            and block_at(survey.arena, block).flags & SUBACCOUNT != 0)


cdef inline bint is_own_slot(const Slot *slot, const Survey *survey) noexcept nogil:
    """Return whether a slot refers to the list that decides for its block."""
    cdef const AccountHeader *block = block_at(survey.arena, slot.block)
    return slot.list == (survey.rows[block.row] if block.flags & SUBACCOUNT else slot.block)


cdef inline bint verify_search(Survey *survey, const Found *found, bint subaccount, uint64_t *left) noexcept nogil:
    """Check that `find` ends at the right slot for the name of a block, and that no name before it is equal.

    There are as many slots as blocks, so each slot belongs to one block when all searches have ended at their own. The
    steps are taken from those that are left.
    """
    cdef const SlotTable *table = survey.table
    cdef uint32_t place = first_place(table, found.tag), alike = 0, step
    cdef const Slot *slot
    for step in range(<uint32_t>min(<uint64_t>FAR, left[0])):
        slot = &table.slots[place]
        if slot.block == found.block:
            left[0] -= step
            return slot.tag == found.tag and slot.list == (
                survey.rows[block_at(survey.arena, slot.block).row] if subaccount else slot.block)
        if slot.block == 0:
            return False
        if slot.tag == found.tag and slot.block != DEAD:
            if (not refers_to(survey.starts, survey.header.arena_size, slot.block)
                    or same_name(block_at(survey.arena, slot.block), block_at(survey.arena, found.block))):
                return False
            alike += 1
            if alike == ALIKE:
                break
        place = place + 1 if place + 1 < table.capacity else 0
    store_release(&survey.far, True)
    return True


cdef inline bint verify_part(Survey *survey, uint32_t part) noexcept nogil:
    """Count the slots of one part of the index, and check the searches that begin in it, while it is in the cache."""
    cdef const Slot *slots = survey.table.slots
    cdef uint32_t index, chain, here, used = 0, live = 0
    cdef uint64_t place, first, left, end = min(part + <uint64_t>1 << survey.part_bits, survey.table.capacity)
    first = part << survey.part_bits
    while first < end:
        here = 0
        for index in range(<uint32_t>first, <uint32_t>min(first + FAR, end)):
            here += slots[index].block != 0
            live += (slots[index].block != 0) & (slots[index].block != DEAD)
        if here == FAR:
            store_release(&survey.crowded, True)
        used += here
        first += FAR
    add_and_fetch(&survey.used, used)
    add_and_fetch(&survey.live, live)
    left = FAR + <uint64_t>USUAL * used
    for chain in range(CHAINS):
        place = survey.parts[chain * survey.part_count + part]
        while place:
            if load_acquire(&survey.far):
                return True
            first = (place - 1) // BUNDLED * BUNDLED
            while place > first:
                place -= 1
                if not verify_search(survey, survey.found + place, chain & 1, &left):
                    return False
            place = survey.before[first // BUNDLED]
    return True


cdef inline bint same_name(const AccountHeader *one, const AccountHeader *other) noexcept nogil:
    """Return whether two blocks have the same name."""
    return one.name_size == other.name_size and memcmp(text_of(one), text_of(other), one.name_size) == 0


cdef inline int compare_tagged(const void *one, const void *other) noexcept nogil:
    """Compare two names as `qsort` requires, so that equal names become adjacent."""
    cdef const Tagged *left = <const Tagged *>one
    cdef const Tagged *right = <const Tagged *>other
    if left.tag != right.tag:
        return -1 if left.tag < right.tag else 1
    if left.header.name_size != right.header.name_size:
        return -1 if left.header.name_size < right.header.name_size else 1
    return memcmp(text_of(left.header), text_of(right.header), left.header.name_size)


cdef inline int verify_run(
    const SlotTable *table, const uint8_t *arena, uint32_t end, uint32_t length
) noexcept nogil:
    """Check that all names in the run of slots before an empty slot differ. The time does not depend on their tags."""
    cdef Tagged *names
    cdef uint32_t step, _step, index = end, count = 0
    cdef int found = SOUND
    if length < 2:
        return SOUND
    names = <Tagged *>malloc(length * sizeof(Tagged))
    if names == NULL:
        return OUT_OF_MEMORY
    for _step in range(length):
        index = index - 1 if index else table.capacity - 1
        if table.slots[index].block != DEAD:
            names[count].header = block_at(arena, table.slots[index].block)
            names[count].tag = table.slots[index].tag
            count += 1
    qsort(names, count, sizeof(Tagged), compare_tagged)
    for step in range(1, count):
        if compare_tagged(&names[step - 1], &names[step]) == 0:
            found = HOSTILE
    free(names)
    return found


cdef inline int verify_runs(const Survey *survey) noexcept nogil:
    """Check the same as all searches, slot by slot and run by run; a run is the slots between two empty slots.

    A search that starts in a run, before a slot, reaches this slot, because no empty slot is in between. The function
    clears bits in `starts`.
    """
    cdef const SlotTable *table = survey.table
    cdef const uint8_t *arena = survey.arena
    cdef uint32_t capacity = table.capacity, index = 0, place, length = 0, unit, _step
    cdef const Slot *slot
    cdef const AccountHeader *block
    cdef int found
    while table.slots[index].block != 0:
        index += 1
    # The loop ends at the first empty slot again, which ends the last run.
    for _step in range(capacity):
        index = index + 1 if index + 1 < capacity else 0
        slot = &table.slots[index]
        if slot.block == 0:
            found = verify_run(table, arena, index, length)
            if found != SOUND:
                return found
            length = 0
            continue
        length += 1
        if slot.block == DEAD:
            continue
        if not refers_to(survey.starts, survey.header.arena_size, slot.block):
            return HOSTILE
        unit = slot.block - SEGMENT_UNITS
        survey.starts[unit >> 3] &= <uint8_t>~(1 << (unit & 7))
        block = block_at(arena, slot.block)
        place = <uint32_t>(<uint64_t>slot.tag * capacity >> 32)
        if (slot.tag != keyed_hash(text_of(block), block.name_size, survey.header.seed)
                or not is_own_slot(slot, survey)
                or (index - place if index >= place else index + capacity - place) >= length):
            return HOSTILE
    return SOUND


# -------------------------------------------------------------------------------------------------------- whole


cdef inline void verify_blocks(void *shared) noexcept nogil:
    """Do one thread's part of the first half: take pieces. After a wrong one, only complete the checksum."""
    cdef Survey *survey = <Survey *>shared
    cdef int64_t thread = add_and_fetch(&survey.turns, 1) - 1
    cdef int32_t *roots = survey.roots + (thread << ROOT_BITS)
    cdef uint64_t *parts = survey.parts + 2 * thread * survey.part_count
    cdef uint64_t begin = 0, end = 0
    while take_piece(survey, &begin, &end):
        if not load_acquire(&survey.wrong) and not verify_piece(survey, begin, end, roots, parts):
            store_release(&survey.wrong, True)


cdef inline void verify_references(void *shared) noexcept nogil:
    """Do one thread's part of the second half: one begins with the rows, then all take parts of the index."""
    cdef Survey *survey = <Survey *>shared
    cdef int64_t turn = add_and_fetch(&survey.turns, 1)
    if turn == 1 and not verify_rows(survey):
        store_release(&survey.wrong, True)
    while not load_acquire(&survey.wrong):
        turn = add_and_fetch(&survey.taken_parts, 1) - 1
        if turn >= survey.part_count:
            break
        if not verify_part(survey, <uint32_t>turn):
            store_release(&survey.wrong, True)


cdef inline int verify_sections(Survey *survey) noexcept nogil:
    """Check that the sections of an image are valid and consistent. The second half relies on the first one."""
    cdef bint large = survey.header.arena_size > SEGMENT_BYTES
    if large:
        work_twice(verify_blocks, survey)
    else:
        verify_blocks(survey)
    if survey.sum != survey.header.sum:
        return DAMAGED
    if survey.wrong:
        return HOSTILE
    survey.turns = 0
    if large:
        work_twice(verify_references, survey)
    else:
        verify_references(survey)
    if survey.wrong:
        return HOSTILE
    # There is an empty slot, and as many accounts as there are blocks.
    if not survey.used < survey.table.capacity or survey.used != survey.table.used or survey.live != survey.header.live:
        return HOSTILE
    return verify_runs(survey) if survey.far else SOUND


cdef inline int verify(const uint8_t *image, uint64_t size, Snapshot *header, bint *slow) noexcept nogil:
    """Check that a matcher may be opened over an image of unknown origin, and fill in its header.

    `slow` is set if the index is valid, but its searches may be far longer than in a table that the engine filled.
    """
    cdef int found = verify_header(image, size, header)
    cdef Survey survey
    cdef uint32_t capacity
    if found != SOUND:
        return found
    memset(&survey, 0, sizeof(Survey))
    survey.summed = PAGE
    survey.image = image
    survey.header = header
    survey.table = <const SlotTable *>(image + PAGE)
    survey.rows = <const uint32_t *>(image + header.rows_offset)
    survey.arena = image + header.arena_offset
    # In a damaged file the index may be anything.
    capacity = survey.table.capacity
    if capacity == 0 or header.table_size != sizeof(SlotTable) + <uint64_t>capacity * sizeof(Slot):
        return HOSTILE if header.sum == sum_image(image, header) else DAMAGED
    open_lock(&survey.lock)
    survey.part_bits = PART_BITS
    while capacity - 1 >> survey.part_bits >= MOST_PARTS:
        survey.part_bits += 1
    survey.part_count = (capacity - 1 >> survey.part_bits) + 1
    survey.starts = <uint8_t *>calloc(header.arena_size // (8 * UNIT) + 1, 1)
    survey.kin = <uint8_t *>calloc(header.row_count + <size_t>1, 1)
    survey.own = <uint32_t *>calloc(header.row_count + <size_t>1, sizeof(uint32_t))
    survey.roots = <int32_t *>malloc(THREADS * sizeof(int32_t) << ROOT_BITS)
    survey.parts = <uint64_t *>calloc(CHAINS * survey.part_count, sizeof(uint64_t))
    survey.before = <uint64_t *>malloc(<size_t>most_bundles(&survey) * sizeof(uint64_t))
    survey.found = <Found *>allocate_array(<size_t>most_bundles(&survey) * BUNDLED, sizeof(Found))
    if (survey.starts == NULL or survey.kin == NULL or survey.own == NULL or survey.roots == NULL
            or survey.parts == NULL or survey.before == NULL or survey.found == NULL):
        found = OUT_OF_MEMORY
    else:
        found = verify_sections(&survey)
    slow[0] = survey.far or survey.crowded or is_overfull(survey.table, survey.table.used)
    free(survey.starts)
    free(survey.kin)
    free(survey.own)
    free(survey.roots)
    free(survey.parts)
    free(survey.before)
    free(survey.found)
    close_lock(&survey.lock)
    return found
