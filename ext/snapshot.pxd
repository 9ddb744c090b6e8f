"""A matcher as one file: its image in memory, and the checks that make an image of unknown origin safe to search.

    offset          section    content
    0               Snapshot   magic, version, byte order, sizes, checksums; padded to PAGE
    PAGE            table      SlotTable
    ...             rows       uint32[row_count]
    ...             arena      segments of one megabyte, the last one shorter; a segment starts with a block
    ...             note       note_size bytes of the one who saved it

Sections begin at multiples of PAGE and are what the matcher uses in memory: opening copies nothing. References in them
are those of `arena.pxd`, the first segment of the file being number 1.

A checksum tells damage, not intent. So `verify` also checks every count, reference and index once: whatever the file
says, a search stays inside it and ends. It cannot know whether lists are the ones that were saved.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from accounts cimport (
    DEAD, KIN, MAX_NAME, SUBACCOUNT,
    AccountHeader, Accounts, Kin, Slot, SlotTable,
    header_of, kin_of, row_at, size_of, trie_of,
)
from arena cimport SEGMENTS, SEGMENT_UNITS, UNIT, class_of
from native cimport checksum, popcount
from trie cimport (
    CHILD, CLOSED, COUNT, NONE, ROOT_BITS, SMALL, STRIDE,
    Index, IndexHeader, Node, TrieHeader, arrays_size, index_size, padded, view_index,
)

cdef enum:
    FORMAT_VERSION = 1
    PAGE = 4096
    SEGMENT_BYTES = 1048576
    MOST_NOTE = 67108864

cdef enum: BYTE_ORDER = 0x01020304

# Why an image is refused.
cdef enum:
    SOUND = 0
    OUT_OF_MEMORY = 1
    FOREIGN = 2
    OTHER_ORDER = 3
    NEWER = 4
    TRUNCATED = 5
    DAMAGED = 6
    HOSTILE = 7

cdef struct Snapshot:
    char magic[8]
    uint32_t version
    uint32_t byte_order
    uint64_t size           # of the whole file
    uint64_t seed
    uint64_t table_size
    uint64_t rows_offset
    uint64_t arena_offset
    uint64_t arena_size
    uint64_t note_size
    uint32_t row_count
    uint32_t live
    uint64_t sum            # of everything after the first page
    uint64_t own_sum        # of this header up to here


cdef inline uint64_t paged(uint64_t size) noexcept nogil:
    """The next multiple of PAGE."""
    return (size + PAGE - 1) & ~<uint64_t>(PAGE - 1)


cdef inline uint64_t sum_image(const uint8_t *image, const Snapshot *header) noexcept nogil:
    """The checksum of everything after the first page: of the index and rows, continued segment by segment."""
    cdef uint64_t at = header.arena_offset
    cdef uint64_t sum = checksum(image + PAGE, at - PAGE, 0)
    while at < header.size:
        sum = checksum(image + at, min(<uint64_t>SEGMENT_BYTES, header.size - at), sum)
        at += SEGMENT_BYTES
    return sum


cdef inline uint64_t sum_header(const Snapshot *header) noexcept nogil:
    """The checksum of a header."""
    return checksum(<const uint8_t *>header, <const uint8_t *>&header.own_sum - <const uint8_t *>header, 0)


cdef inline void seal(uint8_t *image, uint64_t size) noexcept nogil:
    """Write the checksums into an image of `size` bytes, as far as its header names sections inside it."""
    cdef Snapshot *header = <Snapshot *>image
    if size >= PAGE and PAGE <= header.arena_offset <= size == header.size:
        header.sum = sum_image(image, header)
    if size >= sizeof(Snapshot):
        header.own_sum = sum_header(header)


# ------------------------------------------------------------------------------------------------------ writing


cdef inline uint64_t next_segment(uint64_t at) noexcept nogil:
    """The start of the next segment, or here when this is one."""
    return (at + SEGMENT_BYTES - 1) // SEGMENT_BYTES * SEGMENT_BYTES


cdef inline uint64_t held_size(uint64_t size) noexcept nogil:
    """The bytes a block takes up: those of its size class, so that it can be reused once it is freed."""
    cdef uint32_t units
    if size > SEGMENT_BYTES // 2:
        return size
    class_of(<uint32_t>(size // UNIT), &units)
    return <uint64_t>units * UNIT


cdef inline uint64_t place_block(uint64_t at, size_t size) noexcept nogil:
    """Where in the arena section the next block goes: large ones have segments of their own, none crosses a border."""
    return at if size <= SEGMENT_BYTES - at % SEGMENT_BYTES and size <= SEGMENT_BYTES // 2 else next_segment(at)


cdef inline uint32_t reference(uint64_t place) noexcept nogil:
    """The reference of a place in the arena section."""
    return <uint32_t>(place // UNIT) + SEGMENT_UNITS


cdef inline uint64_t next_place(uint64_t place, size_t size) noexcept nogil:
    """Where the arena section goes on after a block; after a large one, in a new segment."""
    return place + size if size <= SEGMENT_BYTES // 2 else next_segment(place + size)


cdef inline const uint8_t *note_of(const uint8_t *image, const Snapshot *header) noexcept nogil:
    """Where the note of an image is; of one without, nothing may be read there."""
    return image + header.arena_offset + paged(header.arena_size)


cdef inline uint8_t *write_image(
    const Accounts *accounts, const uint8_t *note, uint64_t note_size, uint64_t *size
) noexcept nogil:
    """The image of all accounts, in memory to be freed by the caller; NULL without memory."""
    cdef const SlotTable *table = <const SlotTable *>accounts.table
    cdef uint32_t *own = <uint32_t *>calloc(accounts.row_count + 1, sizeof(uint32_t))
    cdef uint64_t *places = <uint64_t *>calloc(accounts.row_count + 1, sizeof(uint64_t))
    cdef uint8_t *image = NULL
    if own != NULL and places != NULL:
        image = write_sections(accounts, table, own, places, note, note_size, size)
    free(own)
    free(places)
    return image


cdef inline uint8_t *write_sections(
    const Accounts *accounts, const SlotTable *table, uint32_t *own, uint64_t *places, const uint8_t *note,
    uint64_t note_size, uint64_t *size
) noexcept nogil:
    """Lay the accounts' blocks out in order of their rows, then write every section."""
    cdef Snapshot header
    cdef uint64_t at = 0
    cdef uint32_t index
    cdef uint8_t *image
    cdef uint64_t block_size
    for index in range(table.capacity):
        if table.slots[index].block != 0 and table.slots[index].block != DEAD:
            own[header_of(accounts, table.slots[index].block).row] = table.slots[index].block
    for index in range(accounts.row_count):
        if own[index]:
            block_size = held_size(size_of(header_of(accounts, own[index])))
            places[index] = place_block(at, block_size)
            at = next_place(places[index], block_size)
    memset(&header, 0, sizeof(Snapshot))
    memcpy(header.magic, <const char *>b"cidrgate", sizeof(header.magic))
    header.version = FORMAT_VERSION
    header.byte_order = BYTE_ORDER
    header.seed = accounts.seed
    header.table_size = sizeof(SlotTable) + table.capacity * sizeof(Slot)
    header.rows_offset = PAGE + paged(header.table_size)
    header.arena_offset = header.rows_offset + paged(accounts.row_count * sizeof(uint32_t))
    header.arena_size = padded(at)
    header.note_size = note_size
    header.size = header.arena_offset + paged(header.arena_size) + paged(note_size)
    header.row_count = accounts.row_count
    header.live = accounts.live
    image = <uint8_t *>calloc(header.size, 1)
    if image == NULL:
        return NULL
    write_table(accounts, table, places, <SlotTable *>(image + PAGE))
    write_rows(accounts, places, <uint32_t *>(image + header.rows_offset))
    for index in range(accounts.row_count):
        if own[index]:
            copy_block(accounts, own[index], places, image + header.arena_offset + places[index])
    memcpy(<uint8_t *>note_of(image, &header), note, note_size)
    memcpy(image, &header, sizeof(Snapshot))
    seal(image, header.size)
    size[0] = header.size
    return image


