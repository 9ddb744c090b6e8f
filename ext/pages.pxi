"""Pages of Parquet files: texts and packed numbers become the buffers of Arrow arrays. Part of `_engine.pyx`.

`cidrgate.replay.parquet` reads files; the loops over octets are here. The encodings are specified by Apache Parquet
(https://parquet.apache.org/docs/file-format/data-pages/encodings/): PLAIN texts, each behind its size in four bytes,
and numbers in the hybrid of runs and packed bits. Metadata and the headers of pages are structs of the compact protocol
of Apache Thrift (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md). A file is not
trusted: every read is checked against the end.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from native cimport little32, little64

cdef enum:
    # Most texts of a log are short: they are copied as one vector, with what follows them.
    WIDE_COPY = 16
    # The most octets of the texts of an Arrow array with 32-bit offsets.
    MOST_OCTETS = 2147483647
    # A number in the hybrid encoding has at most so many bits.
    MOST_BITS = 32
    # How many structs and lists can be inside each other; those of Parquet are not half as deep.
    DEEPEST = 16

# The kinds of values in the compact protocol. A map is in no struct of Parquet.
cdef enum:
    TRUE = 1
    FALSE = 2
    BYTE = 3
    SHORT = 4
    LONG = 6
    DOUBLE = 7
    OCTETS_OF_TEXT = 8
    LIST = 9
    SET = 10
    STRUCT = 12
    # A list with so many values or more has their number behind its head.
    LONG_LIST = 15


@cython.final
cdef class _Texts:
    """Texts that are gathered from pages, as the offsets and the octets of an Arrow array of strings.

    Args:
        room: How many texts there will be at most.
        expected: How many octets they will probably have.
    """

    cdef Py_ssize_t room
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t size            # of the octets
    cdef Py_ssize_t capacity        # for octets, without the end that a wide copy may write to
    cdef object offsets             # int32[room + 1]
    cdef object octets              # uint8[capacity + WIDE_COPY]

    def __cinit__(self, Py_ssize_t room, Py_ssize_t expected=0):
        if not (0 <= room < MOST_OCTETS and expected >= 0):
            raise ValueError(f"there cannot be {room} texts in an array")
        self.room = room
        self.capacity = min(expected, <Py_ssize_t>MOST_OCTETS)
        self.offsets = _numpy().empty(room + 1, _numpy().int32)
        self.offsets[0] = 0
        self.octets = _numpy().empty(self.capacity + WIDE_COPY, _numpy().uint8)

    cdef int reserve(self, Py_ssize_t count, Py_ssize_t size) except -1:
        """Make room for octets, and check that there is room for texts."""
        if not 0 <= count <= self.room - self.count:
            raise ValueError(f"there is no room for {count} more texts")
        if size <= self.capacity - self.size:
            return 0
        if size > PY_SSIZE_T_MAX - WIDE_COPY - self.size:
            raise MemoryError
        # Twice as much may be more than an integer of a 32-bit target holds.
        self.capacity = max(
            min(self.capacity, (PY_SSIZE_T_MAX - WIDE_COPY) // 2) * 2, self.size + size)
        octets = _numpy().empty(self.capacity + WIDE_COPY, _numpy().uint8)
        octets[:self.size] = self.octets[:self.size]
        self.octets = octets
        return 0

    cdef int end(self, Py_ssize_t count, Py_ssize_t size) except -1:
        """Count texts that were written."""
        self.count += count
        self.size = size
        return 0

    def plain(self, object page, Py_ssize_t start, Py_ssize_t count, /):
        """Add the next texts of a page; return where the one after them begins.

        Raises:
            ValueError: If the page ends before, or if the texts do not fit into an array.
        """
        cdef Py_buffer given
        cdef _Memory offsets = _Memory(), octets = _Memory()
        cdef Py_ssize_t at = start, size
        PyObject_GetBuffer(page, &given, PyBUF_SIMPLE)
        try:
            if not 0 <= start <= given.len:
                raise ValueError("the page ends before its texts")
            self.reserve(count, given.len - start)
            offsets.take(self.offsets, b"il", 4, 1, True)
            octets.take(self.octets, b"B", 1, 1, True)
            with nogil:
                size = copy_plain(
                    <const uint8_t *>given.buf, &at, given.len, count,
                    <int32_t *>offsets.buffer.buf + self.count, <uint8_t *>octets.buffer.buf, self.size)
        finally:
            PyBuffer_Release(&given)
        if size < 0:
            raise ValueError("the page ends within a text")
        self.end(count, size)
        return at

    def chosen(self, _Texts values not None, object codes, /):
        """Add values of a dictionary.

        Args:
            values: The dictionary.
            codes: int32[n], the places of the values in it.

        Raises:
            ValueError: If a value is outside the dictionary, or if the texts do not fit into an array.
        """
        cdef _Memory offsets = _Memory(), octets = _Memory(), places = _Memory(), of_values = _Memory()
        cdef _Memory begins = _Memory()
        cdef Py_ssize_t count
        cdef int64_t size
        if not places.take(codes, b"il", 4, 1, False):
            raise ValueError("codes must be a contiguous int32[n]")
        count = places.buffer.shape[0]
        # Checked before their octets are added up: so few texts cannot have more than an integer of 64 bits holds.
        self.reserve(count, 0)
        begins.take(values.offsets, b"il", 4, 1, False)
        with nogil:
            size = size_of_chosen(
                <const int32_t *>places.buffer.buf, count, <const int32_t *>begins.buffer.buf, values.count)
        if size < 0:
            raise ValueError("a value is outside its dictionary")
        if size > MOST_OCTETS - self.size:
            raise ValueError("the texts do not fit into an array")
        self.reserve(count, <Py_ssize_t>size)
        of_values.take(values.octets, b"B", 1, 1, False)
        offsets.take(self.offsets, b"il", 4, 1, True)
        octets.take(self.octets, b"B", 1, 1, True)
        with nogil:
            size = copy_chosen(
                <const int32_t *>places.buffer.buf, count, <const int32_t *>begins.buffer.buf,
                <const uint8_t *>of_values.buffer.buf, <int32_t *>offsets.buffer.buf + self.count,
                <uint8_t *>octets.buffer.buf, self.size)
        self.end(count, <Py_ssize_t>size)

    def buffers(self):
        """Return the offsets, int32[count + 1], and the octets."""
        return self.offsets[:self.count + 1], self.octets[:self.size]


cdef Py_ssize_t copy_plain(
    const uint8_t *page, Py_ssize_t *start, Py_ssize_t end, Py_ssize_t count, int32_t *offsets, uint8_t *octets,
    Py_ssize_t filled
) noexcept nogil:
    """Copy texts behind the first `filled` octets; return how many octets there are now, or -1 if the page ends before.

    There is room for the rest of the page and WIDE_COPY octets more.
    """
    cdef Py_ssize_t at = start[0], index, size
    for index in range(count):
        if end - at < 4:
            return -1
        size = <int32_t>little32(page + at)
        at += 4
        if not 0 <= size <= end - at or size > MOST_OCTETS - filled:
            return -1
        if size <= WIDE_COPY <= end - at:
            memcpy(octets + filled, page + at, WIDE_COPY)
        else:
            memcpy(octets + filled, page + at, size)
        at += size
        filled += size
        offsets[index + 1] = <int32_t>filled
    start[0] = at
    return filled


cdef int64_t size_of_chosen(
    const int32_t *codes, Py_ssize_t count, const int32_t *begins, Py_ssize_t values
) noexcept nogil:
    """Return how many octets the chosen values have, or -1 if one is outside the dictionary."""
    cdef int64_t size = 0
    cdef Py_ssize_t index
    for index in range(count):
        if <uint32_t>codes[index] >= <uint64_t>values:
            return -1
        size += begins[codes[index] + 1] - begins[codes[index]]
    return size


cdef Py_ssize_t copy_chosen(
    const int32_t *codes, Py_ssize_t count, const int32_t *begins, const uint8_t *values, int32_t *offsets,
    uint8_t *octets, Py_ssize_t filled
) noexcept nogil:
    """Copy values of a dictionary behind the first `filled` octets; return how many octets there are now.

    There is room for them and WIDE_COPY octets more, and so many can be read behind the values too.
    """
    cdef Py_ssize_t index, size
    for index in range(count):
        size = begins[codes[index] + 1] - begins[codes[index]]
        memcpy(octets + filled, values + begins[codes[index]], WIDE_COPY if size <= WIDE_COPY else size)
        filled += size
        offsets[index + 1] = <int32_t>filled
    return filled


def _packed_numbers(object page, Py_ssize_t start, int width, Py_ssize_t count, /):
    """Return numbers of some bits each, in the hybrid of runs and packed bits, as int32[count].

    Args:
        page: The page.
        start: Where they begin.
        width: Their bits, 0 to 32.
        count: How many there are.

    Raises:
        ValueError: If the page ends before.
    """
    cdef Py_buffer given
    cdef _Answers results
    cdef bint whole = False
    if not 0 <= width <= MOST_BITS or count < 0:
        raise ValueError(f"there are no numbers of {width} bits")
    results = _Answers(None, _numpy().int32, count)
    PyObject_GetBuffer(page, &given, PyBUF_SIMPLE)
    try:
        if 0 <= start <= given.len:
            with nogil:
                whole = unpack_numbers(
                    <const uint8_t *>given.buf, start, given.len, width, count, <int32_t *>results.memory.buffer.buf)
    finally:
        PyBuffer_Release(&given)
    if not whole:
        raise ValueError("the page ends before its numbers")
    return results.array


cdef bint unpack_numbers(
    const uint8_t *page, Py_ssize_t at, Py_ssize_t end, int width, Py_ssize_t count, int32_t *numbers
) noexcept nogil:
    """Unpack numbers; return False if the page ends before."""
    # In 64 bits, whatever the target: a head has up to 35, and a page may have more bits than 32 count.
    cdef int64_t done = 0, here, index, size, left
    cdef uint64_t head
    cdef uint32_t value
    cdef int shift
    if width == 0:
        for index in range(count):
            numbers[index] = 0
        return True
    while done < count:
        head = 0
        shift = 0
        while True:
            if at >= end or shift > 28:
                return False
            head |= <uint64_t>(page[at] & 127) << shift
            shift += 7
            at += 1
            if not page[at - 1] & 128:
                break
        if head & 1:
            # Groups of eight numbers; the last group may have more than are wanted.
            left = end - at
            here = min(<int64_t>(head >> 1) * 8, count - done)
            if here * width > left * 8:
                return False
            for index in range(here):
                numbers[done + index] = <int32_t>bits_at(page + at, end - at, index * width, width)
            size = <int64_t>(head >> 1) * width
            at += <Py_ssize_t>min(size, left)
        else:
            here = min(<int64_t>(head >> 1), count - done)
            size = (width + 7) // 8
            if end - at < size:
                return False
            value = 0
            for index in range(size):
                value |= <uint32_t>page[at + index] << 8 * index
            at += <Py_ssize_t>size
            for index in range(here):
                numbers[done + index] = <int32_t>value
        done += here
    return True


cdef inline uint32_t bits_at(const uint8_t *packed, Py_ssize_t size, int64_t bit, int width) noexcept nogil:
    """Return the number that begins at a bit of packed numbers, the lowest bits of a byte first."""
    cdef uint64_t word = 0
    cdef Py_ssize_t first = <Py_ssize_t>(bit >> 3), index
    if size - first >= 8:
        word = little64(packed + first)
    else:
        for index in range(size - first):
            word |= <uint64_t>packed[first + index] << 8 * index
    return <uint32_t>(word >> (bit & 7) & ((<uint64_t>1 << width) - 1))


def _compact_struct(object octets, Py_ssize_t start, /):
    """Return a struct of Thrift's compact protocol, and where it ends.

    Returns:
        A dict of the fields by their numbers: bool, int, bytes, list, or dict for a struct; None for a double.

    Raises:
        EOFError: If the octets end before the struct.
        ValueError: If there is no struct.
    """
    cdef Py_buffer given
    cdef Py_ssize_t at = start
    PyObject_GetBuffer(octets, &given, PyBUF_SIMPLE)
    try:
        if not 0 <= start <= given.len:
            raise EOFError
        return compact_struct(<const uint8_t *>given.buf, &at, given.len, 0), at
    finally:
        PyBuffer_Release(&given)


cdef dict compact_struct(const uint8_t *octets, Py_ssize_t *at, Py_ssize_t end, int depth):
    """Read a struct."""
    cdef dict fields = {}
    cdef int64_t number = 0
    cdef int head = compact_octet(octets, at, end)
    while head:
        number = number + (head >> 4) if head >> 4 else compact_integer(octets, at, end)
        fields[number] = compact_value(octets, at, end, head & 15, depth, False)
        head = compact_octet(octets, at, end)
    return fields


cdef object compact_value(
    const uint8_t *octets, Py_ssize_t *at, Py_ssize_t end, int kind, int depth, bint listed
):
    """Read a value. A bool is its kind, but has an octet in a list."""
    cdef Py_ssize_t start
    if kind == TRUE or kind == FALSE:
        return (compact_octet(octets, at, end) if listed else kind) == TRUE
    if kind == BYTE:
        return compact_octet(octets, at, end)
    if SHORT <= kind <= LONG:
        return compact_integer(octets, at, end)
    if kind == DOUBLE:
        compact_skip(at, end, 8)
        return None
    if kind == OCTETS_OF_TEXT:
        start = compact_skip(at, end, compact_varint(octets, at, end))
        return octets[start:at[0]]
    if depth < DEEPEST and (kind == LIST or kind == SET):
        return compact_list(octets, at, end, depth + 1)
    if depth < DEEPEST and kind == STRUCT:
        return compact_struct(octets, at, end, depth + 1)
    raise ValueError("a struct has a value of a kind that Parquet does not have")


cdef list compact_list(const uint8_t *octets, Py_ssize_t *at, Py_ssize_t end, int depth):
    """Read a list."""
    cdef list values = []
    cdef int head = compact_octet(octets, at, end)
    cdef uint64_t left = <uint64_t>(head >> 4)
    if left == LONG_LIST:
        left = compact_varint(octets, at, end)
    while left:
        values.append(compact_value(octets, at, end, head & 15, depth, True))
        left -= 1
    return values


cdef int compact_octet(const uint8_t *octets, Py_ssize_t *at, Py_ssize_t end) except -1:
    """Read an octet."""
    if at[0] >= end:
        raise EOFError
    at[0] += 1
    return octets[at[0] - 1]


cdef Py_ssize_t compact_skip(Py_ssize_t *at, Py_ssize_t end, uint64_t size) except -1:
    """Skip octets; return where they begin."""
    if size > <uint64_t>(end - at[0]):
        raise EOFError
    at[0] += <Py_ssize_t>size
    return at[0] - <Py_ssize_t>size


cdef uint64_t compact_varint(const uint8_t *octets, Py_ssize_t *at, Py_ssize_t end) except? 0:
    """Read a number of seven bits an octet, the lowest first."""
    cdef uint64_t value = 0
    cdef int shift = 0, octet = 128
    while octet & 128:
        if shift > 63:
            raise ValueError("a number is too long")
        octet = compact_octet(octets, at, end)
        value |= <uint64_t>(octet & 127) << shift
        shift += 7
    return value


cdef int64_t compact_integer(const uint8_t *octets, Py_ssize_t *at, Py_ssize_t end) except? 0:
    """Read a number whose sign is its lowest bit."""
    cdef uint64_t value = compact_varint(octets, at, end)
    return <int64_t>(value >> 1) ^ -<int64_t>(value & 1)
