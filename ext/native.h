/* What Cython cannot say: bit counts, prefetch, atomics and a 64x64->128-bit multiply, for GCC and Clang. */
#ifndef CIDRGATE_NATIVE_H
#define CIDRGATE_NATIVE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#if !defined(__GNUC__)
#error "cidrgate is built by GCC or Clang, for POSIX systems"
#endif

/* Wait for other threads a little. */
static inline void cidrgate_nap(void) {
    const struct timespec moment = {0, 20000};
    nanosleep(&moment, NULL);
}

/* Whether Python code can read while other code writes, without a GIL between them: then every question says when it
 * begins and ends, as only those without the GIL do elsewhere. */
#if !defined(CIDRGATE_UNLOCKED)
#if defined(Py_GIL_DISABLED)
#define CIDRGATE_UNLOCKED 1
#else
#define CIDRGATE_UNLOCKED 0
#endif
#endif

static inline int cidrgate_popcount(uint64_t bits) { return __builtin_popcountll(bits); }
static inline void cidrgate_prefetch(const void *where) { __builtin_prefetch(where); }
static inline uint32_t cidrgate_load(const uint32_t *where) { return __atomic_load_n(where, __ATOMIC_ACQUIRE); }
static inline void cidrgate_store(uint32_t *where, uint32_t value) {
    __atomic_store_n(where, value, __ATOMIC_RELEASE);
}
/* The accesses up to cidrgate_add() happen in one order, the same for every thread. */
static inline uint32_t cidrgate_load_ordered(const uint32_t *where) { return __atomic_load_n(where, __ATOMIC_SEQ_CST); }
static inline int64_t cidrgate_load_count(const int64_t *where) { return __atomic_load_n(where, __ATOMIC_SEQ_CST); }
static inline void cidrgate_store_ordered(uint32_t *where, uint32_t value) {
    __atomic_store_n(where, value, __ATOMIC_SEQ_CST);
}
static inline int64_t cidrgate_add(int64_t *where, int64_t amount) {
    return __atomic_add_fetch(where, amount, __ATOMIC_SEQ_CST);
}
static inline void *cidrgate_load_pointer(void *const *where) {
    return __atomic_load_n(where, __ATOMIC_ACQUIRE);
}
static inline void cidrgate_store_pointer(void **where, void *value) {
    __atomic_store_n(where, value, __ATOMIC_RELEASE);
}

/* The 128-bit product of two numbers, its halves folded into one, by products of 32 bits: for compilers and targets
 * without a wider one. Always built: the others are tested against it. */
static inline uint64_t cidrgate_fold_portable(uint64_t a, uint64_t b) {
    const uint64_t a_low = (uint32_t)a, a_high = a >> 32, b_low = (uint32_t)b, b_high = b >> 32;
    const uint64_t low = a_low * b_low, left = a_high * b_low, right = a_low * b_high;
    const uint64_t middle = (low >> 32) + (uint32_t)left + (uint32_t)right;
    return (middle << 32 | (uint32_t)low) ^ (a_high * b_high + (left >> 32) + (right >> 32) + (middle >> 32));
}