cdef inline uint32_t moved(const Accounts *accounts, const uint64_t *places, uint32_t block) noexcept nogil:
    """The reference in the file of a block in memory; 0 stays 0."""
    return reference(places[header_of(accounts, block).row]) if block else 0


cdef inline void write_table(
    const Accounts *accounts, const SlotTable *table, const uint64_t *places, SlotTable *written
) noexcept nogil:
    """Copy the index slot by slot; dead slots stay dead, as names that follow them are found past them."""
    cdef uint32_t index
    cdef const Slot *slot
    written.capacity = table.capacity
    written.used = table.used
    for index in range(table.capacity):
        slot = &table.slots[index]
        if slot.block == DEAD:
            written.slots[index].block = DEAD
        elif slot.block:
            written.slots[index].tag = slot.tag
            written.slots[index].block = moved(accounts, places, slot.block)
            written.slots[index].list = moved(accounts, places, slot.list)


cdef inline void write_rows(const Accounts *accounts, const uint64_t *places, uint32_t *written) noexcept nogil:
    """Copy the rows."""
    cdef uint32_t row
    for row in range(accounts.row_count):
        written[row] = moved(accounts, places, row_at(accounts, row)[0])


cdef inline void copy_block(
    const Accounts *accounts, uint32_t block, const uint64_t *places, uint8_t *written
) noexcept nogil:
    """Copy an account's block; its kin is found by the new references."""
    cdef const AccountHeader *header = header_of(accounts, block)
    memcpy(written, header, size_of(header))
    if header.flags & KIN:
        kin_of(<AccountHeader *>written).next = moved(accounts, places, kin_of(header).next)


