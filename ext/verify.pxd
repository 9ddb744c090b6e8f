"""The checks that make a file of unknown origin safe. They prove every property in the table of `snapshot.pxd` once.

Whatever the bytes are, a check reads only inside the image, and its time depends only on the size of the image: the
steps along a chain are counted, the walk of an index is not deeper than its prefixes are long, and names in long runs
of slots are compared by sorting.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort
from libc.string cimport memcmp, memcpy, memset

from accounts cimport (
    DEAD, KIN, LENIENT, MAX_NAME, MOST_ROWS, SUBACCOUNT,
    AccountHeader, Kin, Slot, SlotTable,
    first_place, kin_of, text_of, trie_of,
)
from address cimport Prefix, has_host_bits, is_mapped, same_network
from arena cimport SEGMENTS, SEGMENT_UNITS, UNIT
from native cimport keyed_hash, popcount, prefetch
from snapshot cimport (
    BYTE_ORDER, DAMAGED, FOREIGN, FORMAT_VERSION, HOSTILE, MOST_NOTE, NEWER, OTHER_ORDER, OUT_OF_MEMORY, PAGE,
    SEGMENT_BYTES, SOUND, TRUNCATED,
    Snapshot, held_size, next_place, next_segment, paged, place_block, reference, sum_header, sum_image,
)
from trie cimport (
    BRANCH, CHILD, CLOSED, COUNT, FANOUT, LEAF, MOST_LISTED, NESTED, NONE, ROOT_BITS, RUN, RUN_SLOTS, SKIP_SLOTS, SMALL,
    STRIDE, UPPER,
    Branch, Index, IndexHeader, Node, TrieHeader, arrays_size, branch_at, index_size, ipv6_section, is_node, low_at,
    node_slot, stride_of, view_index,
)

cdef enum:
    # How many slots to prefetch ahead, so that the waits for them overlap.
    AHEAD = 16
    # After this many steps of a search, or names with the same tag, the whole index is checked run by run. No choice of
    # names can slow down that check.
    FAR = 512
    ALIKE = 16

# The sorted arrays of one family, the index over them, and memory for the expected slots of a direct root.
cdef struct Family:
    const uint32_t *first4          # NULL for IPv6
    const uint64_t *high6
    const uint64_t *low6            # NULL if UPPER
    const uint8_t *lengths
    uint32_t count
    Index index
    const IndexHeader *header
    int32_t *roots

# The expected runs of equal spans of a node, computed from its prefixes in order: a bit at the start of each run, and
# its slot, which is compared at once.
cdef struct Runs:
    uint64_t bits[4]
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
    cdef uint32_t index, before = 0
    cdef int shorter = -1
    # Without branches: lists are short, and all except forged lists pass.
    cdef bint wrong = False, covered = False
    for index in range(count):
        if length[index] > 32:
            return False
        wrong |= (first[index] & (<uint64_t>0xFFFFFFFF >> length[index])) != 0
        wrong |= (first[index] < before) | ((first[index] == before) & (length[index] <= shorter))
        covered |= (shorter >= 0) & (((first[index] ^ before) & ~(<uint64_t>0xFFFFFFFF >> (shorter & 63))) == 0)
        before = first[index]
        shorter = length[index]
    return not wrong and (nested or not covered)


cdef inline bint verify_prefixes6(
    const uint64_t *high, const uint64_t *low, const uint8_t *length, uint32_t count, bint nested
) noexcept nogil:
    """Check the same for IPv6 prefixes, and that none of them is IPv4-mapped."""
    cdef uint32_t index
    cdef Prefix prefix
    cdef uint64_t before
    for index in range(count):
        prefix.first.hi = high[index]
        prefix.first.lo = low_at(low, index)
        prefix.length = length[index]
        if (prefix.length > (64 if low == NULL else 128) or has_host_bits(&prefix)
                or (prefix.length >= 96 and is_mapped(&prefix.first))):
            return False
        if index == 0:
            continue
        before = low_at(low, index - 1)
        if high[index] < high[index - 1]:
            return False
        if high[index] == high[index - 1]:
            if prefix.first.lo < before or (prefix.first.lo == before and length[index] <= length[index - 1]):
                return False
        if not nested and same_network(high[index], prefix.first.lo, high[index - 1], before, length[index - 1]):
            return False
    return True


cdef inline bint verify_index(const uint8_t *section, uint64_t left, Family *family, uint64_t *size) noexcept nogil:
    """Check that an index ends within `left` bytes, and that every walk through it finds the family's longest match."""
    cdef const IndexHeader *header = <const IndexHeader *>section
    if left < sizeof(IndexHeader) or header.roots not in (0, 1 << ROOT_BITS):
        return False
    if header.nodes > left // sizeof(Node) or header.slots > left // sizeof(int32_t) or index_size(header) > left:
        return False
    size[0] = index_size(header)
    view_index(<const char *>section, &family.index)
    family.header = header
    if family.index.root == NULL:
        return verify_child(family, family.index.start, 0, family.count, 0, NONE)
    return verify_root(family)


