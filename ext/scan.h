/* Searches in short texts. They are nearly as long as one vector of 16 octets, so a call of memchr() would take most of
 * the time. What does not fill a vector, and other processors than x86-64, take the portable way. */
#ifndef CIDRGATE_SCAN_H
#define CIDRGATE_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Octets of a line; NULL and 0 for none. */
struct Text {
    const uint8_t *start;
    Py_ssize_t size;
};

enum { CIDRGATE_VECTOR = 16 };

/* Returns where an octet is first; NULL if the text does not have it. */
static inline const uint8_t *cidrgate_find(const uint8_t *text, size_t size, uint8_t octet) {
#if defined(__SSE2__)
    const __m128i wanted = _mm_set1_epi8((char)octet);
    for (; size >= CIDRGATE_VECTOR; text += CIDRGATE_VECTOR, size -= CIDRGATE_VECTOR) {
        const int found = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)text), wanted));
        if (found) return text + __builtin_ctz((unsigned)found);
    }
#endif
    return size ? (const uint8_t *)memchr(text, octet, size) : NULL;
}

/* Whether all programs read a path in the same way: it has only printable ASCII without %, ;, # and backslashes, and
 * neither // nor /. in it. */
static inline int cidrgate_is_clear_path(const uint8_t *text, size_t size) {
    unsigned slash = 0; /* whether the octet before is a slash */
#if defined(__SSE2__)
    for (; size >= CIDRGATE_VECTOR; text += CIDRGATE_VECTOR, size -= CIDRGATE_VECTOR) {
        const __m128i octets = _mm_loadu_si128((const __m128i *)text);
        const __m128i slashes = _mm_cmpeq_epi8(octets, _mm_set1_epi8('/'));
        const __m128i follows = _mm_or_si128(slashes, _mm_cmpeq_epi8(octets, _mm_set1_epi8('.')));
        __m128i odd = _mm_cmpeq_epi8(_mm_min_epu8(octets, _mm_set1_epi8(0x20)), octets); /* at most 0x20 */
        odd = _mm_or_si128(odd, _mm_cmpeq_epi8(_mm_max_epu8(octets, _mm_set1_epi8(0x7F)), octets));
        odd = _mm_or_si128(odd, _mm_cmpeq_epi8(octets, _mm_set1_epi8('%')));
        odd = _mm_or_si128(odd, _mm_cmpeq_epi8(octets, _mm_set1_epi8(';')));
        odd = _mm_or_si128(odd, _mm_cmpeq_epi8(octets, _mm_set1_epi8('#')));
        odd = _mm_or_si128(odd, _mm_cmpeq_epi8(octets, _mm_set1_epi8('\\')));
        const unsigned bits = (unsigned)_mm_movemask_epi8(slashes);
        if ((unsigned)_mm_movemask_epi8(odd) | ((bits << 1 | slash) & (unsigned)_mm_movemask_epi8(follows))) return 0;
        slash = bits >> (CIDRGATE_VECTOR - 1);
    }
#endif
    for (; size; text++, size--) {
        const uint8_t octet = *text;
        if (octet <= 0x20 || octet >= 0x7F || octet == '%' || octet == ';' || octet == '#' || octet == '\\') return 0;
        if (slash && (octet == '/' || octet == '.')) return 0;
        slash = octet == '/';
    }
    return 1;
}

#endif