# ------------------------------------------------------------------------------------------------------ reading


cdef inline int verify_header(const uint8_t *image, uint64_t size, Snapshot *header) noexcept nogil:
    """Whether an image is a snapshot of this version, whole, with its sections where they belong."""
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
            or header.live > header.row_count):
        return HOSTILE
    return SOUND


cdef inline bint verify_index(
    const uint8_t *section, uint64_t left, uint32_t count, int bits, uint64_t *size
) noexcept nogil:
    """Whether a walk through an index stays inside it and ends within the bits of an address."""
    cdef const IndexHeader *header = <const IndexHeader *>section
    cdef Index index
    cdef uint8_t *depths
    cdef bint sound
    if left < sizeof(IndexHeader) or header.roots not in (0, 1 << ROOT_BITS):
        return False
    if header.nodes > left // sizeof(Node) or header.slots > left // sizeof(int32_t) or index_size(header) > left:
        return False
    size[0] = index_size(header)
    view_index(<const char *>section, &index)
    depths = <uint8_t *>calloc(header.nodes + 1, 1)
    if depths == NULL:
        return False
    sound = verify_walks(&index, header, count, bits, depths)
    free(depths)
    return sound


cdef inline bint verify_walks(
    const Index *index, const IndexHeader *header, uint32_t count, int bits, uint8_t *depths
) noexcept nogil:
    """Check every slot; children come before their parents, so one pass from the last node on knows all depths."""
    cdef uint32_t at, back, word, rank, slot
    cdef const Node *node
    if index.root == NULL:
        if not verify_slot(index.start, header.nodes, count, 0, depths):
            return False
    else:
        for at in range(header.roots):
            if not verify_slot(index.root[at], header.nodes, count, ROOT_BITS, depths):
                return False
    for back in range(header.nodes):
        at = header.nodes - 1 - back
        node = index.nodes + at
        rank = 0
        for word in range(4):
            if node.before[word] != rank:
                return False
            rank += popcount(node.bits[word])
        if not node.bits[0] & 1 or node.base > header.slots or rank > header.slots - node.base:
            return False
        if depths[at] + STRIDE > bits:
            return False
        for slot in range(node.base, node.base + rank):
            if not verify_slot(index.slots[slot], at, count, depths[at] + STRIDE, depths):
                return False
    return True


