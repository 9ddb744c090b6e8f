"""Arrays of addresses and of results, and the loops over them that run without the GIL. Part of `_engine.pyx`."""

from _thread import allocate_lock
from collections.abc import Sequence

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport strchr, strlen

from address cimport IPV4, MAX_TEXT, Address, write_address
from batch cimport CODES, NUMBERS, OCTETS, PIECE, POINTERS, Batch, read_piece, value_at
from bitmap cimport is_worthwhile, look_up, make_bitmap
from native cimport allocate_array
from direct cimport MOST_PREFIXES, WORTHWHILE, Direct, close_direct, is_member, match_numbers, open_direct
from trie cimport NONE, SMALL, Trie, longest_match
from walk cimport can_run, choose_ranks, match_piece, ranks_forms

from cidrgate.errors import InvalidAddressError

# The match of what is not an address; every other match is an index or NONE.
cdef enum: NO_ADDRESS = -2

# Passed as the answer for invalid elements: the first one ends the search.
cdef enum: ENDS = -1

choose_ranks(NULL)

cdef object _loaded_numpy = None
cdef object _loading = allocate_lock()


cdef object _numpy():
    """Return NumPy, imported for the first array: a single check does not need it, and its import is slow."""
    global _loaded_numpy
    if _loaded_numpy is None:
        with _loading:
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


cdef bint is_masked(object array) except -1:
    """Return whether an array has elements that may be without a value."""
    return type(array) is not _numpy().ndarray and isinstance(array, _numpy().ma.MaskedArray)


cdef object plain_array(object array):
    """Return an array as a plain `numpy.ndarray` over the same memory: a subclass could report wrong attributes."""
    if type(array) is _numpy().ndarray:
        return array
    if is_masked(array):
        raise TypeError("a masked array has elements without a value: pass those that have one, array.compressed()")
    return _numpy().ndarray.view(array, _numpy().ndarray)


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

    cdef bint shares(self, const Py_buffer *buffer) noexcept:
        """Return whether it shares memory with another buffer."""
        cdef size_t own = <size_t>self.buffer.buf, start = <size_t>buffer.buf
        return self.held and own < start + buffer.len and start < own + self.buffer.len


