/* What a plain C loop can do: two lookups of IPv4 addresses to measure the engine against. Built by `limits.py`. */
#include <stddef.h>
#include <stdint.h>

/* Membership by branch-free binary search: `edges` are the addresses where membership changes, ascending. */
void interval_search(const uint32_t *edges, size_t count, const uint32_t *addresses, size_t size, uint8_t *found) {
    for (size_t at = 0; at < size; at++) {
        const uint32_t *base = edges;
        size_t left = count;
        while (left > 1) {
            size_t half = left / 2;
            base += (base[half - 1] <= addresses[at]) * half;
            left -= half;
        }
        found[at] = (uint8_t)(((size_t)(base - edges) + (left == 1 && *base <= addresses[at])) & 1);
    }
}

/* DIR-24-8 (Gupta, Lin and McKeown, INFOCOM 1998): `first` has 2^24 slots; those from `deep` on name a group of 256
 * slots of `second`. Slots are prefetched `ahead` addresses before they are read. */
void dir_24_8(const uint16_t *first, const uint16_t *second, uint16_t deep, const uint32_t *addresses, size_t size,
              uint16_t *slots) {
    enum { AHEAD = 16 };
    for (size_t at = 0; at < size; at++) {
        uint16_t slot;
        if (at + AHEAD < size) __builtin_prefetch(first + (addresses[at + AHEAD] >> 8));
        slot = first[addresses[at] >> 8];
        if (slot >= deep) slot = second[(size_t)(slot - deep) * 256 + (addresses[at] & 255)];
        slots[at] = slot;
    }
}
