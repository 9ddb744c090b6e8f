"""Declarations of `counters.h`: the limits of the engine's counters."""

from libc.stdint cimport uint32_t

cdef extern from "counters.h" nogil:
    struct Limits "cidrgate_limits_t":
        uint32_t prefixes
        uint32_t nodes
        uint32_t words
        uint32_t rows
        uint32_t segments
    const Limits most "cidrgate_most"
    Limits limits "cidrgate_limits"