cdef inline bint verify_root(Family *family) noexcept nogil:
    """Check that a direct root and the nodes below it match the prefixes."""
    cdef int32_t *spans = family.roots
    cdef uint32_t index = 0, end, span, last
    for span in range(<uint32_t>1 << ROOT_BITS):
        spans[span] = NONE
    while index < family.count:
        span = root_span(family, index)
        if family.lengths[index] <= ROOT_BITS:
            last = span + (<uint32_t>1 << (ROOT_BITS - family.lengths[index]))
            while span < last:
                spans[span] = <int32_t>index
                span += 1
            index += 1
            continue
        end = index + 1
        while end < family.count and root_span(family, end) == span:
            end += 1
        # A slot for longer prefixes is copied as it is; what it refers to is checked.
        if not verify_child(family, family.index.root[span], index, end, ROOT_BITS, spans[span]):
            return False
        spans[span] = family.index.root[span]
        index = end
    return memcmp(spans, family.index.root, sizeof(int32_t) << ROOT_BITS) == 0


cdef inline uint32_t root_span(const Family *family, uint32_t index) noexcept nogil:
    """Return the number of the span of a direct root in which a prefix begins."""
    if family.first4 != NULL:
        return family.first4[index] >> (32 - ROOT_BITS)
    return <uint32_t>(family.high6[index] >> (64 - ROOT_BITS))


cdef inline uint32_t node_span(const Family *family, uint32_t index, int depth) noexcept nogil:
    """Return the number of the span of a node in which a prefix begins."""
    if family.first4 != NULL:
        return family.first4[index] >> (32 - STRIDE - depth) & (FANOUT - 1)
    return stride_of(family.high6[index], low_at(family.low6, index), depth)


cdef inline bint have_in_common(const Family *family, uint32_t one, uint32_t other, int length) noexcept nogil:
    """Return whether two networks have the same first `length` bits."""
    if family.first4 != NULL:
        return same_network(
            <uint64_t>family.first4[one] << 32, 0, <uint64_t>family.first4[other] << 32, 0, length)
    return same_network(
        family.high6[one], low_at(family.low6, one), family.high6[other], low_at(family.low6, other), length)


cdef inline bint verify_child(
    const Family *family, int32_t slot, uint32_t start, uint32_t stop, int depth, int32_t inherited
) noexcept nogil:
    """Check that a slot is right for the prefixes in [start, stop): those of one span, all longer than `depth`."""
    cdef const Branch *branch
    cdef uint64_t position
    cdef int deeper
    if is_node(slot):
        return verify_node(family, slot, start, stop, depth, inherited)
    if slot >= LEAF:
        return <uint32_t>(slot - LEAF) == start and stop - start == 1 and inherited == NONE
    if slot > BRANCH:
        return False
    position = <uint64_t>(<int64_t>BRANCH - slot)
    if position + RUN_SLOTS > family.header.slots:
        return False
    branch = branch_at(&family.index, slot)
    if <uint32_t>branch.start != start or branch.inherited != inherited:
        return False
    if branch.kind > 0:
        return <uint32_t>branch.kind == stop - start and stop - start <= RUN
    if position + SKIP_SLOTS > family.header.slots or branch.kind < -128:
        return False
    deeper = -branch.kind
    # Prefixes in order that share these bits are longer if the first of them is, so the node gets what it relies on.
    return (deeper > depth and deeper % STRIDE == 0 and family.lengths[start] > deeper
            and have_in_common(family, start, stop - 1, deeper) and is_node(branch.node)
            and verify_node(family, branch.node, start, stop, deeper, inherited))


