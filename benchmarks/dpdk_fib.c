/* DPDK's forwarding tables over prefixes and addresses from files; prints one line of JSON. Built by `limits.py`.
 *
 *     dpdk_fib EAL-OPTIONS -- FAMILY scalar|avx512 PREFIXES ADDRESSES
 *
 * PREFIXES holds an address in network order and a length byte each; ADDRESSES holds uint32 in host order for IPv4,
 * 16 octets for IPv6.
 */
#include <rte_eal.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_memory.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BULK = 64, ROUNDS = 15, GROUPS4 = 1 << 15, GROUPS6 = 1 << 20, ROUTES = 1 << 21 };

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *content;
    if (file == NULL) exit(3);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    content = malloc(*size);
    if (content == NULL || fread(content, 1, *size, file) != *size) exit(3);
    fclose(file);
    return content;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int ascending(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int count, char **words) {
    size_t size, asked_size;
    uint8_t *prefixes, *asked;
    uint64_t hops[BULK], matched = 0;
    double rounds[ROUNDS];
    struct rte_fib *fib = NULL;
    struct rte_fib6 *fib6 = NULL;
    int used = rte_eal_init(count, words), wide, is_vector, status;
    size_t addresses;
    if (used < 0 || count - used < 5) return 2;
    words += used;
    wide = words[1][0] == '6';
    is_vector = strcmp(words[2], "avx512") == 0;
    prefixes = read_file(words[3], &size);
    asked = read_file(words[4], &asked_size);
    addresses = asked_size / (wide ? 16 : 4) / BULK * BULK;
    if (wide) {
        struct rte_fib6_conf options = {.type = RTE_FIB6_TRIE, .default_nh = 0, .max_routes = ROUTES, .rib_ext_sz = 0};
        options.trie.nh_sz = RTE_FIB6_TRIE_4B;
        options.trie.num_tbl8 = GROUPS6 - 1;
        fib6 = rte_fib6_create("fib6", SOCKET_ID_ANY, &options);
        if (fib6 == NULL) return 4;
        for (size_t at = 0; at + 17 <= size; at += 17)
            if (rte_fib6_add(fib6, prefixes + at, prefixes[at + 16], at / 17 + 1) != 0) return 5;
        status = rte_fib6_select_lookup(fib6, is_vector ? RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512 : RTE_FIB6_LOOKUP_TRIE_SCALAR);
    } else {
        struct rte_fib_conf options = {.type = RTE_FIB_DIR24_8, .default_nh = 0, .max_routes = ROUTES, .rib_ext_sz = 0};
        options.dir24_8.nh_sz = RTE_FIB_DIR24_8_4B;
        options.dir24_8.num_tbl8 = GROUPS4 - 1;
        fib = rte_fib_create("fib", SOCKET_ID_ANY, &options);
        if (fib == NULL) return 4;
        for (size_t at = 0; at + 5 <= size; at += 5) {
            uint32_t address = (uint32_t)prefixes[at] << 24 | (uint32_t)prefixes[at + 1] << 16 |
                               (uint32_t)prefixes[at + 2] << 8 | prefixes[at + 3];
            if (rte_fib_add(fib, address, prefixes[at + 4], at / 5 + 1) != 0) return 5;
        }
        status = rte_fib_select_lookup(
            fib, is_vector ? RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512 : RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO);
    }
    if (status != 0) {
        printf("{\"median_ns\": null, \"iqr_ns\": null, \"matched\": null}\n");
        return 0;
    }
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        matched = 0;
        for (size_t at = 0; at < addresses; at += BULK) {
            if (wide)
                rte_fib6_lookup_bulk(fib6, (uint8_t(*)[16])(asked + at * 16), hops, BULK);
            else
                rte_fib_lookup_bulk(fib, (uint32_t *)asked + at, hops, BULK);
            for (int index = 0; index < BULK; index++) matched += hops[index] != 0;
        }
        rounds[round] = (now() - start) / (double)addresses;
    }
    qsort(rounds, ROUNDS, sizeof(double), ascending);
    printf("{\"median_ns\": %.3f, \"iqr_ns\": %.3f, \"matched\": %.6f}\n", rounds[ROUNDS / 2],
           rounds[ROUNDS * 3 / 4] - rounds[ROUNDS / 4], (double)matched / (double)addresses);
    return 0;
}