#if defined(__SIZEOF_INT128__)
static inline uint64_t cidrgate_fold(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
#else
static inline uint64_t cidrgate_fold(uint64_t a, uint64_t b) { return cidrgate_fold_portable(a, b); }
#endif

/* Memory for free(). Large pieces are asked to lie on huge pages, where the system has them: met at random, most of
 * what a lookup waits for in a large table is the translation of its address. */
static inline void *cidrgate_allocate(size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    enum { HUGE_PAGE = 1 << 21 };
    void *memory;
    if (size >= HUGE_PAGE) {
        if (posix_memalign(&memory, HUGE_PAGE, size) != 0) return NULL;
        madvise(memory, size, MADV_HUGEPAGE);
        return memory;
    }
#endif
    return malloc(size);
}

static inline uint64_t cidrgate_read64(const uint8_t *where) {
    uint64_t value;
    memcpy(&value, where, sizeof value);
    return value;
}

static inline uint64_t cidrgate_read32(const uint8_t *where) {
    uint32_t value;
    memcpy(&value, where, sizeof value);
    return value;
}

/* Numbers that need not be aligned. */
static inline int32_t cidrgate_int32(const uint8_t *where) {
    int32_t value;
    memcpy(&value, where, sizeof value);
    return value;
}

static inline int64_t cidrgate_int64(const uint8_t *where) {
    int64_t value;
    memcpy(&value, where, sizeof value);
    return value;
}

/* Memory for `count` elements and one more, or NULL, also where a size_t cannot count its bytes. */
static inline void *cidrgate_allocate_array(size_t count, size_t size) {
    return count >= SIZE_MAX / size ? NULL : malloc((count + 1) * size);
}

/* realloc() for `count` elements; NULL, and the old ones stay, also where a size_t cannot count their bytes. */
static inline void *cidrgate_reallocate_array(void *array, uint64_t count, size_t size) {
    return count > SIZE_MAX / size ? NULL : realloc(array, (size_t)count * size);
}

/* Whether two texts of one length are equal; names are short, so a call of memcmp() would be most of the time. */
static inline int cidrgate_same(const uint8_t *one, const uint8_t *other, size_t length) {
    size_t at = 0;
    if (length >= 8) {
        for (; at + 8 < length; at += 8)
            if (cidrgate_read64(one + at) != cidrgate_read64(other + at)) return 0;
        return cidrgate_read64(one + length - 8) == cidrgate_read64(other + length - 8);
    }
    if (length >= 4)
        return cidrgate_read32(one) == cidrgate_read32(other) &&
               cidrgate_read32(one + length - 4) == cidrgate_read32(other + length - 4);
    for (; at < length; at++)
        if (one[at] != other[at]) return 0;
    return 1;
}

/* A keyed hash of an account's name: folded 64x64->128-bit multiplications over 16 bytes at a time (the
 * construction of wyhash). The seed is random for each matcher, so that names cannot be chosen to collide. */
static inline uint32_t cidrgate_hash(const uint8_t *text, size_t length, uint64_t seed) {
    const uint64_t odd_a = 0x9E3779B97F4A7C15u, odd_b = 0xD1B54A32D192ED03u;
    uint64_t state = seed ^ odd_a, a, b;
    size_t left = length;
    while (left > 16) {
        state = cidrgate_fold(cidrgate_read64(text) ^ odd_b, cidrgate_read64(text + 8) ^ state);
        text += 16;
        left -= 16;
    }
    if (left >= 8) {
        a = cidrgate_read64(text);
        b = cidrgate_read64(text + left - 8);
    } else if (left >= 4) {
        a = cidrgate_read32(text);
        b = cidrgate_read32(text + left - 4);
    } else if (left > 0) {
        a = ((uint64_t)text[0] << 16) | ((uint64_t)text[left >> 1] << 8) | text[left - 1];
        b = 0;
    } else {
        a = b = 0;
    }
    state = cidrgate_fold(a ^ odd_b, b ^ state);
    return (uint32_t)(cidrgate_fold(state ^ odd_a, (uint64_t)length ^ odd_b) >> 32);
}

/* A checksum of memory, to be continued by passing the last one as the seed: four folded lanes, so that it costs little
 * more than reading the memory. It tells damage, not forgery. */
static inline uint64_t cidrgate_checksum(const uint8_t *memory, size_t size, uint64_t seed) {
    const uint64_t odd = 0xD1B54A32D192ED03u;
    uint64_t lanes[4] = {seed, seed + odd, seed + 2 * odd, seed + 3 * odd};
    uint8_t rest[64] = {0};
    size_t at = 0;
    for (; at + 64 <= size; at += 64)
        for (int lane = 0; lane < 4; lane++)
            lanes[lane] = cidrgate_fold(cidrgate_read64(memory + at + 16 * lane) ^ odd ^ lanes[lane],
                                        cidrgate_read64(memory + at + 16 * lane + 8) + odd);
    memcpy(rest, memory + at, size - at);
    for (int lane = 0; lane < 4; lane++)
        lanes[lane] = cidrgate_fold(cidrgate_read64(rest + 16 * lane) ^ odd ^ lanes[lane],
                                    cidrgate_read64(rest + 16 * lane + 8) + odd);
    return cidrgate_fold(lanes[0] ^ lanes[1] ^ odd, lanes[2] ^ lanes[3] ^ (uint64_t)size) ^ lanes[0] ^ lanes[2];
}

#endif
