"""Arrays of addresses and of answers, and the loops over them that run without the GIL. Part of `_engine.pyx`."""

from collections.abc import Sequence

import numpy

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc

from address cimport IPV4, Address
from batch cimport (
    BINARY32, BINARY64, BINARY_VIEW, NUMBERS, OCTETS, PIECE, POINTERS, TEXT32, TEXT64, TEXT_VIEW, Batch, StringView,
    read_piece,
)
from direct cimport MOST_PREFIXES, WORTHWHILE, Direct, close_direct, is_member, match_numbers, open_direct
from trie cimport NONE, SMALL, Trie, longest_match
from walk cimport can_run, choose_ranks, match_piece, ranks_forms

from cidrgate.errors import InvalidAddressError

choose_ranks(NULL)


def _vector_forms():
    """The names of the forms this processor can run of the search for many addresses in a small list."""
    cdef list names = []
    cdef int form = 0
    while ranks_forms[form].name != NULL:
        if can_run(ranks_forms[form].name):
            names.append(ranks_forms[form].name.decode())
        form += 1
    return names


def _use_vector_form(str name, /):
    """Let the whole process use a form, the fastest one for None: for tests and measurements."""
    cdef bytes wanted = None if name is None else name.encode()
    if not choose_ranks(NULL if wanted is None else <const char *>wanted):
        raise ValueError(f"this processor runs {', '.join(_vector_forms())}, not {name!r}")


cdef struct ArrowSchema:
    const char *format
    const char *name
    const char *metadata
    int64_t flags
    int64_t n_children
    void **children
    void *dictionary
    void *release
    void *private_data

cdef struct ArrowArray:
    int64_t length
    int64_t null_count
    int64_t offset
    int64_t n_buffers
    int64_t n_children
    const void **buffers
    void **children
    void *dictionary
    void *release
    void *private_data

cdef dict ARROW_FORMS = {
    b"u": TEXT32, b"U": TEXT64, b"z": BINARY32, b"Z": BINARY64, b"vu": TEXT_VIEW, b"vz": BINARY_VIEW,
    b"w:4": OCTETS, b"w:16": OCTETS,
}


cdef class _AddressArray:
    """An array argument: the objects that keep its memory, and the `Batch` that reads it."""

    cdef Batch batch
    cdef object source
    cdef Py_buffer buffer
    cdef bint buffered

    def __cinit__(self, object source):
        if isinstance(source, numpy.ndarray):
            self.of_numpy(source)
        elif hasattr(source, "__arrow_c_array__"):
            self.of_arrow(source)
        elif isinstance(source, Sequence) and not isinstance(source, (str, bytes)):
            self.of_texts(tuple(source))
        else:
            raise TypeError(unreadable_array(source))

    def __dealloc__(self):
        if self.buffered:
            PyBuffer_Release(&self.buffer)
        free(self.batch.texts)
        free(self.batch.sizes)

    cdef int of_numpy(self, object array) except -1:
        """uint32[n] is IPv4 as numbers, uint8[n, 4] and uint8[n, 16] are octets in network order."""
        if array.dtype.kind == "u" and array.dtype.itemsize == 4 and array.ndim == 1:
            self.batch.form = NUMBERS
            array = numpy.ascontiguousarray(array, dtype=numpy.uint32)
        elif array.dtype == numpy.uint8 and array.ndim == 2 and array.shape[1] in (4, 16):
            self.batch.form = OCTETS
            self.batch.width = array.shape[1]
            array = numpy.ascontiguousarray(array)
        else:
            raise TypeError(unreadable_array(array))
        PyObject_GetBuffer(array, &self.buffer, PyBUF_SIMPLE)
        self.buffered = True
        # The buffer's own size, as the array's shape is anybody's to change.
        self.batch.count = self.buffer.len // (4 if self.batch.form == NUMBERS else self.batch.width)
        self.batch.numbers = <const uint32_t *>self.buffer.buf
        self.batch.octets = <const uint8_t *>self.buffer.buf
        return 0

    cdef int of_texts(self, tuple texts) except -1:
        """Pointers into the `str` objects; text that is not ASCII counts as empty, which is no address."""
        cdef Py_ssize_t index, count = len(texts)
        self.source = texts
        self.batch.form = POINTERS
        self.batch.count = count
        self.batch.texts = <const uint8_t **>malloc((count + 1) * sizeof(uint8_t *))
        self.batch.sizes = <int64_t *>malloc((count + 1) * sizeof(int64_t))
        if self.batch.texts == NULL or self.batch.sizes == NULL:
            raise MemoryError
        for index in range(count):
            text = texts[index]
            if not isinstance(text, str):
                raise TypeError(f"addresses[{index}] is {type(text).__name__}, not str")
            if PyUnicode_IS_COMPACT_ASCII(text):
                self.batch.texts[index] = ascii_text(text)
                (<int64_t *>self.batch.sizes)[index] = PyUnicode_GET_LENGTH(text)
            else:
                self.batch.texts[index] = NULL
                (<int64_t *>self.batch.sizes)[index] = 0
        return 0

    cdef int of_arrow(self, object array) except -1:
        """Strings, binaries and binaries of fixed size by the Arrow C data interface, without copying."""
        self.source = array.__arrow_c_array__()
        cdef ArrowSchema *schema = <ArrowSchema *>PyCapsule_GetPointer(self.source[0], b"arrow_schema")
        cdef ArrowArray *arrow = <ArrowArray *>PyCapsule_GetPointer(self.source[1], b"arrow_array")
        cdef bytes form = schema.format
        cdef Batch *batch = &self.batch
        if form not in ARROW_FORMS or schema.dictionary != NULL:
            raise TypeError(unreadable_array(array))
        batch.form = ARROW_FORMS[form]
        batch.count = arrow.length
        batch.valid = <const uint8_t *>arrow.buffers[0] if arrow.null_count != 0 else NULL
        batch.valid_offset = arrow.offset
        if batch.form == OCTETS:
            batch.width = int(form[2:])
            batch.octets = <const uint8_t *>arrow.buffers[1] + arrow.offset * batch.width
        elif batch.form == TEXT_VIEW or batch.form == BINARY_VIEW:
            batch.views = <const StringView *>arrow.buffers[1] + arrow.offset
            batch.buffers = arrow.buffers + 2
        else:
            batch.offsets32 = <const int32_t *>arrow.buffers[1] + arrow.offset
            batch.offsets64 = <const int64_t *>arrow.buffers[1] + arrow.offset
            batch.octets = <const uint8_t *>arrow.buffers[2]
        return 0

    cdef object unreadable(self, object given, Py_ssize_t index):
        """The error of the element that is no address."""
        # A list may have changed while others ran.
        value = self.source[index] if self.batch.form == POINTERS else given[index]
        if hasattr(value, "as_py"):
            value = value.as_py()
        return InvalidAddressError(f"addresses[{index}]: {not_an_address(value)}")