cdef inline bint verify_slot(
    int32_t slot, uint32_t nodes, uint32_t count, int depth, uint8_t *depths
) noexcept nogil:
    """Whether a slot names a prefix there is, or a node below `nodes`, whose depth is noted."""
    cdef uint32_t child
    if slot >= NONE:
        return slot == NONE or <uint32_t>slot < count
    child = <uint32_t>(CHILD - slot)
    if child >= nodes:
        return False
    if depths[child] < depth:
        depths[child] = <uint8_t>depth
    return True


cdef inline bint verify_lengths(const uint8_t *lengths, uint32_t count, uint8_t most) noexcept nogil:
    """Whether every prefix length is possible."""
    cdef uint8_t longest = 0
    cdef uint32_t index
    for index in range(count):
        longest = max(longest, lengths[index])
    return longest <= most


cdef inline uint64_t verify_block(const uint8_t *block, uint64_t left, uint32_t row_count) noexcept nogil:
    """The size of a sound account's block that starts here and ends within `left` bytes; 0 when there is none."""
    cdef const AccountHeader *header = <const AccountHeader *>block
    cdef const TrieHeader *counts
    cdef uint64_t size, n4, n6, more = 0
    if left < sizeof(AccountHeader) + sizeof(Kin) or header.row >= row_count:
        return 0
    if header.name_size == 0 or header.name_size > MAX_NAME or header.flags not in (0, KIN, KIN | SUBACCOUNT):
        return 0
    size = trie_of(header) - <const char *>block
    if header.flags & SUBACCOUNT:
        return size if size <= left else 0
    if size + sizeof(TrieHeader) > left:
        return 0
    counts = <const TrieHeader *>(block + size)
    n4 = counts.ipv4 & COUNT
    n6 = counts.ipv6 & COUNT
    # A flag without prefixes is CLOSED, of an account without any, or nonsense.
    if (n6 == 0 and counts.ipv6) or (n4 == 0 and counts.ipv4 and (n6 or counts.ipv4 != CLOSED)):
        return 0
    if n4 * 5 + n6 * 17 > left or size + arrays_size(<uint32_t>n4, <uint32_t>n6) > left:
        return 0
    if not verify_lengths(block + size + sizeof(TrieHeader) + 4 * n4, <uint32_t>n4, 32):
        return 0
    if not verify_lengths(block + size + arrays_size(<uint32_t>n4, 0) + 16 * n6, <uint32_t>n6, 128):
        return 0
    size += arrays_size(<uint32_t>n4, <uint32_t>n6)
    if n4 > SMALL:
        if not verify_index(block + size, left - size, <uint32_t>n4, 32, &more):
            return 0
        size += more
    if n6 > SMALL:
        if not verify_index(block + size, left - size, <uint32_t>n6, 128, &more):
            return 0
        size += more
    return size


# What the walk through the arena leaves for the check of the references: bitmaps by unit of the arena, and by row.
cdef struct Survey:
    uint8_t *starts         # a block starts here
    uint8_t *lists          # it holds a list: it is no subaccount's
    uint8_t *kin            # rows of parents and subaccounts
    uint32_t *own           # the block of each row, 0 where there is none


cdef inline bint marked(const uint8_t *bits, uint64_t index) noexcept nogil:
    """Whether a bit of a bitmap is set."""
    return bits[index >> 3] >> (index & 7) & 1


cdef inline void mark(uint8_t *bits, uint64_t index) noexcept nogil:
    """Set a bit of a bitmap."""
    bits[index >> 3] |= <uint8_t>(1 << (index & 7))


