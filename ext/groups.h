/* Parses IPv6 text without an embedded dotted quad, with vector instructions if the target has them.
 *
 * It converts all characters to nibbles at once, and the colons to a bit mask. Each group then needs one load and a few
 * shifts, whatever its length. The byte-by-byte parser handles text that this form does not accept.
 */
#ifndef CIDRGATE_GROUPS_H
#define CIDRGATE_GROUPS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE4_1__) || defined(CIDRGATE_X86_64_V2)
#include <smmintrin.h>

enum { CIDRGATE_LONGEST_GROUPS = 39, CIDRGATE_GROUP_VECTORS = 3, CIDRGATE_BEFORE = 16 };

/* Returns the 16 bits of the group of `length` nibbles that ends before `end`; the bytes before it must be readable. */
static inline uint64_t cidrgate_group(const uint8_t *end, uint32_t length) {
    uint32_t nibbles;
    memcpy(&nibbles, end - 4, 4);
    nibbles = __builtin_bswap32(nibbles) & (0xFFFFFFFFu >> (32 - 8 * length));
    nibbles = (nibbles | nibbles >> 4) & 0x00FF00FF;
    return (nibbles | nibbles >> 8) & 0xFFFF;
}

static inline int cidrgate_groups(const uint8_t *text, ptrdiff_t size, uint64_t *hi, uint64_t *lo) {
    uint8_t nibbles[CIDRGATE_BEFORE + 16 * CIDRGATE_GROUP_VECTORS], copy[16 * CIDRGATE_GROUP_VECTORS];
    uint64_t halves[2][2] = {{0, 0}, {0, 0}}; /* before and after the `::`: hi and lo, the last group lowest */
    uint64_t colons = 0, digits = 0, all;
    uint32_t start = 0, count = 0, length;
    int skip = -1;
    if (size < 2 || size > CIDRGATE_LONGEST_GROUPS) return 0;
#if !defined(__SANITIZE_ADDRESS__)
    if (((uintptr_t)text & 4095) > 4096 - sizeof copy)
#endif
    {
        memset(copy, 0, sizeof copy);
        memcpy(copy, text, (size_t)size);
        text = copy;
    }
    for (int part = 0; part < CIDRGATE_GROUP_VECTORS; part++) {
        __m128i given = _mm_loadu_si128((const __m128i *)(text + 16 * part));
        __m128i decimal = _mm_sub_epi8(given, _mm_set1_epi8('0'));
        __m128i letter = _mm_sub_epi8(_mm_or_si128(given, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
        __m128i is_decimal = _mm_cmpeq_epi8(_mm_min_epu8(decimal, _mm_set1_epi8(9)), decimal);
        __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);
        __m128i value = _mm_blendv_epi8(_mm_add_epi8(letter, _mm_set1_epi8(10)), decimal, is_decimal);
        colons |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(given, _mm_set1_epi8(':'))) << (16 * part);
        digits |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_or_si128(is_decimal, is_letter)) << (16 * part);
        _mm_storeu_si128((__m128i *)(nibbles + CIDRGATE_BEFORE + 16 * part), value);
    }
    all = ((uint64_t)1 << size) - 1;
    colons &= all;
    if (((colons | digits) & all) != all) return 0;
    if (colons & 1) {
        if (!(colons & 2)) return 0;
        skip = 0;
        start = 2;
        colons &= ~(uint64_t)3;
    }
    /* A colon after the end closes the last group, unless the text ends with its `::`. */
    if (!(start == (uint32_t)size)) colons |= (uint64_t)1 << size;
    while (colons) {
        uint32_t end = (uint32_t)__builtin_ctzll(colons);
        uint64_t *half = halves[skip >= 0];
        colons &= colons - 1;
        length = end - start;
        start = end + 1;
        if (length == 0) {
            if (end == (uint32_t)size && skip == (int)count) break;
            if (skip >= 0 || end == (uint32_t)size) return 0;
            skip = (int)count;
            continue;
        }
        if (length > 4 || count == 8) return 0;
        half[0] = half[0] << 16 | half[1] >> 48;
        half[1] = half[1] << 16 | cidrgate_group(nibbles + CIDRGATE_BEFORE + end, length);
        count++;
    }
    if (skip < 0 ? count != 8 : count == 8) return 0;
    *hi = halves[1][0];
    *lo = halves[1][1];
    if (skip < 0) {
        *hi = halves[0][0];
        *lo = halves[0][1];
    } else if (skip > 0) {
        /* The groups before the `::` move to the front; there are at most seven of them. */
        uint32_t shift = 16 * (8 - (uint32_t)skip);
        if (shift >= 64) {
            *hi |= halves[0][1] << (shift - 64);
        } else {
            *hi |= halves[0][0] << shift | halves[0][1] >> (64 - shift);
            *lo |= halves[0][1] << shift;
        }
    }
    return 1;
}
#else
static inline int cidrgate_groups(const uint8_t *text, ptrdiff_t size, uint64_t *hi, uint64_t *lo) {
    (void)text, (void)size, (void)hi, (void)lo;
    return 0;
}
#endif

#endif
