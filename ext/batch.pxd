"""Arrays of addresses in every form the engine takes, read piece by piece without Python objects.

Bounds are checked where a `Batch` is made (`_engine.pyx`); here every form is trusted.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from address cimport Address, parse_address, set_ipv4, unpack_address

cdef enum:
    # Addresses read at a time: enough lookups in flight to hide a cache miss, few enough to stay in the first level.
    PIECE = 64
    # Size of the inline part of an Arrow string view: longer text stands in a buffer.
    VIEW_INLINE = 12

cdef enum Form:
    NUMBERS                 # uint32[n], IPv4
    OCTETS                  # `width` octets an address, 4 or 16
    POINTERS                # pointers to text and its sizes
    TEXT32                  # Arrow string, 32-bit offsets
    TEXT64                  # Arrow large_string, 64-bit offsets
    BINARY32                # Arrow binary: 4 or 16 octets each
    BINARY64                # Arrow large_binary
    TEXT_VIEW               # Arrow string_view
    BINARY_VIEW             # Arrow binary_view

cdef struct StringView:
    int32_t size
    uint8_t start[4]
    int32_t buffer
    int32_t offset

cdef struct Batch:
    Form form
    Py_ssize_t count
    int width
    const uint32_t *numbers
    const uint8_t *octets               # OCTETS; the data of TEXT and BINARY
    const uint8_t **texts
    const int64_t *sizes
    const int32_t *offsets32
    const int64_t *offsets64
    const StringView *views
    const void **buffers                # the data buffers of views
    const uint8_t *valid                # Arrow's bitmap, or NULL where nothing is null
    Py_ssize_t valid_offset


cdef inline const uint8_t *octets_at(const Batch *batch, Py_ssize_t index, Py_ssize_t *size) noexcept nogil:
    """Where the text or the octets of an address stand, and how many."""
    cdef const StringView *view
    if batch.form == POINTERS:
        size[0] = batch.sizes[index]
        return batch.texts[index]
    if batch.form == TEXT32 or batch.form == BINARY32:
        size[0] = batch.offsets32[index + 1] - batch.offsets32[index]
        return batch.octets + batch.offsets32[index]
    if batch.form == TEXT64 or batch.form == BINARY64:
        size[0] = batch.offsets64[index + 1] - batch.offsets64[index]
        return batch.octets + batch.offsets64[index]
    if batch.form == OCTETS:
        size[0] = batch.width
        return batch.octets + index * batch.width
    view = batch.views + index
    size[0] = view.size
    if view.size <= VIEW_INLINE:
        return view.start
    return <const uint8_t *>batch.buffers[view.buffer] + view.offset


cdef inline bint is_null(const Batch *batch, Py_ssize_t index) noexcept nogil:
    """Whether an Arrow array has no value there."""
    index += batch.valid_offset
    return batch.valid != NULL and not batch.valid[index >> 3] >> (index & 7) & 1


cdef inline bint is_text(const Batch *batch) noexcept nogil:
    """Whether the addresses are text, not octets."""
    return (batch.form == POINTERS or batch.form == TEXT32 or batch.form == TEXT64 or batch.form == TEXT_VIEW)


cdef inline bint read_address(const Batch *batch, Py_ssize_t index, Address *address) noexcept nogil:
    """One address; False when there is none."""
    cdef Py_ssize_t size = 0
    cdef const uint8_t *octets
    if batch.form == NUMBERS:
        set_ipv4(address, batch.numbers[index])
        return True
    if is_null(batch, index):
        return False
    octets = octets_at(batch, index, &size)
    if is_text(batch):
        return parse_address(octets, size, address)
    if size != 4 and size != 16:
        return False
    unpack_address(octets, <int>size, address)
    return True


cdef inline Py_ssize_t read_piece(
    const Batch *batch, Py_ssize_t start, Py_ssize_t count, Address *addresses
) noexcept nogil:
    """Read up to PIECE addresses; returns how many could be read before one that is none."""
    cdef Py_ssize_t index
    for index in range(count):
        if not read_address(batch, start + index, addresses + index):
            return index
    return count
