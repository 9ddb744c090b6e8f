"""Memory for the blocks of many accounts: a few large segments, 32-bit references, and reuse of freed blocks.

A reference counts units of eight bytes; 0 means no block, so segment 0 is never used. Its upper bits are the number of
a segment of one megabyte, its lower bits are the position in this segment. So no block needs a pointer, and no block
ever moves. A block larger than half a segment gets its own segments, adjacent in memory and in number. Freed blocks are
kept in lists by size class.

Readers do not exclude writers (see readers.pxd). Therefore a replaced block is *retired* first; it is freed when every
reader that was inside at that moment has left.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from counters cimport limits
from native cimport allocate, load_pointer, reallocate_array, store_pointer
from readers cimport Readers, epoch_ends

cdef enum:
    UNIT = 8
    SEGMENT_BITS = 17
    SEGMENT_UNITS = 131072
    # References of 32 bits reach this many segments: 32 GiB. `counters.h` has the same number.
    SEGMENTS = 32768
    # A large arena grows by this many adjacent segments at a time, so that they can be on huge pages.
    GROUP = 8
    # Size classes: one for each size up to EXACT units, then four for each doubling.
    EXACT = 64
    CLASSES = 128

cdef struct Retired:
    void *memory            # memory for free(), or NULL for a block of the arena
    uint32_t block
    uint32_t units

cdef struct Epoch:
    Retired *retired
    size_t count
    size_t room

cdef struct Arena:
    void **segments         # SEGMENTS pointers; NULL where unused
    uint8_t *owned          # SEGMENTS flags: 1 if a segment is the start of memory from malloc()
    uint32_t top            # the numbers of all used segments are below this
    uint32_t next           # next unused unit of the segment being filled
    uint32_t end            # its last unit + 1
    uint32_t freed[CLASSES]  # first free block of each class; its first four bytes refer to the next
    size_t nbytes           # bytes of all segments
    const char *mapped      # mapped file with the first segments and the tables, or NULL; never freed here
    size_t mapped_size
    Readers *readers        # the readers that may hold a block
    Epoch epochs[2]         # the retired blocks, by the parity of the epoch


cdef inline void *at(const Arena *arena, uint32_t block) noexcept nogil:
    """Return the address of a block."""
    return (<char *>load_pointer(arena.segments + (block >> SEGMENT_BITS))
            + <size_t>(block & (SEGMENT_UNITS - 1)) * UNIT)


cdef inline uint32_t log2_floor(uint32_t number) noexcept nogil:
    """Return the position of the highest set bit."""
    cdef uint32_t bits = 0
    while number > 1:
        number >>= 1
        bits += 1
    return bits


cdef inline uint32_t class_of(uint32_t units, uint32_t *rounded) noexcept nogil:
    """Return the size class for `units`, and set how many units its blocks have."""
    cdef uint32_t order, step, steps
    if units <= EXACT:
        rounded[0] = units
        return units
    order = log2_floor(units - 1)
    step = <uint32_t>1 << (order - 2)
    steps = (units + step - 1) // step
    rounded[0] = steps * step
    return EXACT + (order - 6) * 4 + steps - 4


cdef inline bint open_arena(Arena *arena, Readers *readers) noexcept nogil:
    """Make an empty arena for these readers; return False without memory."""
    memset(arena, 0, sizeof(Arena))
    arena.segments = <void **>calloc(SEGMENTS, sizeof(void *))
    arena.owned = <uint8_t *>calloc(SEGMENTS, 1)
    arena.readers = readers
    return arena.segments != NULL and arena.owned != NULL


cdef inline void free_memory(const Arena *arena, void *memory) noexcept nogil:
    """Free memory from malloc(). Memory of the mapped file is not freed."""
    cdef const char *place = <const char *>memory
    if arena.mapped == NULL or place < arena.mapped or place >= arena.mapped + arena.mapped_size:
        free(memory)


cdef inline void map_segments(Arena *arena, char *memory, size_t size) noexcept nogil:
    """Use `size` bytes of the mapped file as the first segments."""
    cdef uint32_t index
    arena.top = 1 + segments_for(<uint32_t>(size // UNIT))
    for index in range(1, arena.top):
        arena.segments[index] = memory + <size_t>(index - 1) * SEGMENT_UNITS * UNIT
    arena.nbytes = <size_t>(arena.top - 1) * SEGMENT_UNITS * UNIT


cdef inline uint32_t segments_for(uint32_t units) noexcept nogil:
    """Return how many segments a large block takes."""
    return (units + SEGMENT_UNITS - 1) >> SEGMENT_BITS


cdef inline uint32_t new_segments(Arena *arena, uint32_t count) noexcept nogil:
    """Allocate `count` adjacent segments; return the number of the first, or 0 without memory."""
    cdef size_t size = <size_t>count * SEGMENT_UNITS * UNIT
    cdef uint32_t first = 0, run = 0, index
    cdef char *memory
    for index in range(1, limits.segments):
        run = run + 1 if arena.segments[index] == NULL else 0
        if run == count:
            first = index + 1 - count
            break
    if first == 0:
        return 0
    memory = <char *>allocate(size)
    if memory == NULL:
        return 0
    for index in range(count):
        store_pointer(arena.segments + first + index, memory + <size_t>index * SEGMENT_UNITS * UNIT)
    arena.owned[first] = 1
    arena.nbytes += size
    if first + count > arena.top:
        arena.top = first + count
    return first


cdef inline uint32_t next_free(const Arena *arena, uint32_t block) noexcept nogil:
    """Return the next block on the list of a free block."""
    return (<uint32_t *>at(arena, block))[0]


cdef inline void free_block(Arena *arena, uint32_t block, uint32_t units) noexcept nogil:
    """Put a block that no reader holds on its list, or free its own segments."""
    cdef uint32_t rounded, kind, index, first = block >> SEGMENT_BITS
    if units > SEGMENT_UNITS // 2:
        free_memory(arena, arena.segments[first])
        arena.owned[first] = 0
        for index in range(first, first + segments_for(units)):
            store_pointer(arena.segments + index, NULL)
            arena.nbytes -= <size_t>SEGMENT_UNITS * UNIT
        return
    kind = class_of(units, &rounded)
    (<uint32_t *>at(arena, block))[0] = arena.freed[kind]
    arena.freed[kind] = block


cdef inline void keep_rest(Arena *arena, uint32_t block, uint32_t units) noexcept nogil:
    """Put a rest of memory on the lists, split into blocks of size classes."""
    cdef uint32_t piece, rounded
    while units:
        piece = units
        class_of(piece, &rounded)
        while rounded > units:
            piece = piece * 3 // 4
            class_of(piece, &rounded)
        free_block(arena, block, rounded)
        block += rounded
        units -= rounded


cdef inline uint32_t units_of(uint32_t kind) noexcept nogil:
    """Return the units of the blocks of a size class: the inverse of `class_of`."""
    if kind <= EXACT:
        return kind
    kind -= EXACT + 1
    return (5 + kind % 4) << (kind // 4 + 4)


cdef inline uint32_t split_block(Arena *arena, uint32_t kind, uint32_t units) noexcept nogil:
    """Take `units` from a free block of a larger class; return 0 if there is none."""
    cdef uint32_t block, larger
    for larger in range(kind + 1, CLASSES):
        block = arena.freed[larger]
        if block:
            arena.freed[larger] = next_free(arena, block)
            keep_rest(arena, block + units, units_of(larger) - units)
            return block
    return 0


cdef inline uint32_t new_block(Arena *arena, size_t size) noexcept nogil:
    """Allocate a block of at least `size` bytes; return 0 without memory."""
    cdef size_t wanted = (size + UNIT - 1) // UNIT
    cdef uint32_t units, kind, block, count
    if wanted > SEGMENT_UNITS // 2:
        if wanted > <uint64_t>(limits.segments - 1) * SEGMENT_UNITS:
            return 0
        return new_segments(arena, segments_for(<uint32_t>wanted)) << SEGMENT_BITS
    kind = class_of(<uint32_t>wanted, &units)
    block = arena.freed[kind]
    if block:
        arena.freed[kind] = next_free(arena, block)
        return block
    if arena.end - arena.next < units:
        block = split_block(arena, kind, units)
        if block:
            return block
        count = GROUP if arena.top > GROUP else 1
        block = new_segments(arena, count) << SEGMENT_BITS
        if block == 0:
            return 0
        keep_rest(arena, arena.next, arena.end - arena.next)
        arena.next = block
        arena.end = block + count * SEGMENT_UNITS
    block = arena.next
    arena.next += units
    return block


cdef inline bint retire(Arena *arena, void *memory, uint32_t block, size_t size) noexcept nogil:
    """Free memory, or a block of `size` bytes, when no reader holds it; return False, and leak it, without memory."""
    cdef Epoch *epoch = &arena.epochs[arena.readers.current]
    cdef Retired *larger
    if epoch.count == epoch.room:
        larger = <Retired *>reallocate_array(epoch.retired, 2 * <uint64_t>epoch.room + 8, sizeof(Retired))
        if larger == NULL:
            return False
        epoch.retired = larger
        epoch.room = 2 * epoch.room + 8
    epoch.retired[epoch.count].memory = memory
    epoch.retired[epoch.count].block = block
    epoch.retired[epoch.count].units = <uint32_t>((size + UNIT - 1) // UNIT)
    epoch.count += 1
    return True


cdef inline void free_retired(Arena *arena, Epoch *epoch) noexcept nogil:
    """Free everything that was retired in an epoch."""
    cdef size_t index
    for index in range(epoch.count):
        if epoch.retired[index].memory != NULL:
            free_memory(arena, epoch.retired[index].memory)
        else:
            free_block(arena, epoch.retired[index].block, epoch.retired[index].units)
    epoch.count = 0


cdef inline void reclaim(Arena *arena) noexcept nogil:
    """Free what no reader holds any more, and begin a new epoch. The writer calls this after each change."""
    if epoch_ends(arena.readers):
        # The new epoch has the parity of the epoch before the last one; what was retired then can be freed now.
        free_retired(arena, &arena.epochs[arena.readers.current])


cdef inline void free_all_retired(Arena *arena) noexcept nogil:
    """Free everything that was retired. No reader may hold any of it."""
    cdef int epoch
    for epoch in range(2):
        free_retired(arena, &arena.epochs[epoch])


cdef inline void close_arena(Arena *arena) noexcept nogil:
    """Free everything. No reader may be inside."""
    cdef uint32_t index
    free_all_retired(arena)
    free(arena.epochs[0].retired)
    free(arena.epochs[1].retired)
    for index in range(arena.top):
        if arena.owned[index]:
            free(arena.segments[index])
    free(arena.segments)
    free(arena.owned)