cdef class _AddressArray:
    """An array argument: the objects that own its memory, and the batches that read it one after another."""

    cdef const Batch *batches
    cdef Py_ssize_t n_batches
    cdef Py_ssize_t count           # the addresses of all batches
    cdef Batch batch                # of an array or a list, which has no other
    cdef object source
    cdef list written               # for a list of objects: the texts that were made of them
    cdef _Memory memory
    cdef _ArrowColumn column        # for an Arrow array or stream

    def __cinit__(self, object source):
        self.batches = &self.batch
        self.n_batches = 1
        if isinstance(source, _numpy().ndarray):
            self.of_numpy(plain_array(source))
        elif is_pandas_column(source):
            self.of_pandas(pandas_values(source))
        elif is_arrow(source):
            self.of_arrow(source)
        elif isinstance(source, Sequence) and not isinstance(source, (str, bytes)):
            self.of_objects(list(source), False)
        else:
            raise TypeError(unreadable_array(source))
        if self.column is None:
            self.count = self.batch.count

    def __dealloc__(self):
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

    cdef int of_pandas(self, object values) except -1:
        """Read what `pandas_values` returned."""
        if type(values) is list:
            return self.of_objects(values, True)
        return self.of_arrow(values)

    cdef int of_objects(self, list addresses, bint nullable) except -1:
        """Read pointers into the `str` objects of a list that nobody else has; for other addresses, text is written.

        What is no address becomes empty, which is not an address either. So the first one is found as in every array.
        The same is done with None if the array is nullable; otherwise it is of a wrong type.
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
                text = "" if text is None and nullable else object_text(text, index)
                written.append(text)
            if PyUnicode_IS_COMPACT_ASCII(text):
                self.batch.texts[index] = ascii_text(text)
                (<int64_t *>self.batch.sizes)[index] = PyUnicode_GET_LENGTH(text)
            else:
                self.batch.texts[index] = NULL
                (<int64_t *>self.batch.sizes)[index] = 0
        return 0

    cdef int of_arrow(self, object source) except -1:
        """Read strings, binaries, fixed-size binaries, and dictionaries of them, without copying."""
        self.column = _ArrowColumn(source, "addresses", ADDRESS_FORMS)
        if self.column.refused is not None:
            raise TypeError(not_addresses(self.column.refused))
        self.batches = self.column.batches
        self.n_batches = self.column.n_batches
        self.count = self.column.count
        return 0

    cdef bint reads(self, const Py_buffer *buffer) except -1:
        """Return whether the array shares memory with a buffer to be written, which would change the checked input."""
        if self.column is not None:
            return self.column.shares(buffer)
        return self.memory is not None and self.memory.shares(buffer)

    cdef object unreadable(self, Py_ssize_t index):
        """Return the error for an element that is not an address."""
        cdef object value = self.source[index] if self.column is None else self.column.value(index)
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


cdef str unreadable_array(object given):
    """Return the error message for an argument that is not an array of addresses."""
    kind = type(given).__name__
    if isinstance(given, _numpy().ndarray):
        kind = f"{given.dtype} array of shape {given.shape}"
    return not_addresses(kind)


cdef str not_addresses(str kind):
    """Return the error message for an array of another kind."""
    return (f"addresses must be uint32[n] (IPv4), uint8[n, 16] or uint8[n, 4] (network order), a list of addresses, or "
            f"an Arrow array or stream of strings, binaries or a dictionary of them, not {kind}")


cdef class _Answers:
    """The array for the results: a new array or the caller's."""

    cdef object array
    cdef _Memory memory

    def __cinit__(self, object out, object dtype, Py_ssize_t count, _AddressArray given=None):
        cdef bint is_bool = dtype is _numpy().bool_, fits
        self.array = _numpy().empty(count, dtype=dtype) if out is None else out
        self.memory = _Memory()
        fits = isinstance(self.array, _numpy().ndarray) and not is_masked(self.array) and self.memory.take(
            plain_array(self.array), b"?" if is_bool else b"il", 1 if is_bool else 4, 1, True)
        if not fits or self.memory.buffer.shape[0] != count:
            raise ValueError(f"out must be a writeable contiguous array of {dtype.__name__} of shape ({count},)")
        if out is not None and given is not None and given.reads(&self.memory.buffer):
            raise ValueError("out shares memory with the addresses: pass another array")


cdef Py_ssize_t match_batches(
    const Trie *trie, const Batch *batches, Py_ssize_t n_batches, int32_t *indices
) noexcept nogil:
    """Find the indices of the longest matches; return how many elements precede the first invalid one."""
    cdef Py_ssize_t done = 0, got, at
    for at in range(n_batches):
        got = match_batch(trie, batches + at, indices + done)
        done += got
        if got < batches[at].count:
            break
    return done


cdef Py_ssize_t find_batches(
    const Trie *trie, const Batch *batches, Py_ssize_t n_batches, uint8_t *found, int invalid
) noexcept nogil:
    """Find out which elements have a match; return how many were answered.

    `invalid` is the answer for each invalid element, or ENDS: then the answers end before the first one.
    """
    cdef Py_ssize_t done = 0, got, at
    for at in range(n_batches):
        got = find_batch(trie, batches + at, found + done, invalid)
        done += got
        if got < batches[at].count:
            break
    return done


cdef Py_ssize_t match_batch(const Trie *trie, const Batch *batch, int32_t *indices) noexcept nogil:
    """Do the same as `match_batches` for one batch."""
    cdef int32_t *of_values = match_values(trie, batch)
    cdef Py_ssize_t start = 0, got = PIECE
    cdef Batch own = batch[0]
    cdef int32_t value
    if of_values != NULL:
        for start in range(own.count):
            value = value_at(&own, of_values, start, NO_ADDRESS)
            if value == NO_ADDRESS:
                break
            indices[start] = value
        else:
            start = own.count
        free(of_values)
        return start
    while start < batch.count and got == PIECE:
        got = match_piece(trie, batch, start, min(<Py_ssize_t>PIECE, batch.count - start), indices + start)
        start += got
    return start


