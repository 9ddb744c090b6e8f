/* Notes of checks, for the record of traffic: rings between the threads that check and the one thread that collects.
 *
 *     note (24 bytes)    hi, lo     the address
 *                        row        the row number of the account that acted
 *                        stamp      bit 0: allowed; bit 1: IPv6; above: the low bits of its position plus one
 *
 * A ring has two positions that only grow: `head` is the next to be written, and `tail` the next to be read. A note at a
 * position is complete when its stamp has this position. A thread that checks never waits: if a ring is full, its note
 * is lost, and counted.
 *
 * With a GIL, every check holds it, so one ring has one writer at a time, and nothing is locked. Without a GIL there are
 * several rings. A thread chooses one by the address of its stack, as in `readers.pxd`, and claims a position by one
 * atomic exchange, so that no ring belongs to a thread or outlives it.
 */
#ifndef CIDRGATE_TRAFFIC_H
#define CIDRGATE_TRAFFIC_H

#include "native.h"

enum {
    CIDRGATE_RING_BITS = CIDRGATE_UNLOCKED ? 4 : 0,
    CIDRGATE_RINGS = 1 << CIDRGATE_RING_BITS,
    CIDRGATE_NOTE_ALLOWED = 1,
    CIDRGATE_NOTE_IPV6 = 2,
    CIDRGATE_NOTE_FLAGS = 3,
};

typedef struct {
    uint64_t hi;
    uint64_t lo;
    int32_t row;
    uint32_t stamp;
} cidrgate_note;

/* What different threads write lies on different lines of the cache. */
typedef struct {
    uint64_t head;      /* written by threads that check */
    uint64_t lost;
    uint64_t apart[6];
    uint64_t tail;      /* written by the thread that collects, as is what follows */
    uint64_t from;      /* notes at earlier positions are dropped */
    uint64_t apart_too[6];
} cidrgate_ring;

typedef struct {
    uint32_t capacity;  /* of each ring, a power of two */
    uint32_t lists;     /* counts how often all lists were replaced, after which row numbers are others */
    cidrgate_ring *rings;
    cidrgate_note *notes;
    void *memory;
} cidrgate_traffic;

static inline uint32_t cidrgate_stamp(uint64_t position) { return (uint32_t)(position + 1) << 2; }

static inline cidrgate_note *cidrgate_note_at(const cidrgate_traffic *traffic, int ring, uint64_t position) {
    return traffic->notes + ((size_t)ring * traffic->capacity + (size_t)(position & (traffic->capacity - 1)));
}

/* Makes empty rings; returns NULL without memory. */
static inline cidrgate_traffic *cidrgate_open_traffic(uint32_t capacity) {
    const size_t line = 64;
    const size_t others = CIDRGATE_RINGS * sizeof(cidrgate_ring) + line;
    const size_t notes = (size_t)CIDRGATE_RINGS * capacity * sizeof(cidrgate_note);
    cidrgate_traffic *traffic;
    if (capacity > (SIZE_MAX - others) / (CIDRGATE_RINGS * sizeof(cidrgate_note))) return NULL;
    traffic = (cidrgate_traffic *)calloc(1, sizeof(cidrgate_traffic));
    if (traffic == NULL) return NULL;
    /* Pages that no note was written to take no memory. */
    traffic->memory = calloc(1, others + notes);
    if (traffic->memory == NULL) {
        free(traffic);
        return NULL;
    }
    traffic->rings = (cidrgate_ring *)(((size_t)traffic->memory + line - 1) & ~(line - 1));
    traffic->notes = (cidrgate_note *)(traffic->rings + CIDRGATE_RINGS);
    traffic->capacity = capacity;
    return traffic;
}

static inline void cidrgate_close_traffic(cidrgate_traffic *traffic) {
    if (traffic != NULL) free(traffic->memory);
    free(traffic);
}

/* Empties all rings in a forked child: the notes are the parent's, and its other threads write no more. */
static inline void cidrgate_forget_notes(cidrgate_traffic *traffic) {
    if (traffic == NULL) return;
    for (int ring = 0; ring < CIDRGATE_RINGS; ring++) {
        cidrgate_ring *one = traffic->rings + ring;
        /* Only as much as was written, so that the other pages stay shared with the parent. */
        const uint64_t written = one->head < traffic->capacity ? one->head : traffic->capacity;
        memset(cidrgate_note_at(traffic, ring, 0), 0, (size_t)written * sizeof(cidrgate_note));
        memset(one, 0, sizeof *one);
    }
}

