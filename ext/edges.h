/* Ranks of many numbers in one large sorted array, by a static B-tree of nodes with eight keys, without branches.
 *
 * The leaves are the sorted array itself. A node above them has nine children, and its keys are the least keys of all
 * children but the first, so the rank of a number in a node is the number of its child. One node is one line of the
 * cache. All numbers descend one level before any goes further, so that their waits overlap.
 *
 * The same descent is compiled for several instruction sets; the form that runs is chosen once. The portable form is
 * always compiled, and the other forms are tested against it.
 */
#ifndef CIDRGATE_EDGES_H
#define CIDRGATE_EDGES_H

#include <stdint.h>
#include <string.h>

#include "native.h"
#include "ranks.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CIDRGATE_NODE_KEYS = 8, CIDRGATE_NODE_CHILDREN = 9, CIDRGATE_MOST_LEVELS = 12 };

/* A tree in one piece of memory, which begins with it. Level 0 are the leaves. */
typedef struct {
    uint32_t count;                           /* keys */
    uint32_t levels;
    uint32_t nodes[CIDRGATE_MOST_LEVELS];     /* of each level */
    const uint64_t *keys[CIDRGATE_MOST_LEVELS];
} cidrgate_tree;

/* Sets the number of levels and of nodes for `count` keys, which is not zero; returns the keys of all nodes. */
static inline size_t cidrgate_plan_tree(cidrgate_tree *tree, uint32_t count) {
    uint32_t nodes = (count + CIDRGATE_NODE_KEYS - 1) / CIDRGATE_NODE_KEYS;
    size_t keys = (size_t)nodes * CIDRGATE_NODE_KEYS;
    tree->count = count;
    tree->levels = 1;
    tree->nodes[0] = nodes;
    while (nodes > 1) {
        nodes = (nodes + CIDRGATE_NODE_CHILDREN - 1) / CIDRGATE_NODE_CHILDREN;
        tree->nodes[tree->levels++] = nodes;
        keys += (size_t)nodes * CIDRGATE_NODE_KEYS;
    }
    return keys;
}

/* Completes a planned tree. `keys` has room for all of them, on a line of the cache, and begins with the sorted keys. */
static inline void cidrgate_make_tree(cidrgate_tree *tree, uint64_t *keys) {
    uint64_t *next = keys;
    size_t leaves_of_child = 1;
    for (size_t index = tree->count; index < (size_t)tree->nodes[0] * CIDRGATE_NODE_KEYS; index++)
        keys[index] = UINT64_MAX;
    for (uint32_t level = 0; level < tree->levels; level++) {
        tree->keys[level] = next;
        if (level) {
            for (size_t index = 0; index < (size_t)tree->nodes[level] * CIDRGATE_NODE_KEYS; index++) {
                size_t child = index / CIDRGATE_NODE_KEYS * CIDRGATE_NODE_CHILDREN + index % CIDRGATE_NODE_KEYS + 1;
                size_t least = child * leaves_of_child * CIDRGATE_NODE_KEYS;
                next[index] = least < tree->count ? keys[least] : UINT64_MAX;
            }
            leaves_of_child *= CIDRGATE_NODE_CHILDREN;
        }
        next += (size_t)tree->nodes[level] * CIDRGATE_NODE_KEYS;
    }
}

static CIDRGATE_ALWAYS_INLINE uint32_t cidrgate_node_rank_portable(const uint64_t *node, uint64_t number) {
    uint32_t rank = 0;
    for (int key = 0; key < CIDRGATE_NODE_KEYS; key++) rank += node[key] <= number;
    return rank;
}