cdef Py_ssize_t find_batch(const Trie *trie, const Batch *batch, uint8_t *found, int invalid) noexcept nogil:
    """Do the same as `find_batches` for one batch."""
    cdef int32_t matches[PIECE]
    cdef int32_t *of_values = match_values(trie, batch)
    cdef Py_ssize_t start = 0, got, wanted, index
    cdef Batch own = batch[0]
    cdef int32_t value
    if of_values != NULL:
        for start in range(own.count):
            value = value_at(&own, of_values, start, NO_ADDRESS)
            if value != NO_ADDRESS:
                found[start] = value != NONE
            elif invalid != ENDS:
                found[start] = <uint8_t>invalid
            else:
                break
        else:
            start = own.count
        free(of_values)
        return start
    if batch.count >= WORTHWHILE and 0 < trie.n4 <= MOST_PREFIXES and trie.n6 <= SMALL:
        return find_directly(trie, batch, found, invalid)
    if batch.form == NUMBERS and is_worthwhile(trie, batch.count) and find_by_bitmap(trie, batch, found):
        return batch.count
    while start < batch.count:
        wanted = min(<Py_ssize_t>PIECE, batch.count - start)
        got = match_piece(trie, batch, start, wanted, matches)
        for index in range(got):
            found[start + index] = matches[index] != NONE
        start += got
        if got < wanted:
            if invalid == ENDS:
                break
            found[start] = <uint8_t>invalid
            start += 1
    return start


cdef bint find_by_bitmap(const Trie *trie, const Batch *batch, uint8_t *found) noexcept nogil:
    """Do the same as `find_batch` for very many numbers, by a bitmap made for them; return False without memory."""
    cdef Py_ssize_t start = 0
    cdef uint8_t *bitmap = make_bitmap(trie)
    if bitmap == NULL:
        return False
    while start < batch.count:
        look_up(trie, bitmap, batch.numbers + start, min(<Py_ssize_t>PIECE, batch.count - start), found + start)
        start += PIECE
    free(bitmap)
    return True


cdef int32_t *match_values(const Trie *trie, const Batch *batch) noexcept nogil:
    """Find the longest match of each value of a dictionary, or NO_ADDRESS; the caller frees them.

    Return NULL without a dictionary, without memory, or if there are fewer elements than values.
    """
    cdef int32_t *matches
    cdef Py_ssize_t start = 0, got, wanted
    if batch.form != CODES or batch.dictionary.count > batch.count:
        return NULL
    matches = <int32_t *>allocate_array(batch.dictionary.count, sizeof(int32_t))
    while matches != NULL and start < batch.dictionary.count:
        wanted = min(<Py_ssize_t>PIECE, batch.dictionary.count - start)
        got = match_piece(trie, batch.dictionary, start, wanted, matches + start)
        start += got
        if got < wanted:
            # It may be a value that no element has.
            matches[start] = NO_ADDRESS
            start += 1
    return matches


cdef Py_ssize_t find_directly(const Trie *trie, const Batch *batch, uint8_t *found, int invalid) noexcept nogil:
    """Do the same as `find_batch` for few IPv4 prefixes and many addresses, with tables made for the batch."""
    cdef Address addresses[PIECE]
    cdef Py_ssize_t start = 0, got, wanted, index
    cdef Direct direct
    cdef bint is_direct = open_direct(trie, &direct)
    if is_direct and batch.form == NUMBERS:
        match_numbers(&direct, batch.numbers, batch.count, found)
        start = batch.count
    while start < batch.count:
        wanted = min(<Py_ssize_t>PIECE, batch.count - start)
        got = read_piece(batch, start, wanted, addresses)
        for index in range(got):
            if is_direct and addresses[index].family == IPV4:
                found[start + index] = is_member(&direct, <uint32_t>(addresses[index].hi >> 32))
            else:
                found[start + index] = longest_match(trie, addresses + index) != NONE
        start += got
        if got < wanted:
            if invalid == ENDS:
                break
            found[start] = <uint8_t>invalid
            start += 1
    if is_direct:
        close_direct(&direct)
    return start
