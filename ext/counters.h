/* How far the engine counts. Each limit is what its counter holds, and is compared before the counter grows: what would
 * be more is refused for want of memory, and nothing wraps.
 */
#ifndef CIDRGATE_COUNTERS_H
#define CIDRGATE_COUNTERS_H

#include <stdint.h>

typedef struct {
    uint32_t prefixes; /* of one list: indices are int32_t, and there is room for twice as many */
    uint32_t nodes;    /* of an index: slots name them as int32_t, from CHILD down */
    uint32_t slots;    /* of an index: uint32_t */
    uint32_t rows;     /* of accounts, those of discarded ones included: row numbers are int32_t */
    uint32_t segments; /* of an arena: references are uint32_t, in units of eight bytes */
} cidrgate_limits_t;

static const cidrgate_limits_t cidrgate_most = {
    .prefixes = 0x3FFFFFFF, .nodes = 0x7FFFFFFF, .slots = 0xFFFFFFFF, .rows = 0x7FFFFFFF, .segments = 32768};

/* The limits that count now: tests lower them. Only what grows looks at them, no lookup does. */
static cidrgate_limits_t cidrgate_limits = {
    .prefixes = 0x3FFFFFFF, .nodes = 0x7FFFFFFF, .slots = 0xFFFFFFFF, .rows = 0x7FFFFFFF, .segments = 32768};

#endif
