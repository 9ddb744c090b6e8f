/* The ranks of many IPv4 addresses, or of one address, in one small sorted list: compares with every network, without
 * branches. And the check of such a list in a file.
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

typedef int cidrgate_check4_function(const uint32_t *first, const uint8_t *length, uint32_t count);

typedef struct {
    const char *name;
    cidrgate_ranks_function *run;
    cidrgate_rank4_function *rank4;
    cidrgate_rank6_function *rank6;
    cidrgate_check4_function *check4;
} cidrgate_ranks_form;

/* What a check of IPv4 prefixes found: one is impossible, has host bits, or is not after the one before it; one is
 * inside the one before it. */
enum { CIDRGATE_WRONG = 1, CIDRGATE_NESTED = 2 };

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

/* Checks IPv4 prefixes that should be in order, without branches: lists are short, and all except forged ones pass. The
 * eight bytes before the end of the lengths must be readable. */
static int cidrgate_check4_portable(const uint32_t *first, const uint8_t *length, uint32_t count) {
    uint32_t wrong = 0, nested = 0, before = 0, mask = 0;
    int shorter = -1;
    for (uint32_t at = 0; at < count; at++) {
        const uint32_t hosts = length[at] < 32 ? ~(uint32_t)0 >> (length[at] & 31) : 0;
        wrong |= (length[at] > 32) | ((first[at] & hosts) != 0);
        wrong |= (first[at] < before) | ((first[at] == before) & (length[at] <= shorter));
        nested |= (shorter >= 0) & (((first[at] ^ before) & mask) == 0);
        before = first[at];
        shorter = length[at];
        mask = ~hosts;
    }
    return (wrong ? CIDRGATE_WRONG : 0) | (nested ? CIDRGATE_NESTED : 0);
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

/* Eight prefixes at a time, each beside the one before it. Lanes beyond the list are masked, and masked lanes are not
 * read; their lengths are 0. */
__attribute__((target("avx2"))) static int cidrgate_check4_avx2(const uint32_t *first, const uint8_t *length,
                                                                uint32_t count) {
    static const int32_t window[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    const __m256i all = _mm256_set1_epi32(-1);
    __m256i wrong = _mm256_setzero_si256(), nested = wrong, first_lane = _mm256_setr_epi32(0, -1, -1, -1, -1, -1, -1, -1);
    uint64_t last = 0, word;
    for (uint32_t at = 0; at < count; at += 8) {
        const uint32_t rest = count - at < 8 ? count - at : 8;
        const __m256i lanes = _mm256_loadu_si256((const __m256i *)(window + 8 - rest));
        const __m256i later = _mm256_and_si256(lanes, first_lane);
        const __m256i networks = _mm256_maskload_epi32((const int *)first + at, lanes);
        const __m256i before = _mm256_maskload_epi32((const int *)first + at - 1, later);
        memcpy(&word, length + at + rest - 8, sizeof word);
        word >>= 8 * (8 - rest);
        const __m256i lengths = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)word));
        const __m256i shorter = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)(word << 8 | last)));
        const __m256i equal = _mm256_cmpeq_epi32(networks, before);
        const __m256i after = _mm256_cmpeq_epi32(_mm256_max_epu32(networks, before), networks);
        const __m256i mask = _mm256_xor_si256(_mm256_srlv_epi32(all, shorter), all);
        const __m256i unequal = _mm256_and_si256(_mm256_xor_si256(networks, before), mask);
        wrong = _mm256_or_si256(wrong, _mm256_cmpgt_epi32(lengths, _mm256_set1_epi32(32)));
        wrong = _mm256_or_si256(wrong, _mm256_and_si256(networks, _mm256_srlv_epi32(all, lengths)));
        wrong = _mm256_or_si256(wrong, _mm256_andnot_si256(after, later));
        wrong = _mm256_or_si256(
            wrong, _mm256_and_si256(later, _mm256_andnot_si256(_mm256_cmpgt_epi32(lengths, shorter), equal)));
        nested = _mm256_or_si256(
            nested, _mm256_and_si256(later, _mm256_cmpeq_epi32(unequal, _mm256_setzero_si256())));
        first_lane = all;
        last = word >> 56;
    }
    return (_mm256_testz_si256(wrong, wrong) ? 0 : CIDRGATE_WRONG) |
           (_mm256_testz_si256(nested, nested) ? 0 : CIDRGATE_NESTED);
}

