/* Threads that note and one that collects, with the rings of a build without a GIL: nothing is torn, lost or doubled
 * that is not counted. `test_traffic_notes.py` compiles and runs it.
 */
#define CIDRGATE_UNLOCKED 1
#include "traffic.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

enum { WRITERS = 4, NOTES = 200000, CAPACITY = 64 };

static cidrgate_traffic *traffic;
static int running = WRITERS;

static void *writer(void *number) {
    const uint64_t me = (uint64_t)(size_t)number;
    for (uint64_t at = 0; at < NOTES; at++) {
        cidrgate_note_check(traffic, me << 32 | at, ~(me << 32 | at), (int32_t)me, (uint32_t)(at & 3));
        if (at % 16 == 0) sched_yield(); /* or one thread would fill its ring in its share of time, and lose the rest */
    }
    __atomic_sub_fetch(&running, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

int main(void) {
    static cidrgate_note notes[CIDRGATE_RINGS * CAPACITY];
    pthread_t threads[WRITERS];
    uint64_t last[WRITERS], found = 0, lost = 0;
    traffic = cidrgate_open_traffic(CAPACITY);
    for (int number = 0; number < WRITERS; number++) last[number] = UINT64_MAX;
    for (int number = 0; number < WRITERS; number++)
        pthread_create(&threads[number], NULL, writer, (void *)(size_t)number);
    for (int ended = 0; ended < 2;) {
        /* One more round after the last writer has ended. */
        ended += __atomic_load_n(&running, __ATOMIC_SEQ_CST) == 0;
        size_t count = cidrgate_collect_notes(traffic, notes, sizeof notes / sizeof *notes, &lost);
        for (size_t index = 0; index < count; index++) {
            const cidrgate_note *note = notes + index;
            const uint64_t me = note->hi >> 32, at = note->hi & 0xFFFFFFFF;
            if (note->lo != ~note->hi || me >= WRITERS || (uint64_t)note->row != me || note->stamp != (at & 3)) return 2;
            if (last[me] != UINT64_MAX && at <= last[me]) return 3;
            last[me] = at;
            found++;
        }
    }
    for (int number = 0; number < WRITERS; number++) pthread_join(threads[number], NULL);
    if (cidrgate_count_notes(traffic) != 0) return 4;
    cidrgate_close_traffic(traffic);
    printf("%llu %llu\n", (unsigned long long)found, (unsigned long long)lost);
    return found + lost == (uint64_t)WRITERS * NOTES ? 0 : 5;
}
