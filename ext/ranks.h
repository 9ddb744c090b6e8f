/* The ranks of many IPv4 addresses in one small sorted list: compares every address with every network, no branches.
 *
 * The same function body is compiled for several instruction sets. The form that runs is chosen once, by the features
 * of the processor. The portable form is always compiled, and the other forms are tested against it.
 */
#ifndef CIDRGATE_RANKS_H
#define CIDRGATE_RANKS_H

#include <stdint.h>
#include <string.h>

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

typedef struct {
    const char *name;
    cidrgate_ranks_function *run;
} cidrgate_ranks_form;

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
#endif

/* The compiled forms, the fastest first; NULL after the last. */
static const cidrgate_ranks_form cidrgate_ranks_forms[] = {
#if defined(__x86_64__)
    {"avx512", cidrgate_ranks_avx512},
    {"avx2", cidrgate_ranks_avx2},
#endif
    {"portable", cidrgate_ranks_portable},
    {NULL, NULL},
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

/* Selects a form by its name, or the fastest if `name` is NULL; returns 0 if this processor cannot run the form. */
static inline int cidrgate_choose_ranks(const char *name) {
    for (int form = 0; cidrgate_ranks_forms[form].name != NULL; form++)
        if ((name == NULL || strcmp(name, cidrgate_ranks_forms[form].name) == 0) &&
            cidrgate_can_run(cidrgate_ranks_forms[form].name)) {
            cidrgate_ranks = cidrgate_ranks_forms[form].run;
            return 1;
        }
    return 0;
}
#endif
