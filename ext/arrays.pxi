"""Arrays of addresses and of results, and the loops over them that run without the GIL. Part of `_engine.pyx`."""

import sys
from collections.abc import Sequence

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport strchr, strlen

from address cimport IPV4, MAX_TEXT, Address, write_address
from batch cimport (
    BINARY32, BINARY64, BINARY_VIEW, NUMBERS, OCTETS, PIECE, POINTERS, TEXT32, TEXT64, TEXT_VIEW, VIEW_SIZE, Batch,
    first_wrong_offset32, first_wrong_offset64, first_wrong_view, is_null, is_text, offset32, offset64, octets_at,
    read_piece,
)
from bitmap cimport is_worthwhile, look_up, make_bitmap
from native cimport allocate_array, int64_at
from direct cimport MOST_PREFIXES, WORTHWHILE, Direct, close_direct, is_member, match_numbers, open_direct
from trie cimport NONE, SMALL, Trie, longest_match
from walk cimport can_run, choose_ranks, match_piece, ranks_forms

from cidrgate.errors import InvalidAddressError

choose_ranks(NULL)

cdef object _loaded_numpy = None


cdef object _numpy():
    """Return NumPy, imported for the first array: a single check does not need it, and its import is slow."""
    global _loaded_numpy
    if _loaded_numpy is None:
        import numpy
        _loaded_numpy = numpy
    return _loaded_numpy


def _vector_forms():
    """Return the names of the vector forms of the search in a small list that this processor can run."""
    cdef list names = []
    cdef int form = 0
    while ranks_forms[form].name != NULL:
        if can_run(ranks_forms[form].name):
            names.append(ranks_forms[form].name.decode())
        form += 1
    return names


def _use_vector_form(str name, /):
    """Select a vector form for the whole process; None selects the fastest. For tests and measurements."""
    cdef bytes wanted = None if name is None else name.encode()
    if not choose_ranks(NULL if wanted is None else <const char *>wanted):
        raise ValueError(f"this processor can run {', '.join(_vector_forms())}, not {name!r}")


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

cdef struct ArrowArray
ctypedef void (*ArrowRelease)(ArrowArray *array) noexcept

cdef struct ArrowArray:
    int64_t length
    int64_t null_count
    int64_t offset
    int64_t n_buffers
    int64_t n_children
    const void **buffers
    void **children
    void *dictionary
    ArrowRelease release
    void *private_data

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

# The most elements of an Arrow array, including those before its offset, so that their bytes fit in an integer.
cdef int64_t MOST_ELEMENTS = PY_SSIZE_T_MAX // VIEW_SIZE - 1

cdef dict ARROW_FORMS = {
    b"u": TEXT32, b"U": TEXT64, b"z": BINARY32, b"Z": BINARY64, b"vu": TEXT_VIEW, b"vz": BINARY_VIEW,
    b"w:4": OCTETS, b"w:16": OCTETS,
}


cdef object plain_array(object array):
    """Return an array as a plain `numpy.ndarray` over the same memory: a subclass could report wrong attributes."""
    return array if type(array) is _numpy().ndarray else _numpy().ndarray.view(array, _numpy().ndarray)


cdef class _Memory:
    """The buffer of an array argument, checked by the buffer's own description."""

    cdef Py_buffer buffer
    cdef bint held

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)

    cdef bint take(self, object array, const char *formats, Py_ssize_t itemsize, int ndim, bint writeable) except -1:
        """Hold an array's memory; return False unless it is contiguous, aligned, and of this format and item size."""
        try:
            PyObject_GetBuffer(
                array, &self.buffer, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writeable else 0))
        except (BufferError, ValueError):
            return False
        self.held = (self.buffer.ndim == ndim and self.buffer.itemsize == itemsize and self.buffer.format != NULL
                     and strlen(self.buffer.format) == 1 and strchr(formats, self.buffer.format[0]) != NULL
                     and <size_t>self.buffer.buf % <size_t>itemsize == 0
                     and not (writeable and self.buffer.readonly))
        if not self.held:
            PyBuffer_Release(&self.buffer)
        return self.held


