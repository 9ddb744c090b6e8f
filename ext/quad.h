/* Parses a strict dotted quad: with vector instructions if the target has them, otherwise byte by byte.
 *
 * The lengths of the four octets are unpredictable, so a loop over the characters causes mispredicted branches. The
 * vector form has no branches: the positions of the dots select a shuffle that aligns the digits, three for each octet.
 */
#ifndef CIDRGATE_QUAD_H
#define CIDRGATE_QUAD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { CIDRGATE_SHORTEST_QUAD = 7, CIDRGATE_LONGEST_QUAD = 15 };

/* Parses byte by byte and reads nothing beyond `size`. Always compiled: the vector form is tested against it. */
static inline int cidrgate_quad_bytes(const uint8_t *text, ptrdiff_t size, uint32_t *result) {
    uint32_t value = 0;
    ptrdiff_t at = 0;
    if (size < CIDRGATE_SHORTEST_QUAD || size > CIDRGATE_LONGEST_QUAD) return 0;
    for (int part = 0; part < 4; part++) {
        uint32_t octet = 0;
        ptrdiff_t start;
        if (part && (at >= size || text[at++] != '.')) return 0;
        start = at;
        while (at < size && at < start + 3 && (uint8_t)(text[at] - '0') <= 9) octet = octet * 10 + (text[at++] - '0');
        if (at == start || octet > 255 || (at > start + 1 && text[start] == '0')) return 0;
        value = value << 8 | octet;
    }
    *result = value;
    return at == size;
}

#if defined(__SSE4_1__) || defined(CIDRGATE_X86_64_V2)
#include <smmintrin.h>

/* For each combination of octet lengths (three possible lengths each): the positions of the digits of each octet, and
 * the least value of an octet of this length that does not begin with zero. */
typedef struct {
    uint8_t shuffle[16];
    uint8_t least[16];
} cidrgate_quad_shape;

static cidrgate_quad_shape cidrgate_quad_shapes[81];

static inline void cidrgate_quad_prepare(void) {
    static const uint8_t least[4] = {0, 0, 10, 100};
    for (int shape = 0; shape < 81; shape++) {
        int lengths[4] = {shape / 27 + 1, shape / 9 % 3 + 1, shape / 3 % 3 + 1, shape % 3 + 1};
        int at = 0;
        memset(&cidrgate_quad_shapes[shape], 0x80, sizeof cidrgate_quad_shapes[shape]);
        for (int octet = 0; octet < 4; octet++) {
            for (int digit = 0; digit < lengths[octet]; digit++)
                cidrgate_quad_shapes[shape].shuffle[4 * octet + 3 - lengths[octet] + digit] = (uint8_t)at++;
            at++;
            for (int byte = 0; byte < 4; byte++) cidrgate_quad_shapes[shape].least[4 * octet + byte] = 0;
            cidrgate_quad_shapes[shape].least[4 * octet] = least[lengths[octet]];
        }
    }
}

/* Loads sixteen bytes from `text`, of which only `size` may be readable: a load within one page cannot fault. */
static inline __m128i cidrgate_quad_load(const uint8_t *text, ptrdiff_t size) {
#if !defined(__SANITIZE_ADDRESS__)
    if (((uintptr_t)text & 4095) <= 4096 - 16) return _mm_loadu_si128((const __m128i *)text);
#endif
    uint8_t copy[16] = {0};
    memcpy(copy, text, (size_t)size);
    return _mm_loadu_si128((const __m128i *)copy);
}

static inline int cidrgate_quad(const uint8_t *text, ptrdiff_t size, uint32_t *result) {
    __m128i given, digits, values;
    uint32_t dots, all, first, second, third, shape;
    if ((size_t)(size - CIDRGATE_SHORTEST_QUAD) > CIDRGATE_LONGEST_QUAD - CIDRGATE_SHORTEST_QUAD) return 0;
    given = cidrgate_quad_load(text, size);
    all = (1u << size) - 1;
    dots = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(given, _mm_set1_epi8('.'))) & all;
    digits = _mm_sub_epi8(given, _mm_set1_epi8('0'));
    if (((uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(digits, _mm_set1_epi8(9)), digits)) & all) !=
            (all ^ dots) ||
        __builtin_popcount(dots) != 3)
        return 0;
    first = (uint32_t)__builtin_ctz(dots);
    dots &= dots - 1;
    second = (uint32_t)__builtin_ctz(dots);
    third = (uint32_t)__builtin_ctz(dots & (dots - 1));
    if (first - 1 > 2 || second - first - 2 > 2 || third - second - 2 > 2 || (uint32_t)size - third - 2 > 2) return 0;
    shape = 27 * (first - 1) + 9 * (second - first - 2) + 3 * (third - second - 2) + ((uint32_t)size - third - 2);
    digits = _mm_shuffle_epi8(digits, _mm_loadu_si128((const __m128i *)cidrgate_quad_shapes[shape].shuffle));
    values = _mm_madd_epi16(_mm_maddubs_epi16(digits, _mm_set1_epi32(0x00010A64)), _mm_set1_epi16(1));
    if (_mm_movemask_epi8(_mm_or_si128(
            _mm_cmpgt_epi32(values, _mm_set1_epi32(255)),
            _mm_cmpgt_epi32(_mm_loadu_si128((const __m128i *)cidrgate_quad_shapes[shape].least), values))))
        return 0;
    values = _mm_shuffle_epi8(values, _mm_set1_epi32(0x0004080C));
    *result = (uint32_t)_mm_cvtsi128_si32(values);
    return 1;
}
#else
static inline void cidrgate_quad_prepare(void) {}
static inline int cidrgate_quad(const uint8_t *text, ptrdiff_t size, uint32_t *result) {
    return cidrgate_quad_bytes(text, size, result);
}
#endif

#endif
