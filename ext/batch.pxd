"""Arrays of addresses in every form the engine takes, read piece by piece without Python objects.

Bounds are checked where a `Batch` is made (`arrays.pxi`); what reads a batch trusts every form. Arrow's buffers need
not be aligned.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from address cimport Address, parse_address, set_ipv4, unpack_address
from native cimport int32_at, int64_at

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

# Where the parts of an Arrow string view stand: int32 size, then up to VIEW_INLINE octets, or their first four, int32
# number of the buffer and int32 offset in it.
cdef enum:
    VIEW_START = 4
    VIEW_BUFFER = 8
    VIEW_OFFSET = 12
    VIEW_SIZE = 16

cdef struct Batch:
    Form form
    Py_ssize_t count
    int width
    const uint32_t *numbers
    const uint8_t *octets               # OCTETS; the data of TEXT and BINARY
    const uint8_t **texts
    const int64_t *sizes                # of POINTERS; of the data buffers of views
    const uint8_t *offsets              # of 4 or 8 bytes
    const uint8_t *views
    const void **buffers                # the data buffers of views
    Py_ssize_t n_buffers
    const uint8_t *valid                # Arrow's bitmap, or NULL where nothing is null
    Py_ssize_t valid_offset


cdef inline int32_t offset32(const Batch *batch, Py_ssize_t index) noexcept nogil:
    """Where an element begins, and the one before it ends."""
    return int32_at(batch.offsets + 4 * index)


cdef inline int64_t offset64(const Batch *batch, Py_ssize_t index) noexcept nogil:
    """The same with offsets of 64 bits."""
    return int64_at(batch.offsets + 8 * index)


cdef inline const uint8_t *octets_at(const Batch *batch, Py_ssize_t index, Py_ssize_t *size) noexcept nogil:
    """Where the text or the octets of an address stand, and how many."""
    cdef const uint8_t *view
    if batch.form == POINTERS:
        size[0] = <Py_ssize_t>batch.sizes[index]
        return batch.texts[index]
    if batch.form == TEXT32 or batch.form == BINARY32:
        size[0] = offset32(batch, index + 1) - offset32(batch, index)
        return batch.octets + offset32(batch, index)
    if batch.form == TEXT64 or batch.form == BINARY64:
        size[0] = <Py_ssize_t>(offset64(batch, index + 1) - offset64(batch, index))
        return batch.octets + offset64(batch, index)
    if batch.form == OCTETS:
        size[0] = batch.width
        return batch.octets + index * batch.width
    view = batch.views + index * VIEW_SIZE
    size[0] = int32_at(view)
    if size[0] <= VIEW_INLINE:
        return view + VIEW_START
    return <const uint8_t *>batch.buffers[int32_at(view + VIEW_BUFFER)] + int32_at(view + VIEW_OFFSET)


cdef inline Py_ssize_t first_wrong_offset32(const Batch *batch) noexcept nogil:
    """The first element whose offsets do not grow from 0 on, or the count; the last offset is checked elsewhere."""
    cdef Py_ssize_t index
    cdef bint wrong = offset32(batch, 0) < 0
    # All are compared without a branch first: offsets that are wrong are rare.
    for index in range(batch.count):
        wrong |= offset32(batch, index) > offset32(batch, index + 1)
    if not wrong:
        return batch.count
    for index in range(batch.count):
        if offset32(batch, index) < 0 or offset32(batch, index) > offset32(batch, index + 1):
            return index
    return batch.count


cdef inline Py_ssize_t first_wrong_offset64(const Batch *batch) noexcept nogil:
    """The same with offsets of 64 bits."""
    cdef Py_ssize_t index
    cdef bint wrong = offset64(batch, 0) < 0
    for index in range(batch.count):
        wrong |= offset64(batch, index) > offset64(batch, index + 1)
    if not wrong:
        return batch.count
    for index in range(batch.count):
        if offset64(batch, index) < 0 or offset64(batch, index) > offset64(batch, index + 1):
            return index
    return batch.count


cdef inline bint is_null(const Batch *batch, Py_ssize_t index) noexcept nogil:
    """Whether an Arrow array has no value there."""
    index += batch.valid_offset
    return batch.valid != NULL and not batch.valid[index >> 3] >> (index & 7) & 1


cdef inline bint is_wrong_view(const Batch *batch, Py_ssize_t index) noexcept nogil:
    """Whether a view is neither inline nor inside the buffer it names; a buffer that is NULL has no bytes."""
    cdef const uint8_t *view = batch.views + index * VIEW_SIZE
    cdef int32_t size = int32_at(view), offset = int32_at(view + VIEW_OFFSET)
    cdef uint32_t buffer = <uint32_t>int32_at(view + VIEW_BUFFER)
    # Without branches: whether a view is inline is what a branch predictor cannot know.
    cdef Py_ssize_t named = <Py_ssize_t>buffer if <int64_t>buffer < batch.n_buffers else batch.n_buffers
    return (size < 0) | ((size > VIEW_INLINE) & ((offset < 0) | (<int64_t>offset + size > batch.sizes[named])))


cdef inline Py_ssize_t first_wrong_view(const Batch *batch) noexcept nogil:
    """The first element that is not null and does not lie in the buffer it names, or the count."""
    cdef Py_ssize_t index
    cdef bint wrong = False
    for index in range(batch.count):
        wrong |= is_wrong_view(batch, index)
    if not wrong:
        return batch.count
    # What a null hides may be anything.
    for index in range(batch.count):
        if not is_null(batch, index) and is_wrong_view(batch, index):
            return index
    return batch.count


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