cdef str unreadable_array(object given):
    """What to say of an argument that is no array of addresses."""
    kind = type(given).__name__
    if isinstance(given, numpy.ndarray):
        kind = f"{given.dtype} array of shape {given.shape}"
    return (f"addresses are uint32[n] (IPv4), uint8[n, 16] or uint8[n, 4] (network order), a list of str, or an Arrow "
            f"string or binary array, not {kind}")


cdef class _Answers:
    """The array that answers go to: a new one, or the caller's."""

    cdef object array
    cdef Py_buffer buffer
    cdef bint buffered

    def __cinit__(self, object out, object dtype, Py_ssize_t count):
        if out is None:
            out = numpy.empty(count, dtype=dtype)
        elif (not isinstance(out, numpy.ndarray) or out.dtype != dtype or out.shape != (count,)
                or not out.flags.c_contiguous or not out.flags.writeable):
            raise ValueError(f"out is a writeable contiguous array of {dtype.__name__} of shape ({count},)")
        PyObject_GetBuffer(out, &self.buffer, PyBUF_WRITABLE)
        self.buffered = True
        if self.buffer.len != count * self.buffer.itemsize:
            raise ValueError("out changed its shape meanwhile")
        self.array = out

    def __dealloc__(self):
        if self.buffered:
            PyBuffer_Release(&self.buffer)


cdef Py_ssize_t match_batch(const Trie *trie, const Batch *batch, int32_t *indices) noexcept nogil:
    """Indices of longest matches; returns how many before an element that is no address."""
    cdef Py_ssize_t start = 0, got = PIECE
    while start < batch.count and got == PIECE:
        got = match_piece(trie, batch, start, min(<Py_ssize_t>PIECE, batch.count - start), indices + start)
        start += got
    return start


cdef Py_ssize_t find_batch(const Trie *trie, const Batch *batch, uint8_t *found) noexcept nogil:
    """Whether there are matches; returns how many answers before an element that is no address."""
    cdef int32_t matches[PIECE]
    cdef Py_ssize_t start = 0, got = PIECE, index
    if batch.count >= WORTHWHILE and 0 < trie.n4 <= MOST_PREFIXES and trie.n6 <= SMALL:
        return find_directly(trie, batch, found)
    while start < batch.count and got == PIECE:
        got = match_piece(trie, batch, start, min(<Py_ssize_t>PIECE, batch.count - start), matches)
        for index in range(got):
            found[start + index] = matches[index] != NONE
        start += got
    return start


cdef Py_ssize_t find_directly(const Trie *trie, const Batch *batch, uint8_t *found) noexcept nogil:
    """`find_batch` for few IPv4 prefixes and many addresses, through tables made for the batch."""
    cdef Address addresses[PIECE]
    cdef Py_ssize_t start = 0, got = PIECE, index
    cdef Direct direct
    cdef bint is_direct = open_direct(trie, &direct)
    if is_direct and batch.form == NUMBERS:
        match_numbers(&direct, batch.numbers, batch.count, found)
        start = batch.count
    while start < batch.count and got == PIECE:
        got = read_piece(batch, start, min(<Py_ssize_t>PIECE, batch.count - start), addresses)
        for index in range(got):
            if is_direct and addresses[index].family == IPV4:
                found[start + index] = is_member(&direct, <uint32_t>(addresses[index].hi >> 32))
            else:
                found[start + index] = longest_match(trie, addresses + index) != NONE
        start += got
    if is_direct:
        close_direct(&direct)
    return start