cdef inline bint verify_arena(
    const uint8_t *arena, uint64_t size, uint32_t row_count, const Survey *survey
) noexcept nogil:
    """Walk all blocks and survey them."""
    cdef uint64_t at = 0, block_size
    cdef const AccountHeader *header
    while at < size:
        if (<const uint64_t *>(arena + at))[0] == 0:
            # What is left of a segment when the next block did not fit, or of a large block's last one.
            at = next_segment(at + UNIT)
            continue
        block_size = held_size(verify_block(arena + at, size - at, row_count))
        if block_size == 0 or block_size > size - at or place_block(at, block_size) != at:
            return False
        header = <const AccountHeader *>(arena + at)
        if survey.own[header.row]:
            return False
        survey.own[header.row] = reference(at)
        mark(survey.starts, at // UNIT)
        if not header.flags & SUBACCOUNT:
            mark(survey.lists, at // UNIT)
        if header.flags & KIN:
            mark(survey.kin, header.row)
        at = next_place(at, block_size)
    return True


cdef inline bint refers_to(const uint8_t *bits, uint64_t arena_size, uint32_t block) noexcept nogil:
    """Whether a reference names a block of a bitmap."""
    cdef uint64_t unit = <uint64_t>block - SEGMENT_UNITS
    return block >= SEGMENT_UNITS and unit < arena_size // UNIT and marked(bits, unit)


cdef inline const AccountHeader *block_at(const uint8_t *arena, uint32_t block) noexcept nogil:
    """The block a sound reference names."""
    return <const AccountHeader *>(arena + <uint64_t>(block - SEGMENT_UNITS) * UNIT)


cdef inline bint verify_table(
    const Snapshot *header, const SlotTable *table, const uint8_t *arena, const Survey *survey
) noexcept nogil:
    """Whether searches of the index end, each block has one slot, and each slot its list; uses up `starts`."""
    cdef const uint32_t *rows = <const uint32_t *>(arena - (header.arena_offset - header.rows_offset))
    cdef const Slot *slot
    cdef uint64_t used = 0, live = 0, unit
    cdef uint32_t index
    if table.capacity == 0 or header.table_size != sizeof(SlotTable) + <uint64_t>table.capacity * sizeof(Slot):
        return False
    for index in range(table.capacity):
        slot = &table.slots[index]
        if slot.block == 0:
            continue
        used += 1
        if slot.block == DEAD:
            continue
        live += 1
        if not refers_to(survey.starts, header.arena_size, slot.block):
            return False
        unit = slot.block - SEGMENT_UNITS
        survey.starts[unit >> 3] &= <uint8_t>~(1 << (unit & 7))
        if marked(survey.lists, unit):
            if slot.list != slot.block:
                return False
        elif slot.list != rows[block_at(arena, slot.block).row]:
            return False
    return used < table.capacity and used == table.used and live == header.live


cdef inline bint verify_rows(
    const Snapshot *header, const uint32_t *rows, const uint8_t *arena, const Survey *survey
) noexcept nogil:
    """Whether each row names the list that decides, and subaccounts and parents know each other."""
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
    """Whether a reference names a subaccount's block."""
    return refers_to(survey.starts, arena_size, block) and not refers_to(survey.lists, arena_size, block)


cdef inline int verify(const uint8_t *image, uint64_t size, Snapshot *header) noexcept nogil:
    """Whether a matcher may be opened over an image of unknown origin; fills in its header."""
    cdef int found = verify_header(image, size, header)
    cdef Survey survey
    cdef const uint8_t *arena
    if found != SOUND:
        return found
    if header.sum != sum_image(image, header):
        return DAMAGED
    arena = image + header.arena_offset
    survey.starts = <uint8_t *>calloc(header.arena_size // (8 * UNIT) + 1, 1)
    survey.lists = <uint8_t *>calloc(header.arena_size // (8 * UNIT) + 1, 1)
    survey.kin = <uint8_t *>calloc(header.row_count // 8 + 1, 1)
    survey.own = <uint32_t *>calloc(header.row_count + <size_t>1, sizeof(uint32_t))
    if survey.starts == NULL or survey.lists == NULL or survey.kin == NULL or survey.own == NULL:
        found = OUT_OF_MEMORY
    # The rows are checked before the index, which uses the survey up.
    elif not (verify_arena(arena, header.arena_size, header.row_count, &survey)
              and verify_rows(header, <const uint32_t *>(image + header.rows_offset), arena, &survey)
              and verify_table(header, <const SlotTable *>(image + PAGE), arena, &survey)):
        found = HOSTILE
    free(survey.starts)
    free(survey.lists)
    free(survey.kin)
    free(survey.own)
    return found