/* Notes a check without waiting. With a GIL the caller holds it. */
static inline void cidrgate_note_check(cidrgate_traffic *traffic, uint64_t hi, uint64_t lo, int32_t row,
                                       uint32_t flags) {
    int ring = 0;
    uint64_t position;
    cidrgate_ring *one;
    cidrgate_note *note;
#if CIDRGATE_UNLOCKED
    ring = (int)((((uint64_t)((size_t)&position >> 18)) * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - CIDRGATE_RING_BITS));
#endif
    one = traffic->rings + ring;
    position = __atomic_load_n(&one->head, __ATOMIC_RELAXED);
    do {
        if (position - __atomic_load_n(&one->tail, __ATOMIC_ACQUIRE) >= traffic->capacity) {
            __atomic_fetch_add(&one->lost, 1, __ATOMIC_RELAXED);
            return;
        }
#if CIDRGATE_UNLOCKED
    } while (!__atomic_compare_exchange_n(&one->head, &position, position + 1, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
#else
        one->head = position + 1;
    } while (0);
#endif
    note = cidrgate_note_at(traffic, ring, position);
    note->hi = hi;
    note->lo = lo;
    note->row = row;
    __atomic_store_n(&note->stamp, cidrgate_stamp(position) | flags, __ATOMIC_RELEASE);
}

/* Returns at most how many notes can be collected now. */
static inline size_t cidrgate_count_notes(const cidrgate_traffic *traffic) {
    size_t count = 0;
    for (int ring = 0; ring < CIDRGATE_RINGS; ring++)
        count += (size_t)(__atomic_load_n(&traffic->rings[ring].head, __ATOMIC_RELAXED) - traffic->rings[ring].tail);
    return count;
}

/* Moves complete notes from the rings to an array with room for so many, with flags only as stamps; returns how many.
 * Adds what was lost since the last call. One thread at a time calls this. */
static inline size_t cidrgate_collect_notes(cidrgate_traffic *traffic, cidrgate_note *notes, size_t room,
                                            uint64_t *lost) {
    size_t count = 0;
    for (int ring = 0; ring < CIDRGATE_RINGS; ring++) {
        cidrgate_ring *one = traffic->rings + ring;
        uint64_t position = one->tail;
        *lost += __atomic_exchange_n(&one->lost, 0, __ATOMIC_RELAXED);
        while (count < room) {
            const cidrgate_note *note = cidrgate_note_at(traffic, ring, position);
            const uint32_t stamp = __atomic_load_n(&note->stamp, __ATOMIC_ACQUIRE);
            if ((stamp & ~(uint32_t)CIDRGATE_NOTE_FLAGS) != cidrgate_stamp(position)) break;
            if (position < one->from) {
                *lost += 1;
            } else {
                notes[count] = *note;
                notes[count++].stamp = stamp & CIDRGATE_NOTE_FLAGS;
            }
            position++;
        }
        __atomic_store_n(&one->tail, position, __ATOMIC_RELEASE);
    }
    return count;
}

/* Drops all notes that are in the rings now: their row numbers are no longer valid. They count as lost. */
static inline void cidrgate_drop_notes(cidrgate_traffic *traffic) {
    if (traffic == NULL) return;
    for (int ring = 0; ring < CIDRGATE_RINGS; ring++)
        traffic->rings[ring].from = __atomic_load_n(&traffic->rings[ring].head, __ATOMIC_SEQ_CST);
}

/* Says that the row numbers of later checks are others. */
static inline void cidrgate_count_lists(cidrgate_traffic *traffic) {
    if (traffic != NULL) __atomic_add_fetch(&traffic->lists, 1, __ATOMIC_SEQ_CST);
}

static inline uint32_t cidrgate_lists_counted(const cidrgate_traffic *traffic) {
    return __atomic_load_n(&traffic->lists, __ATOMIC_SEQ_CST);
}

#endif