cdef inline void end_run(Runs *runs, uint32_t span, int32_t slot) noexcept nogil:
    """End the current run before a span, if the run is not empty, and begin a new run."""
    if span > runs.start:
        if runs.count == 0 or runs.slot != runs.before:
            runs.bits[runs.start >> 6] |= <uint64_t>1 << (runs.start & 63)
            runs.wrong |= runs.count >= runs.most or runs.slots[runs.count] != runs.slot
            runs.before = runs.slot
            # Never exceeds `most`: after the first wrong run, no further slot is read.
            runs.count += not runs.wrong
        runs.start = span
    runs.slot = slot


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
    cdef const Node *node
    cdef uint32_t span, word, rank = 0, index = start, end, number = <uint32_t>(<int64_t>CHILD - slot)
    if not is_node(slot) or number >= family.header.nodes:
        return False
    node = family.index.nodes + number
    for word in range(4):
        if node.before[word] != rank:
            return False
        rank += popcount(node.bits[word])
    if not node.bits[0] & 1 or node.base > family.header.slots or rank > family.header.slots - node.base:
        return False
    memset(&runs, 0, sizeof(Runs))
    runs.slots = family.index.slots + node.base
    runs.most = rank
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
        else:
            number = index + 1
            while number < stop and node_span(family, number, depth) == span:
                number += 1
            slot = family.index.slots[node_slot(node, span)]
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
    return not runs.wrong and runs.count == rank and memcmp(runs.bits, node.bits, sizeof(runs.bits)) == 0


cdef inline bint is_utf8(const uint8_t *text, uint32_t size) noexcept nogil:
    """Check that a name is UTF-8 (RFC 3629): no overlong form, no surrogate, nothing above U+10FFFF."""
    cdef uint32_t at = 0, more, code
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
    if (n6 == 0 and counts.ipv6) or (n4 == 0 and counts.ipv4 and (n6 or counts.ipv4 != CLOSED)):
        return 0
    # Bit 30 of the IPv4 word has no meaning.
    if counts.ipv4 & UPPER or n4 + n6 > MOST_LISTED or n4 * 5 + n6 * 9 > left or size + arrays_size(counts) > left:
        return 0
    ipv4.count = <uint32_t>n4
    ipv4.first4 = <const uint32_t *>(block + size + sizeof(TrieHeader))
    ipv4.lengths = <const uint8_t *>(ipv4.first4 + n4)
    ipv6.count = <uint32_t>n6
    ipv6.first4 = NULL
    ipv6.high6 = <const uint64_t *>ipv6_section(<const char *>counts)
    ipv6.low6 = NULL if counts.ipv6 & UPPER else ipv6.high6 + n6
    ipv6.lengths = <const uint8_t *>(ipv6.high6 + n6 if ipv6.low6 == NULL else ipv6.low6 + n6)
    ipv4.roots = ipv6.roots = roots
    if not (verify_prefixes4(ipv4.first4, ipv4.lengths, ipv4.count, counts.ipv4 & NESTED != 0)
            and verify_prefixes6(ipv6.high6, ipv6.low6, ipv6.lengths, ipv6.count, counts.ipv6 & NESTED != 0)):
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


# A block and the keyed hash of its name.
cdef struct Found:
    uint32_t tag
    uint32_t block

# The results of the walk through the arena, for the check of the references: bitmaps by unit of the arena and by row.
cdef struct Survey:
    uint8_t *starts         # a block starts here
    uint8_t *lists          # this block has a list: it is not a subaccount's
    uint8_t *kin            # rows of parents and subaccounts
    uint32_t *own           # the block of each row, or 0
    int32_t *roots          # the expected direct root, of one list at a time
    Found *found            # the blocks in the order of the arena
    uint32_t count


cdef inline bint marked(const uint8_t *bits, uint64_t index) noexcept nogil:
    """Return whether a bit of a bitmap is set."""
    return bits[index >> 3] >> (index & 7) & 1


cdef inline void mark(uint8_t *bits, uint64_t index) noexcept nogil:
    """Set a bit of a bitmap."""
    bits[index >> 3] |= <uint8_t>(1 << (index & 7))


