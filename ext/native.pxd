"""Declarations of `native.h` (bit counts, prefetch, atomics, the keyed hash of names) and `workers.h` (threads)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "native.h" nogil:
    const bint UNLOCKED "CIDRGATE_UNLOCKED"
    int popcount "cidrgate_popcount" (uint64_t bits) noexcept
    int32_t select "cidrgate_select" (int32_t value, int32_t wanted, int32_t one, int32_t other) noexcept
    void *allocate "cidrgate_allocate" (size_t size) noexcept
    void *allocate_array "cidrgate_allocate_array" (size_t count, size_t size) noexcept
    void *reallocate_array "cidrgate_reallocate_array" (void *array, uint64_t count, size_t size) noexcept
    uint64_t fold "cidrgate_fold" (uint64_t a, uint64_t b) noexcept
    uint64_t fold_portable "cidrgate_fold_portable" (uint64_t a, uint64_t b) noexcept
    int32_t int32_at "cidrgate_int32" (const uint8_t *where) noexcept
    int64_t int64_at "cidrgate_int64" (const uint8_t *where) noexcept
    uint32_t little32 "cidrgate_little32" (const uint8_t *where) noexcept
    uint64_t little64 "cidrgate_little64" (const uint8_t *where) noexcept
    uint64_t network64 "cidrgate_network64" (const uint8_t *where) noexcept
    uint32_t network32 "cidrgate_network32" (const uint8_t *where) noexcept
    void backoff "cidrgate_backoff" () noexcept
    int trailing_zeros "cidrgate_trailing_zeros" (uint64_t bits) noexcept
    uint64_t changes "cidrgate_changes" (const int32_t *numbers) noexcept
    int leading_zeros "cidrgate_leading_zeros" (uint64_t bits) noexcept
    void prefetch "cidrgate_prefetch" (const void *where) noexcept
    uint32_t load_acquire "cidrgate_load" (const uint32_t *where) noexcept
    void store_release "cidrgate_store" (uint32_t *where, uint32_t value) noexcept
    uint32_t load_relaxed "cidrgate_load_relaxed" (const uint32_t *where) noexcept
    void store_relaxed "cidrgate_store_relaxed" (uint32_t *where, uint32_t value) noexcept
    uint32_t load_ordered "cidrgate_load_ordered" (const uint32_t *where) noexcept
    int64_t load_count "cidrgate_load_count" (const int64_t *where) noexcept
    void store_ordered "cidrgate_store_ordered" (uint32_t *where, uint32_t value) noexcept
    int64_t add_and_fetch "cidrgate_add" (int64_t *where, int64_t amount) noexcept
    uint64_t read64 "cidrgate_read64" (const uint8_t *where) noexcept
    void *load_pointer "cidrgate_load_pointer" (void **where) noexcept
    void store_pointer "cidrgate_store_pointer" (void **where, void *value) noexcept
    uint32_t keyed_hash "cidrgate_hash" (const uint8_t *text, size_t length, uint64_t seed) noexcept
    bint same_bytes "cidrgate_same" (const uint8_t *one, const uint8_t *other, size_t length) noexcept
    uint64_t checksum "cidrgate_checksum" (const uint8_t *memory, size_t size, uint64_t seed) noexcept

cdef extern from "workers.h" nogil:
    ctypedef struct Lock "pthread_mutex_t":
        pass
    void open_lock "cidrgate_open_lock" (Lock *lock) noexcept
    void take_lock "pthread_mutex_lock" (Lock *lock) noexcept
    void leave_lock "pthread_mutex_unlock" (Lock *lock) noexcept
    void close_lock "pthread_mutex_destroy" (Lock *lock) noexcept
    void work_twice "cidrgate_work_twice" (void (*work)(void *shared) noexcept nogil, void *shared) noexcept
