/* The ranks of many IPv4 addresses, or of one address, in one small sorted list: compares with every network, without
 * branches.
 *
 * The same function body is compiled for several instruction sets. The form that runs is chosen once, by the features
 * of the processor. The portable form is always compiled, and the other forms are tested against it.
 */
#ifndef CIDRGATE_RANKS_H
#define CIDRGATE_RANKS_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* The number of addresses in a group: twice as many as the widest vectors hold. */
enum { CIDRGATE_RANKS_GROUP = 32 };

#define CIDRGATE_ALWAYS_INLINE inline __attribute__((always_inline))

/* Counts how many of `count` networks are not above each address in `groups` groups. */
static CIDRGATE_ALWAYS_INLINE void cidrgate_ranks_body(const uint32_t *first, uint32_t count,
                                                       const uint32_t *addresses, uint32_t groups, int32_t *ranks) {
    for (uint32_t group = 0; group < groups; group++) {
        uint32_t sums[CIDRGATE_RANKS_GROUP] = {0};
        for (uint32_t index = 0; index < count; index++)
            for (int lane = 0; lane < CIDRGATE_RANKS_GROUP; lane++) sums[lane] += first[index] <= addresses[lane];
        memcpy(ranks, sums, sizeof sums);
        addresses += CIDRGATE_RANKS_GROUP;
        ranks += CIDRGATE_RANKS_GROUP;
    }
}

typedef void cidrgate_ranks_function(const uint32_t *first, uint32_t count, const uint32_t *addresses, uint32_t groups,
                                     int32_t *ranks);

typedef uint32_t cidrgate_rank4_function(const uint32_t *first, uint32_t count, uint32_t address);
typedef uint32_t cidrgate_rank6_function(const uint64_t *high, const uint64_t *low, uint32_t count, uint64_t hi,
                                         uint64_t lo);

typedef struct {
    const char *name;
    cidrgate_ranks_function *run;
    cidrgate_rank4_function *rank4;
    cidrgate_rank6_function *rank6;
} cidrgate_ranks_form;

#if defined(__x86_64__)
/* The least that the engine runs on (`engine.c`). */
#define CIDRGATE_LEAST __attribute__((target("sse4.2,popcnt")))
#else
#define CIDRGATE_LEAST
#endif

/* Counts how many of 1 to 64 networks are not above one address. */
static CIDRGATE_ALWAYS_INLINE uint32_t cidrgate_rank4_body(const uint32_t *first, uint32_t count, uint32_t address) {
    uint32_t rank = 0;
    for (uint32_t index = 0; index < count; index++) rank += first[index] <= address;
    return rank;
}

CIDRGATE_LEAST static uint32_t cidrgate_rank4_portable(const uint32_t *first, uint32_t count, uint32_t address) {
    return cidrgate_rank4_body(first, count, address);
}

/* Does the same for IPv6, by a binary search that adds instead of branching; `low` is NULL if all of it is 0. */
CIDRGATE_LEAST static uint32_t cidrgate_rank6_portable(const uint64_t *high, const uint64_t *low, uint32_t count,
                                                       uint64_t hi, uint64_t lo) {
    uint32_t rank = 0, half;
    for (; count; count -= half) {
        half = (count + 1) >> 1;
        const uint32_t at = rank + half - 1;
        rank += ((high[at] < hi) | ((high[at] == hi) & (low == NULL || low[at] <= lo))) ? half : 0;
    }
    return rank;
}

static void cidrgate_ranks_portable(const uint32_t *first, uint32_t count, const uint32_t *addresses, uint32_t groups,
                                    int32_t *ranks) {
    cidrgate_ranks_body(first, count, addresses, groups, ranks);
}

#if defined(__x86_64__)
#if defined(__clang__)
#define CIDRGATE_AVX512 "avx512f,avx512vl"
#else
#define CIDRGATE_AVX512 "avx512f,avx512vl,prefer-vector-width=512"
#endif

__attribute__((target("avx2"))) static void cidrgate_ranks_avx2(const uint32_t *first, uint32_t count,
                                                                const uint32_t *addresses, uint32_t groups,
                                                                int32_t *ranks) {
    cidrgate_ranks_body(first, count, addresses, groups, ranks);
}

__attribute__((target(CIDRGATE_AVX512))) static void cidrgate_ranks_avx512(const uint32_t *first, uint32_t count,
                                                                           const uint32_t *addresses, uint32_t groups,
                                                                           int32_t *ranks) {
    cidrgate_ranks_body(first, count, addresses, groups, ranks);
}