/* Sets for each number the position of the last key that is not above it. The least key is 0, so there is one. */
#define CIDRGATE_DESCEND(rank_of)                                                                            \
    for (uint32_t index = 0; index < count; index++) positions[index] = 0;                                   \
    for (uint32_t level = tree->levels; level-- > 0;) {                                                      \
        const uint64_t *keys = tree->keys[level];                                                            \
        const uint64_t *below = tree->keys[level ? level - 1 : 0];                                           \
        /* A pad is not below the largest number of all, so the last node, or key, of a level is the last. */ \
        const uint32_t last = level ? tree->nodes[level - 1] - 1 : tree->count - 1;                          \
        for (uint32_t index = 0; index < count; index++) {                                                   \
            const uint32_t node = positions[index];                                                          \
            const uint32_t rank = rank_of(keys + (size_t)node * CIDRGATE_NODE_KEYS, numbers[index]);         \
            const uint32_t next = level ? node * CIDRGATE_NODE_CHILDREN + rank                               \
                                        : node * CIDRGATE_NODE_KEYS + rank - 1;                              \
            positions[index] = next < last ? next : last;                                                    \
            if (level) cidrgate_prefetch(below + (size_t)positions[index] * CIDRGATE_NODE_KEYS);             \
        }                                                                                                    \
    }

typedef void cidrgate_descend_function(const cidrgate_tree *tree, const uint64_t *numbers, uint32_t count,
                                       uint32_t *positions);

static void cidrgate_descend_portable(const cidrgate_tree *tree, const uint64_t *numbers, uint32_t count,
                                      uint32_t *positions) {
    CIDRGATE_DESCEND(cidrgate_node_rank_portable)
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static inline uint32_t cidrgate_node_rank_avx2(const uint64_t *node, uint64_t number) {
    /* The instructions compare signed numbers. */
    const __m256i sign = _mm256_set1_epi64x(INT64_MIN);
    const __m256i wanted = _mm256_xor_si256(_mm256_set1_epi64x((int64_t)number), sign);
    const __m256i low = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)node), sign);
    const __m256i high = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(node + 4)), sign);
    const int above = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(low, wanted))) |
                      _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(high, wanted))) << 4;
    return CIDRGATE_NODE_KEYS - (uint32_t)__builtin_popcount((unsigned)above);
}

__attribute__((target("avx2"))) static void cidrgate_descend_avx2(const cidrgate_tree *tree, const uint64_t *numbers,
                                                                  uint32_t count, uint32_t *positions) {
    CIDRGATE_DESCEND(cidrgate_node_rank_avx2)
}

__attribute__((target("avx512f,avx512vl"))) static inline uint32_t cidrgate_node_rank_avx512(const uint64_t *node,
                                                                                             uint64_t number) {
    const __m512i keys = _mm512_loadu_si512((const void *)node);
    return (uint32_t)__builtin_popcount(_mm512_cmple_epu64_mask(keys, _mm512_set1_epi64((int64_t)number)));
}

__attribute__((target("avx512f,avx512vl"))) static void cidrgate_descend_avx512(const cidrgate_tree *tree,
                                                                                const uint64_t *numbers,
                                                                                uint32_t count, uint32_t *positions) {
    CIDRGATE_DESCEND(cidrgate_node_rank_avx512)
}
#endif

/* Whether the form in use is faster than a walk; the portable form is not. */
static inline int cidrgate_descends_fast(void) { return cidrgate_ranks != cidrgate_ranks_portable; }

/* The form of the search in small lists decides (`cidrgate_choose_ranks`): both need the same instructions. */
static inline void cidrgate_descend(const cidrgate_tree *tree, const uint64_t *numbers, uint32_t count,
                                    uint32_t *positions) {
#if defined(__x86_64__)
    if (cidrgate_ranks == cidrgate_ranks_avx512) {
        cidrgate_descend_avx512(tree, numbers, count, positions);
        return;
    }
    if (cidrgate_ranks == cidrgate_ranks_avx2) {
        cidrgate_descend_avx2(tree, numbers, count, positions);
        return;
    }
#endif
    cidrgate_descend_portable(tree, numbers, count, positions);
}

#endif
