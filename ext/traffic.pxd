"""Declarations of `traffic.h`: notes of checks, and the rings between those who check and the one who collects."""

from libc.stdint cimport int32_t, uint32_t, uint64_t

cdef extern from "traffic.h" nogil:
    enum:
        NOTE_ALLOWED "CIDRGATE_NOTE_ALLOWED"
        NOTE_IPV6 "CIDRGATE_NOTE_IPV6"
    ctypedef struct Note "cidrgate_note":
        uint64_t hi
        uint64_t lo
        int32_t row
        uint32_t stamp
    ctypedef struct Traffic "cidrgate_traffic":
        uint32_t capacity
    Traffic *open_traffic "cidrgate_open_traffic" (uint32_t capacity) noexcept
    void close_traffic "cidrgate_close_traffic" (Traffic *traffic) noexcept
    void forget_notes "cidrgate_forget_notes" (Traffic *traffic) noexcept
    void note_check "cidrgate_note_check" (
        Traffic *traffic, uint64_t hi, uint64_t lo, int32_t row, uint32_t flags) noexcept
    size_t count_notes "cidrgate_count_notes" (const Traffic *traffic) noexcept
    size_t collect_notes "cidrgate_collect_notes" (
        Traffic *traffic, Note *notes, size_t room, uint64_t *lost) noexcept
    void drop_notes "cidrgate_drop_notes" (Traffic *traffic) noexcept
    void count_lists "cidrgate_count_lists" (Traffic *traffic) noexcept
    uint32_t lists_counted "cidrgate_lists_counted" (const Traffic *traffic) noexcept
