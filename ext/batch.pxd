"""Arrays of addresses in every accepted form, read piece by piece without Python objects.

The code that makes a `Batch` (`arrays.pxi`) checks all bounds; the code that reads a batch trusts them. Arrow buffers
need not be aligned.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from address cimport Address, parse_address, set_ipv4, unpack_address
from native cimport int32_at, int64_at

cdef enum:
    # Addresses read at a time: enough parallel lookups to hide a cache miss, few enough to fit in the level-1 cache.
    PIECE = 64
    # Size of the inline part of an Arrow string view: longer text is in a buffer.
    VIEW_INLINE = 12

cdef enum Form:
    NUMBERS                 # uint32[n], IPv4
    OCTETS                  # `width` octets an address, 4 or 16
    POINTERS                # pointers to texts, and their sizes
    TEXT32                  # Arrow string, 32-bit offsets
    TEXT64                  # Arrow large_string, 64-bit offsets
    BINARY32                # Arrow binary: 4 or 16 octets each
    BINARY64                # Arrow large_binary
    TEXT_VIEW               # Arrow string_view
    BINARY_VIEW             # Arrow binary_view
    CODES                   # Arrow dictionary: `width` octets an element, the index of its value in the dictionary
    NOTHING                 # Arrow null: every element is null

# The offsets of the parts of an Arrow string view: int32 size, then up to VIEW_INLINE octets of text; for longer text,
# its first four octets, then the int32 number of its buffer and the int32 offset in this buffer.
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
    const uint8_t *octets               # OCTETS and CODES; the data of TEXT and BINARY
    const uint8_t **texts
    const int64_t *sizes                # of POINTERS; of the data buffers of views
    const uint8_t *offsets              # of 4 or 8 bytes
    const uint8_t *views
    const void **buffers                # the data buffers of views
    Py_ssize_t n_buffers
    const uint8_t *valid                # Arrow's bitmap, or NULL if no element is null
    Py_ssize_t valid_offset
    const Batch *dictionary             # CODES: the values, which are not CODES themselves


cdef inline int32_t offset32(const Batch *batch, Py_ssize_t index) noexcept nogil:
    """Return the start of an element, which is the end of the element before it."""
    return int32_at(batch.offsets + 4 * index)


cdef inline int64_t offset64(const Batch *batch, Py_ssize_t index) noexcept nogil:
    """Do the same with 64-bit offsets."""
    return int64_at(batch.offsets + 8 * index)


cdef inline const uint8_t *octets_at(const Batch *batch, Py_ssize_t index, Py_ssize_t *size) noexcept nogil:
    """Return a pointer to the text or the octets of an address, and set their size."""
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
    """Return the first element with a negative or decreasing offset, or the count; the last offset is not checked."""
    cdef Py_ssize_t index
    cdef bint wrong = offset32(batch, 0) < 0
    # First compare all offsets without branches: wrong offsets are rare.
    for index in range(batch.count):
        wrong |= offset32(batch, index) > offset32(batch, index + 1)
    if not wrong:
        return batch.count
    for index in range(batch.count):
        if offset32(batch, index) < 0 or offset32(batch, index) > offset32(batch, index + 1):
            return index
    return batch.count


cdef inline Py_ssize_t first_wrong_offset64(const Batch *batch) noexcept nogil:
    """Do the same with 64-bit offsets."""
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
    """Return whether an element of an Arrow array is null."""
    index += batch.valid_offset
    return batch.valid != NULL and not batch.valid[index >> 3] >> (index & 7) & 1


cdef inline bint is_wrong_view(const Batch *batch, Py_ssize_t index) noexcept nogil:
    """Return whether a view is neither inline nor inside the buffer it names. A buffer that is NULL has no bytes."""
    cdef const uint8_t *view = batch.views + index * VIEW_SIZE
    cdef int32_t size = int32_at(view), offset = int32_at(view + VIEW_OFFSET)
    cdef uint32_t buffer = <uint32_t>int32_at(view + VIEW_BUFFER)
    # Without branches: a branch predictor cannot predict which views are inline.
    cdef Py_ssize_t named = <Py_ssize_t>buffer if <int64_t>buffer < batch.n_buffers else batch.n_buffers
    return (size < 0) | ((size > VIEW_INLINE) & ((offset < 0) | (<int64_t>offset + size > batch.sizes[named])))


cdef inline Py_ssize_t first_wrong_view(const Batch *batch) noexcept nogil:
    """Return the first element that is not null and is not inside the buffer it names, or the count."""
    cdef Py_ssize_t index
    cdef bint wrong = False
    for index in range(batch.count):
        wrong |= is_wrong_view(batch, index)
    if not wrong:
        return batch.count
    # The view of a null element may contain anything.
    for index in range(batch.count):
        if not is_null(batch, index) and is_wrong_view(batch, index):
            return index
    return batch.count


cdef inline uint64_t code_at(const Batch *batch, Py_ssize_t index) noexcept nogil:
    """Return the index of an element's value in the dictionary. An index below zero is returned as a large one."""
    cdef uint16_t code
    if batch.width == 1:
        return batch.octets[index]
    if batch.width == 4:
        return <uint32_t>int32_at(batch.octets + 4 * index)
    if batch.width == 8:
        return <uint64_t>int64_at(batch.octets + 8 * index)
    memcpy(&code, batch.octets + 2 * index, 2)
    return code