/* Sixteen prefixes at a time, each beside the one before it. Masked lanes are not read. */
__attribute__((target("avx512f,avx512vl,avx512bw"))) static int cidrgate_check4_avx512(const uint32_t *first,
                                                                                       const uint8_t *length,
                                                                                       uint32_t count) {
    const __m512i all = _mm512_set1_epi32(-1);
    uint32_t wrong = 0, nested = 0;
    for (uint32_t at = 0; at < count; at += 16) {
        const __mmask16 lanes = (__mmask16)(count - at < 16 ? (1u << (count - at)) - 1 : 0xFFFF);
        const __mmask16 later = (__mmask16)(at == 0 ? lanes & ~1u : lanes);
        const __m512i networks = _mm512_maskz_loadu_epi32(lanes, first + at);
        const __m512i lengths = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, length + at));
        const __m512i before = _mm512_maskz_loadu_epi32(later, first + at - 1);
        const __m512i shorter = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(later, length + at - 1));
        const __mmask16 equal = _mm512_mask_cmpeq_epi32_mask(later, networks, before);
        wrong |= _mm512_mask_cmpgt_epu32_mask(lanes, lengths, _mm512_set1_epi32(32));
        wrong |= _mm512_mask_test_epi32_mask(lanes, networks, _mm512_srlv_epi32(all, lengths));
        wrong |= _mm512_mask_cmplt_epu32_mask(later, networks, before);
        wrong |= _mm512_mask_cmple_epu32_mask(equal, lengths, shorter);
        nested |= _mm512_mask_testn_epi32_mask(
            later, _mm512_xor_si512(networks, before),
            _mm512_xor_si512(_mm512_srlv_epi32(all, shorter), all));
    }
    return (wrong ? CIDRGATE_WRONG : 0) | (nested ? CIDRGATE_NESTED : 0);
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
    {"avx512", cidrgate_ranks_avx512, cidrgate_rank4_avx512, cidrgate_rank6_avx512, cidrgate_check4_avx512},
    {"avx2", cidrgate_ranks_avx2, cidrgate_rank4_avx2, cidrgate_rank6_portable, cidrgate_check4_avx2},
#endif
    {"portable", cidrgate_ranks_portable, cidrgate_rank4_portable, cidrgate_rank6_portable,
     cidrgate_check4_portable},
    {NULL, NULL, NULL, NULL, NULL},
};

static inline int cidrgate_can_run(const char *form) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(form, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw");
    if (strcmp(form, "avx2") == 0) return __builtin_cpu_supports("avx2");
#endif
    return strcmp(form, "portable") == 0;
}

static cidrgate_ranks_function *cidrgate_ranks = cidrgate_ranks_portable;
static cidrgate_rank4_function *cidrgate_rank4 = cidrgate_rank4_portable;
static cidrgate_rank6_function *cidrgate_rank6 = cidrgate_rank6_portable;
static cidrgate_check4_function *cidrgate_check4 = cidrgate_check4_portable;

/* Selects a form by its name, or the fastest if `name` is NULL; returns 0 if this processor cannot run the form. */
static inline int cidrgate_choose_ranks(const char *name) {
    for (int form = 0; cidrgate_ranks_forms[form].name != NULL; form++)
        if ((name == NULL || strcmp(name, cidrgate_ranks_forms[form].name) == 0) &&
            cidrgate_can_run(cidrgate_ranks_forms[form].name)) {
            cidrgate_ranks = cidrgate_ranks_forms[form].run;
            cidrgate_rank4 = cidrgate_ranks_forms[form].rank4;
            cidrgate_rank6 = cidrgate_ranks_forms[form].rank6;
            cidrgate_check4 = cidrgate_ranks_forms[form].check4;
            return 1;
        }
    return 0;
}
#endif
