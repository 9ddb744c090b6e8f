/* The limits of the engine's counters. Each limit is the largest value of its counter. It is checked before the counter
 * grows: a larger value is refused as out of memory, so no counter ever wraps.
 */
#ifndef CIDRGATE_COUNTERS_H
#define CIDRGATE_COUNTERS_H

#include <stdint.h>

typedef struct {
    uint32_t prefixes; /* of one list: their indices are a quarter of the values of a slot, an int32_t */
    uint32_t nodes;    /* of an index: another quarter, from CHILD down */
    uint32_t words;    /* of an index: positions in them are an eighth of the values, from BRANCH and FINAL down */
    uint32_t rows;     /* of all accounts, including discarded accounts: row numbers are int32_t */
    uint32_t segments; /* of an arena: references are uint32_t, in units of eight bytes */
} cidrgate_limits_t;

static const cidrgate_limits_t cidrgate_most = {
    .prefixes = 0x3FFFFFFF, .nodes = 0x3FFFFFFF, .words = 0x1FFFFFFF, .rows = 0x7FFFFFFF, .segments = 32768};

/* The limits in use. Tests lower them. Only code that adds elements reads them; lookups do not. */
static cidrgate_limits_t cidrgate_limits = {
    .prefixes = 0x3FFFFFFF, .nodes = 0x3FFFFFFF, .words = 0x1FFFFFFF, .rows = 0x7FFFFFFF, .segments = 32768};

#endif