__attribute__((target("avx2"))) static uint32_t cidrgate_rank4_avx2(const uint32_t *first, uint32_t count,
                                                                    uint32_t address) {
    return cidrgate_rank4_body(first, count, address);
}

/* The bits of sixteen networks of a list. Lanes beyond the list are masked, and masked lanes are not read. */
#define CIDRGATE_NOT_ABOVE(at)                                                                                  \
    ((uint64_t)_mm512_mask_cmple_epu32_mask((__mmask16)(lanes >> (at)),                                         \
                                            _mm512_maskz_loadu_epi32((__mmask16)(lanes >> (at)), first + (at)), \
                                            wanted)                                                             \
     << (at))

__attribute__((target("avx512f,avx512vl,popcnt"))) static uint32_t cidrgate_rank4_avx512(const uint32_t *first,
                                                                                         uint32_t count,
                                                                                         uint32_t address) {
    const __m512i wanted = _mm512_set1_epi32((int)address);
    const uint64_t lanes = ~(uint64_t)0 >> (64 - count);
    const uint64_t half = CIDRGATE_NOT_ABOVE(0) | CIDRGATE_NOT_ABOVE(16);
    if (count <= 32) return (uint32_t)__builtin_popcountll(half);
    return (uint32_t)__builtin_popcountll(half | CIDRGATE_NOT_ABOVE(32) | CIDRGATE_NOT_ABOVE(48));
}

__attribute__((target("avx512f,avx512vl,popcnt"))) static uint32_t cidrgate_rank6_avx512(
    const uint64_t *high, const uint64_t *low, uint32_t count, uint64_t hi, uint64_t lo) {
    const __m512i wanted = _mm512_set1_epi64((int64_t)hi), rest = _mm512_set1_epi64((int64_t)lo);
    uint32_t rank = 0;
    for (uint64_t lanes = ~(uint64_t)0 >> (64 - count); lanes; lanes >>= 8, high += 8) {
        const __mmask8 mask = (__mmask8)lanes;
        const __m512i networks = _mm512_maskz_loadu_epi64(mask, high);
        __mmask8 below = _mm512_mask_cmple_epu64_mask(mask, networks, wanted);
        if (low != NULL) {
            const __mmask8 above = _mm512_mask_cmpgt_epu64_mask(
                _mm512_mask_cmpeq_epi64_mask(mask, networks, wanted), _mm512_maskz_loadu_epi64(mask, low), rest);
            below = (__mmask8)(below & ~above);
            low += 8;
        }
        rank += (uint32_t)__builtin_popcount(below);
    }
    return rank;
}
#endif

/* The compiled forms, the fastest first; NULL after the last. */
static const cidrgate_ranks_form cidrgate_ranks_forms[] = {
#if defined(__x86_64__)
    {"avx512", cidrgate_ranks_avx512, cidrgate_rank4_avx512, cidrgate_rank6_avx512},
    {"avx2", cidrgate_ranks_avx2, cidrgate_rank4_avx2, cidrgate_rank6_portable},
#endif
    {"portable", cidrgate_ranks_portable, cidrgate_rank4_portable, cidrgate_rank6_portable},
    {NULL, NULL, NULL, NULL},
};

static inline int cidrgate_can_run(const char *form) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(form, "avx512") == 0) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
    if (strcmp(form, "avx2") == 0) return __builtin_cpu_supports("avx2");
#endif
    return strcmp(form, "portable") == 0;
}

static cidrgate_ranks_function *cidrgate_ranks = cidrgate_ranks_portable;
static cidrgate_rank4_function *cidrgate_rank4 = cidrgate_rank4_portable;
static cidrgate_rank6_function *cidrgate_rank6 = cidrgate_rank6_portable;

/* Selects a form by its name, or the fastest if `name` is NULL; returns 0 if this processor cannot run the form. */
static inline int cidrgate_choose_ranks(const char *name) {
    for (int form = 0; cidrgate_ranks_forms[form].name != NULL; form++)
        if ((name == NULL || strcmp(name, cidrgate_ranks_forms[form].name) == 0) &&
            cidrgate_can_run(cidrgate_ranks_forms[form].name)) {
            cidrgate_ranks = cidrgate_ranks_forms[form].run;
            cidrgate_rank4 = cidrgate_ranks_forms[form].rank4;
            cidrgate_rank6 = cidrgate_ranks_forms[form].rank6;
            return 1;
        }
    return 0;
}
#endif