cdef inline int32_t value_at(
    const Batch *batch, const int32_t *of_values, Py_ssize_t index, int32_t of_null
) noexcept nogil:
    """Return what was found for the value of an element of a dictionary.

    A loop passes a copy of the batch: what it writes is in no copy, so the form is looked at once, and not each time.
    """
    return of_null if is_null(batch, index) else of_values[code_at(batch, index)]


cdef inline Py_ssize_t first_wrong_code(const Batch *batch, uint64_t most) noexcept nogil:
    """Return the first element that is not null and whose index is `most` or more, or the count."""
    cdef Py_ssize_t index
    cdef bint wrong = False
    for index in range(batch.count):
        wrong |= code_at(batch, index) >= most
    if not wrong:
        return batch.count
    # The index of a null element may be anything.
    for index in range(batch.count):
        if not is_null(batch, index) and code_at(batch, index) >= most:
            return index
    return batch.count


cdef inline bint is_ipv4(const Batch *batch) noexcept nogil:
    """Return whether the form of the array has room only for IPv4 addresses."""
    return batch.form == NUMBERS or (batch.form == OCTETS and batch.width == 4)


cdef inline bint is_text(const Batch *batch) noexcept nogil:
    """Return whether the addresses are text and not octets."""
    return (batch.form == POINTERS or batch.form == TEXT32 or batch.form == TEXT64 or batch.form == TEXT_VIEW)


cdef inline bint read_address(const Batch *batch, Py_ssize_t index, Address *address) noexcept nogil:
    """Read one address of a batch that is not a dictionary; return False if the element is not an address."""
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
    """Read up to PIECE addresses; return how many elements precede the first invalid one."""
    cdef Py_ssize_t index
    if batch.form == CODES:
        return read_values(batch, start, count, addresses)
    if batch.form == NOTHING:
        return 0
    for index in range(count):
        if not read_address(batch, start + index, addresses + index):
            return index
    return count


cdef inline Py_ssize_t read_values(
    const Batch *batch, Py_ssize_t start, Py_ssize_t count, Address *addresses
) noexcept nogil:
    """Do the same for the values of a dictionary."""
    cdef Py_ssize_t index
    if batch.dictionary.form == NOTHING:
        return 0
    for index in range(start, start + count):
        if is_null(batch, index) or not read_address(
                batch.dictionary, <Py_ssize_t>code_at(batch, index), addresses + (index - start)):
            return index - start
    return count