cdef class _AddressArray:
    """An array argument: the objects that own its memory, and the `Batch` that reads it."""

    cdef Batch batch
    cdef object source
    cdef list written               # for a list of objects: the texts that were made of them
    cdef _Memory memory
    cdef ArrowArray arrow           # moved here; released with this object
    cdef list ranges                # for an Arrow array: address and bytes of each buffer that is read

    def __cinit__(self, object source):
        if isinstance(source, _numpy().ndarray):
            self.of_numpy(plain_array(source))
        elif hasattr(source, "__arrow_c_array__"):
            self.of_arrow(source)
        elif isinstance(source, Sequence) and not isinstance(source, (str, bytes)):
            self.of_objects(tuple(source))
        else:
            raise TypeError(unreadable_array(source))

    def __dealloc__(self):
        if self.arrow.release != NULL:
            self.arrow.release(&self.arrow)
        free(self.batch.texts)
        free(<void *>self.batch.sizes)

    cdef int of_numpy(self, object array) except -1:
        """Read a NumPy array: uint32[n] is IPv4 as numbers, uint8[n, 4] and uint8[n, 16] are octets of addresses."""
        cdef bint numbers = array.ndim == 1
        self.memory = _Memory()
        self.batch.form = NUMBERS if numbers else OCTETS
        if not self.take_addresses(array, numbers):
            # Copy an array that is strided, not aligned, or in another byte order.
            if array.dtype.kind != "u" or array.dtype.itemsize != (4 if numbers else 1):
                raise TypeError(unreadable_array(array))
            dtype = _numpy().uint32 if numbers else _numpy().uint8
            if not self.take_addresses(_numpy().require(array, dtype, "CA"), numbers):
                raise TypeError(unreadable_array(array))
        if not numbers and self.memory.buffer.shape[1] not in (4, 16):
            raise TypeError(unreadable_array(array))
        self.batch.count = self.memory.buffer.shape[0]
        self.batch.width = <int>self.memory.buffer.shape[1] if self.batch.form == OCTETS else 4
        self.batch.numbers = <const uint32_t *>self.memory.buffer.buf
        self.batch.octets = <const uint8_t *>self.memory.buffer.buf
        return 0

    cdef inline bint take_addresses(self, object array, bint numbers) except -1:
        """Hold the memory of an array of addresses; return False if it cannot be read as it is."""
        if numbers:
            return self.memory.take(array, b"IL", 4, 1, False)
        return self.memory.take(array, b"B", 1, 2, False)

    cdef int of_objects(self, tuple addresses) except -1:
        """Read pointers into `str` objects; the text of other addresses is written for it.

        What is no address becomes empty, which is not an address either. So the first one is found as in every array.
        """
        cdef Py_ssize_t index, count = len(addresses)
        cdef list written = None
        cdef object text
        self.source = addresses
        self.batch.form = POINTERS
        self.batch.count = count
        self.batch.texts = <const uint8_t **>allocate_array(count, sizeof(uint8_t *))
        self.batch.sizes = <int64_t *>allocate_array(count, sizeof(int64_t))
        if self.batch.texts == NULL or self.batch.sizes == NULL:
            raise MemoryError
        for index in range(count):
            text = addresses[index]
            if type(text) is not str:
                if written is None:
                    self.written = written = []
                text = object_text(text, index)
                written.append(text)
            if PyUnicode_IS_COMPACT_ASCII(text):
                self.batch.texts[index] = ascii_text(text)
                (<int64_t *>self.batch.sizes)[index] = PyUnicode_GET_LENGTH(text)
            else:
                self.batch.texts[index] = NULL
                (<int64_t *>self.batch.sizes)[index] = 0
        return 0

    cdef int of_arrow(self, object array) except -1:
        """Read strings, binaries and fixed-size binaries through the Arrow C data interface, without copying."""
        cdef object pyarrow = getattr(sys.modules.get("pyarrow"), "Array", ())
        cdef list sizes = None
        if isinstance(array, pyarrow):
            # The interface provides no sizes, but pyarrow does. Its own methods are called, not those of a subclass.
            sizes = pyarrow.buffers(array)
            self.source = pyarrow.__arrow_c_array__(array)
        else:
            self.source = array.__arrow_c_array__()
        # The code of this module is compiled without bounds checks for indexing.
        if type(self.source) is not tuple or len(self.source) != 2:
            raise TypeError(f"__arrow_c_array__ of {type(array).__name__} did not return a pair of capsules")
        cdef ArrowSchema *schema = <ArrowSchema *>PyCapsule_GetPointer(self.source[0], b"arrow_schema")
        cdef ArrowArray *arrow = <ArrowArray *>PyCapsule_GetPointer(self.source[1], b"arrow_array")
        if schema.release == NULL or arrow.release == NULL:
            raise ValueError("the Arrow array was already consumed: pass an array with new capsules")
        cdef bytes form = schema.format
        if form not in ARROW_FORMS or schema.dictionary != NULL:
            raise TypeError(unreadable_array(array))
        # Moved, as the interface requires: no other code can release it while it is read.
        self.arrow = arrow[0]
        arrow.release = NULL
        self.batch.form = ARROW_FORMS[form]
        if self.batch.form == OCTETS:
            self.batch.width = int(form[2:])
        self.ranges = []
        if (not 0 <= self.arrow.length <= MOST_ELEMENTS
                or not 0 <= self.arrow.offset <= MOST_ELEMENTS - self.arrow.length):
            raise contradiction("an invalid length or offset")
        self.batch.count = <Py_ssize_t>self.arrow.length
        if self.batch.count:
            self.check_arrow(sizes)
        return 0

    cdef const uint8_t *arrow_buffer(self, int64_t index, list sizes, int64_t wanted, int64_t *size) except? NULL:
        """Return a buffer and check that it has at least `wanted` bytes, if its size is known; NULL only for 0 bytes.

        `size` is set to its size, or to -1 if the size is not known.
        """
        cdef const uint8_t *start = NULL
        if index < self.arrow.n_buffers:
            start = <const uint8_t *>self.arrow.buffers[index]
        size[0] = -1
        if start == NULL:
            size[0] = 0
        elif sizes is not None:
            if index >= len(sizes) or sizes[index] is None or sizes[index].address != <size_t>start:
                raise contradiction("buffers other than its own")
            size[0] = sizes[index].size
        if 0 <= size[0] < wanted:
            raise contradiction("a buffer that is too short")
        self.ranges.append((<size_t>start, wanted if size[0] < 0 else size[0]))
        return start

    cdef int check_arrow(self, list sizes) except -1:
        """Check every offset, size and buffer number of a non-empty array: the code that reads it relies on them."""
        cdef Batch *batch = &self.batch
        cdef int64_t end = self.arrow.offset + self.arrow.length, size = 0
        cdef bint wide = batch.form == TEXT64 or batch.form == BINARY64
        cdef int64_t width = 8 if wide else 4, last
        cdef Py_ssize_t wrong
        if self.arrow.buffers == NULL:
            raise contradiction("no buffers")
        if self.arrow.null_count > 0 or (self.arrow.null_count < 0 and self.arrow.buffers[0] != NULL):
            batch.valid = self.arrow_buffer(0, sizes, (end + 7) // 8, &size)
            batch.valid_offset = <Py_ssize_t>self.arrow.offset
        if batch.form == OCTETS:
            batch.octets = self.arrow_buffer(1, sizes, end * batch.width, &size) + self.arrow.offset * batch.width
            return 0
        if batch.form == TEXT_VIEW or batch.form == BINARY_VIEW:
            return self.check_views(sizes, end)
        batch.offsets = self.arrow_buffer(1, sizes, (end + 1) * width, &size) + self.arrow.offset * width
        last = offset64(batch, batch.count) if wide else offset32(batch, batch.count)
        batch.octets = self.arrow_buffer(2, sizes, last, &size)
        wrong = first_wrong_offset64(batch) if wide else first_wrong_offset32(batch)
        if wrong < batch.count:
            raise contradiction(f"invalid offsets of element {wrong}")
        if batch.octets == NULL:
            batch.octets = <const uint8_t *>b""
        return 0

    cdef int check_views(self, list sizes, int64_t end) except -1:
        """Check the views of an array of strings or binaries, and read the sizes of the buffers they point to."""
        cdef Batch *batch = &self.batch
        cdef int64_t variadic = self.arrow.n_buffers - 3, size = 0
        cdef Py_ssize_t index, wrong
        if variadic < 0 or variadic > MOST_ELEMENTS or (variadic and self.arrow.buffers[variadic + 2] == NULL):
            raise contradiction("no sizes of its buffers")
        batch.views = self.arrow_buffer(1, sizes, end * VIEW_SIZE, &size) + self.arrow.offset * VIEW_SIZE
        batch.buffers = self.arrow.buffers + 2
        batch.sizes = <int64_t *>allocate_array(<Py_ssize_t>variadic, sizeof(int64_t))
        if batch.sizes == NULL:
            raise MemoryError
        batch.n_buffers = <Py_ssize_t>variadic
        for index in range(batch.n_buffers):
            size = int64_at(<const uint8_t *>self.arrow.buffers[variadic + 2] + 8 * index)
            self.arrow_buffer(2 + index, sizes, size, &(<int64_t *>batch.sizes)[index])
            # The size is only known from the interface itself, which the producer of the array has filled in.
            if batch.sizes[index] < 0:
                (<int64_t *>batch.sizes)[index] = size
        # An invalid buffer number is mapped to this element, so that all views are compared in the same way.
        (<int64_t *>batch.sizes)[batch.n_buffers] = -1
        wrong = first_wrong_view(batch)
        if wrong < batch.count:
            raise contradiction(f"element {wrong} outside its buffers")
        return 0

    cdef bint reads(self, const Py_buffer *buffer) except -1:
        """Return whether the array shares memory with a buffer to be written, which would change the checked input."""
        cdef size_t start = <size_t>buffer.buf
        cdef size_t own
        if self.memory is not None and self.memory.held:
            own = <size_t>self.memory.buffer.buf
            if own < start + buffer.len and start < own + self.memory.buffer.len:
                return True
        if self.ranges is None:
            return False
        return any([place < start + buffer.len and start < place + size for place, size in self.ranges])

    cdef object unreadable(self, Py_ssize_t index):
        """Return the error for an element that is not an address."""
        cdef Py_ssize_t size = 0
        cdef const uint8_t *octets
        cdef object value = None
        if self.batch.form == POINTERS:
            value = self.source[index]
        elif not is_null(&self.batch, index):
            octets = octets_at(&self.batch, index, &size)
            value = octets[:min(size, 4 * QUOTED)]
            if is_text(&self.batch):
                value = value.decode("utf-8", "backslashreplace")
        return InvalidAddressError(f"addresses[{index}]: {not_an_address(value)}")


cdef str object_text(object address, Py_ssize_t index):
    """Return the text of an element that is not exactly a `str`; no text if it is not an address."""
    cdef Address read_address
    cdef uint8_t form[MAX_TEXT]
    try:
        read_object(address, &read_address)
    except InvalidAddressError:
        return ""
    except TypeError as error:
        raise TypeError(no_kind_of_address(f"addresses[{index}]", address)) from error
    return PyUnicode_DecodeASCII(<char *>form, write_address(&read_address, form), NULL)


cdef object contradiction(str what):
    """Return the error for an inconsistent Arrow array."""
    return ValueError(f"the Arrow array of addresses is not consistent: it has {what}; call its validate(full=True)")


cdef str unreadable_array(object given):
    """Return the error message for an argument that is not an array of addresses."""
    kind = type(given).__name__
    if isinstance(given, _numpy().ndarray):
        kind = f"{given.dtype} array of shape {given.shape}"
    return (f"addresses must be uint32[n] (IPv4), uint8[n, 16] or uint8[n, 4] (network order), a list of addresses, or "
            f"an Arrow string or binary array, not {kind}")


cdef class _Answers:
    """The array for the results: a new array or the caller's."""

    cdef object array
    cdef _Memory memory

    def __cinit__(self, object out, object dtype, Py_ssize_t count, _AddressArray given=None):
        cdef bint is_bool = dtype is _numpy().bool_, fits
        self.array = _numpy().empty(count, dtype=dtype) if out is None else out
        self.memory = _Memory()
        fits = isinstance(self.array, _numpy().ndarray) and self.memory.take(
            plain_array(self.array), b"?" if is_bool else b"il", 1 if is_bool else 4, 1, True)
        if not fits or self.memory.buffer.shape[0] != count:
            raise ValueError(f"out must be a writeable contiguous array of {dtype.__name__} of shape ({count},)")
        if out is not None and given is not None and given.reads(&self.memory.buffer):
            raise ValueError("out shares memory with the addresses: pass another array")


cdef Py_ssize_t match_batch(const Trie *trie, const Batch *batch, int32_t *indices) noexcept nogil:
    """Find the indices of the longest matches; return how many elements precede the first invalid one."""
    cdef Py_ssize_t start = 0, got = PIECE
    while start < batch.count and got == PIECE:
        got = match_piece(trie, batch, start, min(<Py_ssize_t>PIECE, batch.count - start), indices + start)
        start += got
    return start


cdef Py_ssize_t find_batch(const Trie *trie, const Batch *batch, uint8_t *found) noexcept nogil:
    """Find out which elements have a match; return how many elements precede the first invalid one."""
    cdef int32_t matches[PIECE]
    cdef Py_ssize_t start = 0, got = PIECE, index
    if batch.count >= WORTHWHILE and 0 < trie.n4 <= MOST_PREFIXES and trie.n6 <= SMALL:
        return find_directly(trie, batch, found)
    if batch.form == NUMBERS and is_worthwhile(trie, batch.count) and find_by_bitmap(trie, batch, found):
        return batch.count
    while start < batch.count and got == PIECE:
        got = match_piece(trie, batch, start, min(<Py_ssize_t>PIECE, batch.count - start), matches)
        for index in range(got):
            found[start + index] = matches[index] != NONE
        start += got
    return start


cdef bint find_by_bitmap(const Trie *trie, const Batch *batch, uint8_t *found) noexcept nogil:
    """Do the same as `find_batch` for very many numbers, with a bitmap made for the batch; return False without memory."""
    cdef Py_ssize_t start = 0
    cdef uint8_t *bitmap = make_bitmap(trie)
    if bitmap == NULL:
        return False
    while start < batch.count:
        look_up(trie, bitmap, batch.numbers + start, min(<Py_ssize_t>PIECE, batch.count - start), found + start)
        start += PIECE
    free(bitmap)
    return True


cdef Py_ssize_t find_directly(const Trie *trie, const Batch *batch, uint8_t *found) noexcept nogil:
    """Do the same as `find_batch` for few IPv4 prefixes and many addresses, with tables made for the batch."""
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
