"""A matcher as one file: its layout, and the functions that write and open it.

Format 3 has final nodes, SPARSE, and direct roots that begin and end where the prefixes do (`trie.pxd`). Format 2 has
leaves, runs, skips and UPPER, and modes of accounts (`accounts.pxd`). A file of an earlier format has none of what came
later and is otherwise the same, so the same code reads it.

    offset          section    content
    0               Snapshot   magic, version, byte order, sizes, checksums; padded to PAGE
    PAGE            table      SlotTable
    ...             rows       uint32[row_count]
    ...             arena      segments of one megabyte, the last one shorter; a segment starts with a block
    ...             note       note_size bytes that the caller of `save` passed

Sections begin at multiples of PAGE, and the matcher uses them in memory as they are: opening copies nothing. References
in them are those of `arena.pxd`; the first segment of the file has number 1.

A checksum detects damage but no attack: anyone who can write a file can also compute its checksum. Therefore opening
proves every property that a lookup or a change relies on. `verify.pxd` checks each property once, and later code must
not rely on a property that is not in this table. No check can prove who wrote the lists in a file.

    property                                            checked in          relied on in

    sections are in order and inside the file           verify_header       use_image, note_of
    the arena has at most SEGMENTS - 1 segments         verify_header       map_segments
    there are at most MOST_ROWS rows                    verify_header       row_of, is_row, make_room

    blocks are adjacent, as `place_block` places        verify_piece        free_block, new_block, split_block: the
    them, each as long as its size class                                    memory of a replaced block is reused
    a block ends inside the arena                       verify_block        header_of, text_of, trie_of, size_of
    a name has 1 to MAX_NAME bytes                      verify_block        find, new_account
    a name is UTF-8                                     is_utf8             parent_of, known
    flags are none, KIN, or KIN and SUBACCOUNT          verify_block        kin_of, size_of, exchange, publish, link
    without SUBACCOUNT, one flag of a mode may be set   verify_block        list_allows, is_enforced, make_parent
    a row number is below row_count, one block has it   verify_piece        row_at, exchange, discard, write_sections

    a list has at most MOST_LISTED prefixes             verify_block        longest_match6, prefix_at: int32 indices
    CLOSED is set only without prefixes                 verify_block        is_open, list_allows
    lengths are at most 32 and 128                      verify_prefixes*    last_cover4, same_network, write_decimal
    no bit is set beyond a length                       verify_prefixes*    open_direct, make_bitmap: their tables end
                                                                            where a prefix ends; search4, search6
    prefixes grow strictly in iteration order           verify_prefixes*    search4, search6, make_bitmap, verify_root
    NESTED is set if a prefix covers another            verify_prefixes*    last_cover4, search6, search_many
    no IPv4-mapped prefix is written as IPv6            verify_prefixes6    Address: a mapped address is IPv4
    UPPER is set only if no IPv6 prefix is longer than  verify_prefixes6    low_at, search6, search_run
    64 bits
    SPARSE is set only with an index and without UPPER  verify_block        search6: it has no longer6
    with SPARSE, one prefix of SEVERAL at most is       verify_block        verify_node: it searches longer6
    longer than 64 bits, and at least one is
    longer6 is inside the block, and names each prefix  arrays_fit,         arrays_size, low_at
    longer than 64 bits once, in order, and no other    verify_prefixes6
    an index is inside its block                        verify_index        view_index, index_size
    every walk of an index stays in it, ends, and finds verify_root,        walk, walk_many
    the longest match among the block's prefixes        verify_node
    a direct root of IPv4 has all of its slots          verify_index        first_slot
    slots of a direct root that are not stored are NONE verify_root         first_slot
    a final node and its slots are inside the index,    begin_runs,         walk, end_at_finals
    and no slot of it refers to a node                  verify_node
    a leaf is the only prefix of its span               verify_child        end_walk, end_walks
    a run has all prefixes of its span, at most RUN     verify_child        search_run
    a skip leads to a deeper node, past bits that all   verify_child        end_walk
    prefixes of its span have

    a row refers to the list that decides: its own      verify_rows         list_at, allow_rows, allows_row, unlink
    block's or its parent's; an unused row has 0
    a parent is not a subaccount                        verify_rows         header_of_parent, trie_of
    `Kin` is a tree of two levels: each subaccount is   verify_rows         exchange, unlink, discard, link
    once in the chain of its parent; chains end

    an index has room, and counts its slots             verify_part         find, put: a search ends at an empty slot
    each block has one slot, each slot a block          verify_part         header_of, write_sections, blocks_by_row
    a slot refers to the list that decides              verify_part         list_of, header_of_parent
    a tag is the keyed hash of the slot's name          verify_search       find, put: tags place slots when the index
                                                                            grows
    the search for a name ends at its own slot          verify_search       find, slot_of, exchange
    names are unique                                    verify_search       find: publish, link, discard reach the one
                                                                            block that readers see
    `live` counts the accounts                          verify_part         make_room, discard, __len__
    searches are short: an index in which they are not  verify_part,        find, put, exchange: their time
    is replaced                                         verify_search

A file contains no free blocks, free lists or retired blocks: a matcher that was just opened has none. No code relies on
the padding between blocks and sections, or on the tags and lists of empty and dead slots; they are not checked. A tag
of a dead slot says only when the slot may be reused, and any number is safe.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from accounts cimport DEAD, KIN, AccountHeader, Accounts, Slot, SlotTable, header_of, kin_of, row_at, size_of
from arena cimport SEGMENTS, SEGMENT_UNITS, UNIT, class_of, map_segments
from counters cimport limits
from native cimport checksum
from trie cimport padded

cdef enum:
    FORMAT_VERSION = 3
    PAGE = 4096
    SEGMENT_BYTES = 1048576
    MOST_NOTE = 1073741824

cdef enum: BYTE_ORDER = 0x01020304

# The reasons to refuse an image.
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
    """Return the next multiple of PAGE."""
    return (size + PAGE - 1) & ~<uint64_t>(PAGE - 1)


cdef inline uint64_t sum_until(
    const uint8_t *image, const Snapshot *header, uint64_t *at, uint64_t end, uint64_t sum
) noexcept nogil:
    """Continue the checksum at a place of the image up to another one: the index and rows, then segment by segment.

    The first place is PAGE, and the others begin segments.
    """
    if at[0] == PAGE:
        sum = checksum(image + PAGE, header.arena_offset - PAGE, sum)
        at[0] = header.arena_offset
    end = min(end, header.size)
    while at[0] < end:
        sum = checksum(image + at[0], min(<uint64_t>SEGMENT_BYTES, header.size - at[0]), sum)
        at[0] += SEGMENT_BYTES
    return sum


cdef inline uint64_t sum_image(const uint8_t *image, const Snapshot *header) noexcept nogil:
    """Return the checksum of everything after the first page."""
    cdef uint64_t at = PAGE
    return sum_until(image, header, &at, header.size, 0)


cdef inline uint64_t sum_header(const Snapshot *header) noexcept nogil:
    """Return the checksum of a header."""
    return checksum(<const uint8_t *>header, <const uint8_t *>&header.own_sum - <const uint8_t *>header, 0)


cdef inline void seal(uint8_t *image, uint64_t size) noexcept nogil:
    """Write the checksums into an image of `size` bytes, if its header names sections inside the image."""
    cdef Snapshot *header = <Snapshot *>image
    if size >= PAGE and PAGE <= header.arena_offset <= size == header.size:
        header.sum = sum_image(image, header)
    if size >= sizeof(Snapshot):
        header.own_sum = sum_header(header)


# ------------------------------------------------------------------------------------------------------ writing


cdef inline uint64_t next_segment(uint64_t at) noexcept nogil:
    """Return the start of the next segment, or `at` if a segment starts there."""
    return (at + SEGMENT_BYTES - 1) // SEGMENT_BYTES * SEGMENT_BYTES


cdef inline uint64_t held_size(uint64_t size) noexcept nogil:
    """Return the bytes that a block takes up: those of its size class, so that it can be reused when it is freed."""
    cdef uint32_t units
    if size > SEGMENT_BYTES // 2:
        return size
    class_of(<uint32_t>(size // UNIT), &units)
    return <uint64_t>units * UNIT


cdef inline uint64_t place_block(uint64_t at, uint64_t size) noexcept nogil:
    """Return the place of the next block in the arena section. Large blocks start a segment; others never cross one."""
    return at if size <= SEGMENT_BYTES - at % SEGMENT_BYTES and size <= SEGMENT_BYTES // 2 else next_segment(at)


cdef inline uint32_t reference(uint64_t place) noexcept nogil:
    """Return the reference of a place in the arena section."""
    return <uint32_t>(place // UNIT) + SEGMENT_UNITS


cdef inline uint64_t next_place(uint64_t place, uint64_t size) noexcept nogil:
    """Return the place after a block; after a large block, the next segment."""
    return place + size if size <= SEGMENT_BYTES // 2 else next_segment(place + size)


cdef inline const uint8_t *note_of(const uint8_t *image, const Snapshot *header) noexcept nogil:
    """Return a pointer to the note of an image. Without a note, it must not be read."""
    return image + header.arena_offset + paged(header.arena_size)


cdef inline uint8_t *write_image(
    const Accounts *accounts, const uint8_t *note, uint64_t note_size, uint64_t *size
) noexcept nogil:
    """Make the image of all accounts; the caller frees it. Return NULL without memory."""
    cdef const SlotTable *table = <const SlotTable *>accounts.table
    cdef uint32_t *own = <uint32_t *>calloc(accounts.row_count + <size_t>1, sizeof(uint32_t))
    cdef uint64_t *places = <uint64_t *>calloc(accounts.row_count + <size_t>1, sizeof(uint64_t))
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
    """Place the accounts' blocks in order of their rows, then write every section."""
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
    header.table_size = sizeof(SlotTable) + <uint64_t>table.capacity * sizeof(Slot)
    header.rows_offset = PAGE + paged(header.table_size)
    header.arena_offset = header.rows_offset + paged(accounts.row_count * <uint64_t>sizeof(uint32_t))
    header.arena_size = padded(at)
    header.note_size = note_size
    header.size = header.arena_offset + paged(header.arena_size) + paged(note_size)
    # Blocks may be further apart in a file than in memory, but references have a limited range.
    if header.arena_size > <uint64_t>(limits.segments - 1) * SEGMENT_BYTES or header.size > <size_t>-1:
        return NULL
    header.row_count = accounts.row_count
    header.live = accounts.live
    image = <uint8_t *>calloc(<size_t>header.size, 1)
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
    """Return the reference in the file for a block in memory; 0 stays 0."""
    return reference(places[header_of(accounts, block).row]) if block else 0


cdef inline void write_table(
    const Accounts *accounts, const SlotTable *table, const uint64_t *places, SlotTable *written
) noexcept nogil:
    """Copy the index slot by slot. Dead slots stay dead, because a search for later names must pass over them."""
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
    """Copy an account's block, and convert the references in its `Kin`."""
    cdef const AccountHeader *header = header_of(accounts, block)
    memcpy(written, header, size_of(header))
    if header.flags & KIN:
        kin_of(<AccountHeader *>written).next = moved(accounts, places, kin_of(header).next)


# ---------------------------------------------------------------------------------------------------------- use


cdef inline void use_image(Accounts *accounts, char *image, const Snapshot *header) noexcept nogil:
    """Use a verified image as the content of an empty set of accounts."""
    free(accounts.table)
    accounts.seed = header.seed
    accounts.table = image + PAGE
    # Without rows there is no such section, and its start could be after the end of the file.
    accounts.rows = image + header.rows_offset if header.row_count else NULL
    accounts.row_count = header.row_count
    accounts.row_room = header.row_count
    accounts.live = header.live
    accounts.arena.mapped = image
    accounts.arena.mapped_size = header.size
    map_segments(&accounts.arena, image + header.arena_offset, header.arena_size)
