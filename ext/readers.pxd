"""Who reads: counters by which a writer knows when nobody can hold any more what it took out of use.

Readers do not exclude writers, and neither waits for the other. Time is divided into epochs, of which two are told
apart by their parity. A reader counts itself in under the parity it sees, and looks again: when it is unchanged, the
writer that ends this epoch, or any later one, sees the reader counted. An epoch ends only when nobody is left of the
one before it, so what was taken out of use in the one before it can be freed then.

Counters lie a cache line each, chosen by the place of the reader's stack, so that threads do not wait for each other.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from native cimport UNLOCKED, add_and_fetch, load_count, load_ordered, store_ordered

cdef enum:
    # Counters, as a power of two, and what keeps them apart. Stacks of threads lie further apart than 2**STACK_BITS
    # bytes.
    COUNTER_BITS = 4
    COUNTERS = 16
    CACHE_LINE = 64
    STACK_BITS = 18

# Spreads numbers over the upper bits of a product: 2**64 divided by the golden ratio.
cdef enum: SPREAD = 0x9E3779B97F4A7C15

# The readers of both parities whose stacks lie alike; as long as a cache line.
cdef struct Counter:
    int64_t inside[2]
    int64_t apart[6]

cdef struct Readers:
    Counter *counters       # COUNTERS of them, at the start of a cache line
    void *memory
    uint32_t current        # parity of the epoch


cdef inline bint open_readers(Readers *readers) noexcept nogil:
    """Nobody reads yet; False without memory."""
    readers.memory = calloc(COUNTERS + 1, sizeof(Counter))
    readers.counters = <Counter *>((<size_t>readers.memory + CACHE_LINE - 1) & ~<size_t>(CACHE_LINE - 1))
    readers.current = 0
    return readers.memory != NULL


cdef inline void close_readers(Readers *readers) noexcept nogil:
    """Free the counters; nobody reads."""
    free(readers.memory)


cdef inline void forget_readers(Readers *readers) noexcept nogil:
    """Count from zero again: whoever was inside is gone, and nobody else is there yet."""
    memset(readers.counters, 0, COUNTERS * sizeof(Counter))


cdef inline int64_t *enter(const Readers *readers) noexcept nogil:
    """Begin to read, whatever others do; returns what `leave` needs."""
    cdef uint32_t parity = load_ordered(&readers.current)
    cdef Counter *counter = readers.counters + (
        (<uint64_t>(<size_t>&parity >> STACK_BITS) * <uint64_t>SPREAD) >> (64 - COUNTER_BITS))
    cdef int64_t *inside
    while True:
        inside = &counter.inside[parity]
        add_and_fetch(inside, 1)
        if load_ordered(&readers.current) == parity:
            return inside
        add_and_fetch(inside, -1)
        parity = load_ordered(&readers.current)


cdef inline void leave(int64_t *inside) noexcept nogil:
    """End reading."""
    add_and_fetch(inside, -1)


cdef inline int64_t *enter_unlocked(const Readers *readers) noexcept nogil:
    """Begin a question that is asked with the GIL: where there is one, it keeps writers out, and this does nothing."""
    return enter(readers) if UNLOCKED else NULL


cdef inline void leave_unlocked(int64_t *inside) noexcept nogil:
    """End what `enter_unlocked` began."""
    if UNLOCKED:
        leave(inside)


cdef inline bint epoch_ends(Readers *readers) noexcept nogil:
    """End the epoch unless somebody is left of the one before it; whether it ended. Called by the writer."""
    cdef uint32_t before = 1 - readers.current
    cdef uint32_t counter
    for counter in range(COUNTERS):
        if load_count(&readers.counters[counter].inside[before]) != 0:
            return False
    store_ordered(&readers.current, before)
    return True