cdef inline bint verify_arena(
    const uint8_t *arena, uint64_t size, const Snapshot *image, Survey *survey
) noexcept nogil:
    """Check all blocks and record them in the survey."""
    cdef uint64_t at = 0, block_size
    cdef const AccountHeader *header
    while at < size:
        if (<const uint64_t *>(arena + at))[0] == 0:
            # The rest of a segment in which the next block did not fit, or the rest of a large block's last segment.
            at = next_segment(at + UNIT)
            continue
        block_size = held_size(verify_block(arena + at, size - at, image.row_count, survey.roots))
        if block_size == 0 or block_size > size - at or place_block(at, block_size) != at:
            return False
        header = <const AccountHeader *>(arena + at)
        if survey.own[header.row] or survey.count == image.live:
            return False
        survey.found[survey.count].tag = keyed_hash(text_of(header), header.name_size, image.seed)
        survey.found[survey.count].block = reference(at)
        survey.count += 1
        survey.own[header.row] = reference(at)
        mark(survey.starts, at // UNIT)
        if not header.flags & SUBACCOUNT:
            mark(survey.lists, at // UNIT)
        if header.flags & KIN:
            mark(survey.kin, header.row)
        at = next_place(at, block_size)
    return True


cdef inline bint refers_to(const uint8_t *bits, uint64_t arena_size, uint32_t block) noexcept nogil:
    """Return whether a reference names a block that is marked in a bitmap."""
    cdef uint64_t unit = <uint64_t>block - SEGMENT_UNITS
    return block >= SEGMENT_UNITS and unit < arena_size // UNIT and marked(bits, unit)


cdef inline const AccountHeader *block_at(const uint8_t *arena, uint32_t block) noexcept nogil:
    """Return the block that a valid reference names."""
    return <const AccountHeader *>(arena + <uint64_t>(block - SEGMENT_UNITS) * UNIT)


# ----------------------------------------------------------------------------------------------- rows and index


cdef inline bint verify_rows(
    const Snapshot *header, const uint32_t *rows, const uint8_t *arena, const Survey *survey
) noexcept nogil:
    """Check that each row names the list that decides, and that subaccounts and parents refer to each other."""
    cdef uint64_t live = 0, subaccounts = 0, listed = 0
    cdef uint32_t row, next_block, parent
    cdef const AccountHeader *block
    for row in range(header.row_count):
        live += survey.own[row] != 0
        if not marked(survey.kin, row):
            if rows[row] != survey.own[row]:
                return False
            continue
        block = block_at(arena, survey.own[row])
        if block.flags & SUBACCOUNT:
            subaccounts += 1
            parent = kin_of(block).parent
            if (parent >= header.row_count or not marked(survey.kin, parent) or rows[row] != survey.own[parent]
                    or not refers_to(survey.lists, header.arena_size, rows[row])):
                return False
            continue
        if rows[row] != survey.own[row]:
            return False
        next_block = kin_of(block).next
        while next_block:
            listed += 1
            if listed > header.row_count or not names_subaccount(survey, header.arena_size, next_block):
                return False
            block = block_at(arena, next_block)
            if kin_of(block).parent != row:
                return False
            next_block = kin_of(block).next
    return live == header.live and listed == subaccounts


cdef inline bint names_subaccount(const Survey *survey, uint64_t arena_size, uint32_t block) noexcept nogil:
    """Return whether a reference names a subaccount's block."""
    return refers_to(survey.starts, arena_size, block) and not refers_to(survey.lists, arena_size, block)


cdef inline bint verify_table(const Snapshot *header, const SlotTable *table) noexcept nogil:
    """Check that the index has its stated length, an empty slot, and as many accounts as there are blocks."""
    cdef uint64_t used = 0, live = 0
    cdef uint32_t index
    if header.table_size != sizeof(SlotTable) + <uint64_t>table.capacity * sizeof(Slot):
        return False
    for index in range(table.capacity):
        used += table.slots[index].block != 0
        live += (table.slots[index].block != 0) & (table.slots[index].block != DEAD)
    return used < table.capacity and used == table.used and live == header.live


cdef inline bint is_own_slot(
    const Slot *slot, const uint32_t *rows, const uint8_t *arena, const Survey *survey
) noexcept nogil:
    """Return whether a slot refers to the list that decides for its block."""
    if marked(survey.lists, slot.block - SEGMENT_UNITS):
        return slot.list == slot.block
    return slot.list == rows[block_at(arena, slot.block).row]


cdef inline int verify_searches(const Snapshot *header, const SlotTable *table, const Survey *survey) noexcept nogil:
    """Check that `find` ends at the right slot for the name of every block, and that no two names are equal.

    There are as many slots as blocks, so then each slot belongs to one block.
    """
    cdef const uint8_t *arena = <const uint8_t *>table + (header.arena_offset - PAGE)
    cdef const uint32_t *rows = <const uint32_t *>(<const uint8_t *>table + (header.rows_offset - PAGE))
    cdef uint32_t number, tag, place, alike, _step
    cdef const Slot *slot
    for number in range(survey.count):
        if number + AHEAD < survey.count:
            prefetch(&table.slots[first_place(table, survey.found[number + AHEAD].tag)])
        tag = survey.found[number].tag
        place = first_place(table, tag)
        alike = 0
        for _step in range(FAR):
            slot = &table.slots[place]
            if slot.block == survey.found[number].block:
                if slot.tag != tag or not is_own_slot(slot, rows, arena, survey):
                    return HOSTILE
                break
            if slot.block == 0:
                return HOSTILE
            if slot.tag == tag and slot.block != DEAD:
                if not refers_to(survey.starts, header.arena_size, slot.block):
                    return HOSTILE
                if same_name(block_at(arena, slot.block), block_at(arena, survey.found[number].block)):
                    return HOSTILE
                alike += 1
                if alike == ALIKE:
                    return verify_runs(header, table, survey)
            place = place + 1 if place + 1 < table.capacity else 0
        else:
            return verify_runs(header, table, survey)
    return SOUND


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


cdef inline int verify_runs(const Snapshot *header, const SlotTable *table, const Survey *survey) noexcept nogil:
    """Check the same as `verify_searches`, slot by slot and run by run; a run is the slots between two empty slots.

    A search that starts in a run, before a slot, reaches this slot, because no empty slot is in between. The function
    clears bits in `starts`.
    """
    cdef const uint8_t *arena = <const uint8_t *>table + (header.arena_offset - PAGE)
    cdef const uint32_t *rows = <const uint32_t *>(<const uint8_t *>table + (header.rows_offset - PAGE))
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
        if not refers_to(survey.starts, header.arena_size, slot.block):
            return HOSTILE
        unit = slot.block - SEGMENT_UNITS
        survey.starts[unit >> 3] &= <uint8_t>~(1 << (unit & 7))
        block = block_at(arena, slot.block)
        place = <uint32_t>(<uint64_t>slot.tag * capacity >> 32)
        if (slot.tag != keyed_hash(text_of(block), block.name_size, header.seed)
                or not is_own_slot(slot, rows, arena, survey)
                or (index - place if index >= place else index + capacity - place) >= length):
            return HOSTILE
    return SOUND


# -------------------------------------------------------------------------------------------------------- whole


cdef inline int verify_sections(const uint8_t *image, const Snapshot *header, Survey *survey) noexcept nogil:
    """Check that the sections of an image are valid and consistent. Each check relies on the checks before it."""
    cdef const SlotTable *table = <const SlotTable *>(image + PAGE)
    cdef const uint32_t *rows = <const uint32_t *>(image + header.rows_offset)
    cdef const uint8_t *arena = image + header.arena_offset
    if not (verify_arena(arena, header.arena_size, header, survey)
            and verify_rows(header, rows, arena, survey) and verify_table(header, table)):
        return HOSTILE
    return verify_searches(header, table, survey)


cdef inline int verify(const uint8_t *image, uint64_t size, Snapshot *header) noexcept nogil:
    """Check that a matcher may be opened over an image of unknown origin, and fill in its header."""
    cdef int found = verify_header(image, size, header)
    cdef Survey survey
    if found != SOUND:
        return found
    if header.sum != sum_image(image, header):
        return DAMAGED
    survey.starts = <uint8_t *>calloc(header.arena_size // (8 * UNIT) + 1, 1)
    survey.lists = <uint8_t *>calloc(header.arena_size // (8 * UNIT) + 1, 1)
    survey.kin = <uint8_t *>calloc(header.row_count // 8 + 1, 1)
    survey.own = <uint32_t *>calloc(header.row_count + <size_t>1, sizeof(uint32_t))
    survey.roots = <int32_t *>malloc(sizeof(int32_t) << ROOT_BITS)
    survey.found = <Found *>malloc((header.live + <size_t>1) * sizeof(Found))
    survey.count = 0
    if (survey.starts == NULL or survey.lists == NULL or survey.kin == NULL or survey.own == NULL
            or survey.roots == NULL or survey.found == NULL):
        found = OUT_OF_MEMORY
    else:
        found = verify_sections(image, header, &survey)
    free(survey.starts)
    free(survey.lists)
    free(survey.kin)
    free(survey.own)
    free(survey.roots)
    free(survey.found)
    return found
