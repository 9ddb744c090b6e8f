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
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if !defined(__GNUC__)
#error "cidrgate is built by GCC or Clang, for POSIX systems"
#endif

/* Waits a short time for other threads. */
static inline void cidrgate_backoff(void) {
    const struct timespec moment = {0, 20000};
    nanosleep(&moment, NULL);
}

/* Whether Python threads can read and write at the same time, because there is no GIL. Then every read must be counted
 * from its begin to its end; with a GIL, only reads without the GIL are counted. */
#if !defined(CIDRGATE_UNLOCKED)
#if defined(Py_GIL_DISABLED)
#define CIDRGATE_UNLOCKED 1
#else
#define CIDRGATE_UNLOCKED 0
#endif
#endif

/* Return `one` if `value` is `wanted`, otherwise `other`, without a branch: nobody can predict which it is. */
static inline int32_t cidrgate_select(int32_t value, int32_t wanted, int32_t one, int32_t other) {
#if defined(__x86_64__)
    /* Compilers make a branch of it, whatever form it has in C that takes one comparison. */
    __asm__("cmpl %2, %1\n\tcmovel %3, %0" : "+r"(other) : "r"(value), "ri"(wanted), "r"(one) : "cc");
    return other;
#else
    return other ^ ((one ^ other) & -(int32_t)(value == wanted));
#endif
}

static inline int cidrgate_popcount(uint64_t bits) { return __builtin_popcountll(bits); }
static inline int cidrgate_trailing_zeros(uint64_t bits) { return __builtin_ctzll(bits); } /* of bits that are not 0 */
static inline int cidrgate_leading_zeros(uint64_t bits) { return bits == 0 ? 64 : __builtin_clzll(bits); }
static inline void cidrgate_prefetch(const void *where) { __builtin_prefetch(where); }
static inline uint32_t cidrgate_load(const uint32_t *where) { return __atomic_load_n(where, __ATOMIC_ACQUIRE); }
static inline void cidrgate_store(uint32_t *where, uint32_t value) {
    __atomic_store_n(where, value, __ATOMIC_RELEASE);
}
/* These accesses are in no order with others. */
static inline uint32_t cidrgate_load_relaxed(const uint32_t *where) { return __atomic_load_n(where, __ATOMIC_RELAXED); }
static inline void cidrgate_store_relaxed(uint32_t *where, uint32_t value) {
    __atomic_store_n(where, value, __ATOMIC_RELAXED);
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

/* The 128-bit product of two numbers with its halves combined by XOR, computed from 32-bit products: for compilers and
 * targets without a wider multiplication. Always compiled: the other forms are tested against it. */
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

/* Allocates memory for free(). It requests huge pages for large blocks, if the system has them: in a large table, a
 * lookup at a random place waits mostly for the translation of its address. */
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

/* Read numbers that need not be aligned. */
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

/* Read numbers with the lowest byte first, whatever the order of the processor; they need not be aligned. */
static inline uint32_t cidrgate_little32(const uint8_t *where) {
    return (uint32_t)where[0] | (uint32_t)where[1] << 8 | (uint32_t)where[2] << 16 | (uint32_t)where[3] << 24;
}

static inline uint64_t cidrgate_little64(const uint8_t *where) {
    return (uint64_t)cidrgate_little32(where) | (uint64_t)cidrgate_little32(where + 4) << 32;
}

/* Read numbers in network order, which need not be aligned. */
static inline uint64_t cidrgate_network64(const uint8_t *where) {
    uint64_t value = cidrgate_read64(where);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline uint32_t cidrgate_network32(const uint8_t *where) {
    uint32_t value;
    memcpy(&value, where, sizeof value);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

/* Sets the bit of each of 64 numbers that differs from the number before it, which is before the first one too. */
static inline uint64_t cidrgate_changes(const int32_t *numbers) {
    uint64_t bits = 0;
#if defined(__SSE2__)
    for (int at = 0; at < 64; at += 4) {
        const __m128i these = _mm_loadu_si128((const __m128i *)(numbers + at));
        const __m128i before = _mm_loadu_si128((const __m128i *)(numbers + at - 1));
        bits |= (uint64_t)_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(these, before))) << at;
    }
    return ~bits;
#else
    for (int at = 0; at < 64; at++) bits |= (uint64_t)(numbers[at] != numbers[at - 1]) << at;
    return bits;
#endif
}

/* Allocates memory for `count + 1` elements, as cidrgate_allocate does; returns NULL without memory, or if its size does not fit in a size_t. */
static inline void *cidrgate_allocate_array(size_t count, size_t size) {
    return count >= SIZE_MAX / size ? NULL : cidrgate_allocate((count + 1) * size);
}

/* Reallocates memory for `count` elements; on failure, or if its size does not fit in a size_t, returns NULL and leaves
 * the old memory unchanged. */
static inline void *cidrgate_reallocate_array(void *array, uint64_t count, size_t size) {
    return count > SIZE_MAX / size ? NULL : realloc(array, (size_t)count * size);
}

/* Whether two texts of the same length are equal. Names are short, so calling memcmp() would take most of the time. */
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

/* A keyed hash of an account's name: folded 64x64->128-bit multiplications over 16 bytes at a time, as in wyhash. Each
 * matcher has a random seed, so that no one can choose names that collide. */
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

/* A checksum of memory; pass the last checksum as the seed to continue it. Four folded lanes make it nearly as fast as
 * reading the memory. It detects damage but no forgery. */
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
