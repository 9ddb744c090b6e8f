"""Counters of active readers. They tell a writer when no reader holds a retired block any more.

Readers do not exclude writers, and neither waits for the other. Time is divided into epochs, which have a parity. A
reader increments the counter of the parity it reads, and then reads the parity again. If the parity is unchanged, the
writer that ends this epoch, or any later epoch, sees the reader's count. An epoch ends only when no reader of the epoch
before it is left, so everything that was retired in that earlier epoch can then be freed.

Each counter has its own cache line. A reader chooses its counter by the address of its stack, so that threads do not
wait for each other.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from native cimport UNLOCKED, add_and_fetch, load_count, load_ordered, store_ordered

cdef enum:
    # The number of counters is a power of two, and each has its own cache line. The stacks of two threads are more than
    # 2**STACK_BITS bytes apart.
    COUNTER_BITS = 4
    COUNTERS = 16
    CACHE_LINE = 64
    STACK_BITS = 18

# Multiplication by it spreads numbers over the upper bits: 2**64 divided by the golden ratio.
cdef enum: SPREAD = 0x9E3779B97F4A7C15

# The readers of both parities that share this counter; as long as a cache line.
cdef struct Counter:
    int64_t inside[2]
    int64_t apart[6]

cdef struct Readers:
    Counter *counters       # COUNTERS of them, at the start of a cache line
    void *memory
    uint32_t current        # parity of the epoch
    uint32_t ended          # how many epochs have ended; the writer counts them, and the number wraps


cdef inline bint open_readers(Readers *readers) noexcept nogil:
    """Make the counters, all zero; return False without memory."""
    readers.memory = calloc(COUNTERS + 1, sizeof(Counter))
    readers.counters = <Counter *>((<size_t>readers.memory + CACHE_LINE - 1) & ~<size_t>(CACHE_LINE - 1))
    readers.current = readers.ended = 0
    return readers.memory != NULL


cdef inline void close_readers(Readers *readers) noexcept nogil:
    """Free the counters. No reader may be inside."""
    free(readers.memory)


cdef inline void forget_readers(Readers *readers) noexcept nogil:
    """Set all counters to zero: the earlier readers no longer exist, and there are no new ones yet."""
    memset(readers.counters, 0, COUNTERS * sizeof(Counter))


cdef inline int64_t *enter(const Readers *readers) noexcept nogil:
    """Begin to read without waiting for other threads; return the argument for `leave`."""
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
    """Begin a read while holding the GIL. If there is a GIL, it excludes writers, and this function does nothing."""
    return enter(readers) if UNLOCKED else NULL


cdef inline void leave_unlocked(int64_t *inside) noexcept nogil:
    """End a read that `enter_unlocked` began."""
    if UNLOCKED:
        leave(inside)


cdef inline bint epoch_ends(Readers *readers) noexcept nogil:
    """End the epoch unless a reader of the epoch before is left; return whether it ended. The writer calls this."""
    cdef uint32_t before = 1 - readers.current
    cdef uint32_t counter
    for counter in range(COUNTERS):
        if load_count(&readers.counters[counter].inside[before]) != 0:
            return False
    store_ordered(&readers.current, before)
    readers.ended += 1
    return True
