"""Arrow arrays and streams: taken through the C interfaces, checked, and read as batches. Part of `_engine.pyx`.

The interfaces are specified by Apache Arrow: the C data interface (`ArrowSchema`, `ArrowArray`), the C stream interface
(`ArrowArrayStream`), and the PyCapsule interface (`__arrow_c_array__`, `__arrow_c_stream__`). An array is moved out of
its capsule, so that no other code can release it while it is read, and is released with the object that reads it.

An array is not trusted. Its length, offset, offsets, views and dictionary indices are checked once, before anything is
read. The interface has no sizes of buffers; pyarrow reports them for its own arrays.
"""

import os
import sys

from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid
from libc.errno cimport ENOMEM
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memset

from batch cimport (
    BINARY32, BINARY64, BINARY_VIEW, CODES, NOTHING, OCTETS, TEXT32, TEXT64, TEXT_VIEW, VIEW_SIZE, Batch, Form,
    code_at, first_wrong_code, first_wrong_offset32, first_wrong_offset64, first_wrong_view, is_null, is_text, offset32,
    offset64, octets_at,
)
from native cimport allocate_array, int64_at

cdef struct ArrowSchema
cdef struct ArrowArray
cdef struct ArrowArrayStream
ctypedef void (*ReleaseSchema)(ArrowSchema *schema) noexcept
ctypedef void (*ReleaseArray)(ArrowArray *array) noexcept
ctypedef int (*GetSchema)(ArrowArrayStream *stream, ArrowSchema *schema) noexcept nogil
ctypedef int (*GetNext)(ArrowArrayStream *stream, ArrowArray *array) noexcept nogil
ctypedef const char *(*GetLastError)(ArrowArrayStream *stream) noexcept nogil
ctypedef void (*ReleaseStream)(ArrowArrayStream *stream) noexcept nogil

cdef struct ArrowSchema:
    const char *format
    const char *name
    const char *metadata
    int64_t flags
    int64_t n_children
    ArrowSchema **children
    ArrowSchema *dictionary
    ReleaseSchema release
    void *private_data

cdef struct ArrowArray:
    int64_t length
    int64_t null_count
    int64_t offset
    int64_t n_buffers
    int64_t n_children
    const void **buffers
    ArrowArray **children
    ArrowArray *dictionary
    ReleaseArray release
    void *private_data

cdef struct ArrowArrayStream:
    GetSchema get_schema
    GetNext get_next
    GetLastError get_last_error
    ReleaseStream release
    void *private_data

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

# The most elements of an Arrow array, including those before its offset, so that their bytes fit in an integer.
cdef int64_t MOST_ELEMENTS = PY_SSIZE_T_MAX // VIEW_SIZE - 1

# The forms of the elements by the format strings of the interface: for addresses, and for names of accounts.
cdef dict ADDRESS_FORMS = {
    b"u": TEXT32, b"U": TEXT64, b"vu": TEXT_VIEW, b"z": BINARY32, b"Z": BINARY64, b"vz": BINARY_VIEW,
    b"w:4": OCTETS, b"w:16": OCTETS, b"n": NOTHING,
}
cdef dict NAME_FORMS = {b"u": TEXT32, b"U": TEXT64, b"vu": TEXT_VIEW, b"n": NOTHING}
# The size of an index into a dictionary, and how many values it can name.
cdef dict CODE_SIZES = {
    b"c": (1, 2**7), b"C": (1, 2**8), b"s": (2, 2**15), b"S": (2, 2**16),
    b"i": (4, 2**31), b"I": (4, 2**32), b"l": (8, 2**63), b"L": (8, 2**64 - 1),
}

# The key of the name of an extension type in the metadata of a schema.
cdef bytes EXTENSION_NAME = b"ARROW:extension:name"
# Such names are those of the types that Apache Arrow defines itself. None of them has addresses or accounts as values.
cdef str CANONICAL = "arrow."
# Except for these: what users have defined in Python and R.
cdef tuple DEFINED_BY_USERS = ("arrow.py_extension_type", "arrow.r.vctrs")

# What a schema says about the arrays that belong to it.
cdef struct Layout:
    Form form               # of the elements, or of the values of their dictionary
    int width               # of the elements, if they are OCTETS
    int code_width          # of an index into the dictionary; 0 without a dictionary
    uint64_t codes          # how many values an index can name


cdef bint is_arrow(object source) except -1:
    """Return whether an argument is an Arrow array or stream."""
    if type(source) is list or type(source) is tuple:
        return False
    return hasattr(source, "__arrow_c_array__") or hasattr(source, "__arrow_c_stream__")


cdef void *capsule_content(object capsule, const char *name, object source, str method) except NULL:
    """Return the pointer in a capsule of this name."""
    if not PyCapsule_IsValid(capsule, name):
        raise TypeError(f"{method} of {type(source).__name__} did not return a capsule named {name.decode()}")
    return PyCapsule_GetPointer(capsule, name)


cdef bint read_layout(const ArrowSchema *schema, dict forms, Layout *layout) except -1:
    """Read a schema; return False if its elements have none of these forms."""
    cdef bytes form = b"" if schema.format == NULL else schema.format
    layout.code_width = 0
    if canonical_extension(schema) is not None:
        return False
    if schema.dictionary != NULL:
        if form not in CODE_SIZES or schema.dictionary.dictionary != NULL or schema.dictionary.format == NULL:
            return False
        if canonical_extension(schema.dictionary) is not None:
            return False
        layout.code_width, layout.codes = CODE_SIZES[form]
        form = schema.dictionary.format
    if form not in forms:
        return False
    layout.form = forms[form]
    layout.width = int(form[2:]) if layout.form == OCTETS else 0
    return True


cdef str arrow_kind(const ArrowSchema *schema):
    """Return the type of a schema, as the interface writes it, for an error message."""
    cdef bytes form = b"" if schema.format == NULL else schema.format
    extension = canonical_extension(schema)
    if extension is not None:
        return extension_kind(extension)
    text = repr(form[:QUOTED].decode("utf-8", "backslashreplace"))
    if schema.dictionary != NULL:
        return f"dictionary of {arrow_kind(schema.dictionary)}"
    return f"Arrow format {text}"


cdef str canonical_extension(const ArrowSchema *schema):
    """Return the name of the canonical extension type of a schema, or None."""
    cdef const char *at = schema.metadata
    cdef int32_t pairs = 0, size = 0
    cdef bint named
    cdef bytes name
    if at == NULL:
        return None
    at = read_size(at, &pairs)
    for _ in range(pairs):
        at = read_size(at, &size)
        named = size == len(EXTENSION_NAME) and memcmp(at, <const char *>EXTENSION_NAME, <size_t>size) == 0
        at = read_size(at + size, &size)
        if named:
            name = at[:size]
            if is_canonical(name.decode("utf-8", "replace")):
                return name.decode("utf-8", "replace")
        at += size
    return None


cdef const char *read_size(const char *at, int32_t *size) except NULL:
    """Read a number of the metadata of a schema; return what follows it."""
    memcpy(size, at, sizeof(int32_t))
    if size[0] < 0:
        raise ValueError("the metadata of an Arrow schema is not consistent: it has a size below zero")
    return at + sizeof(int32_t)


cdef bint is_canonical(str extension) except -1:
    """Return whether an extension type is one that Apache Arrow defines itself, by its name."""
    return extension.startswith(CANONICAL) and extension not in DEFINED_BY_USERS


cdef str extension_kind(str extension):
    """Return an extension type for an error message."""
    return f"the extension type {quoted(extension)}: convert the column to strings"


cdef int check_field(object field) except -1:
    """Check that a column is not of a canonical extension type that this pyarrow does not know."""
    cdef object name = (field.metadata or {}).get(EXTENSION_NAME, b"").decode("utf-8", "replace")
    if is_canonical(name):
        raise TypeError(f"the column {quoted(field.name)} must not be of {extension_kind(name)}")
    return 0


cdef class _Stream:
    """A stream and its schema, which are released with this object."""

    cdef ArrowArrayStream stream
    cdef ArrowSchema schema
    cdef str what

    def __dealloc__(self):
        if self.schema.release != NULL:
            self.schema.release(&self.schema)
        if self.stream.release != NULL:
            # It may wait for threads that need the GIL, as `get_next` may.
            with nogil:
                self.stream.release(&self.stream)

    cdef int open(self, ArrowArrayStream *given) except -1:
        """Move a stream out of its capsule, and read its schema."""
        cdef int failed
        if given.release == NULL:
            raise ValueError("the Arrow stream was already consumed: pass an object with a new stream")
        self.stream = given[0]
        given.release = NULL
        if self.stream.get_schema == NULL or self.stream.get_next == NULL:
            raise ValueError(f"the Arrow stream of {self.what} has no functions to read it")
        with nogil:
            failed = self.stream.get_schema(&self.stream, &self.schema)
        if failed:
            # The schema of a failed call is not defined.
            memset(&self.schema, 0, sizeof(ArrowSchema))
            raise self.failure(failed)
        if self.schema.release == NULL:
            raise ValueError(f"the Arrow stream of {self.what} has no schema")
        return 0

    cdef bint next(self, ArrowArray *array) except -1:
        """Read the next array; return False at the end of the stream."""
        cdef int failed
        with nogil:
            failed = self.stream.get_next(&self.stream, array)
        if failed:
            memset(array, 0, sizeof(ArrowArray))
            raise self.failure(failed)
        # A stream can go on for ever, also without elements.
        PyErr_CheckSignals()
        return array.release != NULL

    cdef object failure(self, int code):
        """Return the error for a function of the stream that has just failed."""
        cdef const char *said = NULL
        if self.stream.get_last_error != NULL:
            with nogil:
                said = self.stream.get_last_error(&self.stream)
        cdef bytes text = b"" if said == NULL else said
        reason = text.decode("utf-8", "backslashreplace") or os.strerror(code)
        message = f"reading the Arrow stream of {self.what} failed: {reason}"
        return MemoryError(message) if code == ENOMEM else OSError(code, message)


cdef class _Chunk:
    """An Arrow array and the batch that reads it. The array is released with this object."""

    cdef ArrowArray arrow
    cdef Batch batch
    cdef Batch values               # of its dictionary
    cdef str what
    cdef Py_ssize_t first           # how many elements the argument has before this array
    cdef list ranges                # address and bytes of each buffer that is read

    def __dealloc__(self):
        if self.arrow.release != NULL:
            self.arrow.release(&self.arrow)
        free(<void *>self.batch.sizes)
        free(<void *>self.values.sizes)

    cdef int check(self, const Layout *layout, list sizes, list sizes_of_values) except -1:
        """Check the array, so that the batch can be read. Sizes of buffers are None if they are not known."""
        cdef Py_ssize_t wrong
        self.batch.count = self.elements(&self.arrow)
        if not layout.code_width:
            self.check_array(&self.batch, &self.arrow, layout.form, layout.width, sizes, self.first, "")
            return 0
        self.check_array(&self.batch, &self.arrow, CODES, layout.code_width, sizes, self.first, "")
        if self.batch.count == 0:
            return 0
        if self.arrow.dictionary == NULL or self.arrow.dictionary.release == NULL:
            raise self.contradiction("no dictionary")
        self.values.count = self.elements(self.arrow.dictionary)
        self.check_array(
            &self.values, self.arrow.dictionary, layout.form, layout.width, sizes_of_values, 0, " of a dictionary")
        self.batch.dictionary = &self.values
        wrong = first_wrong_code(&self.batch, min(<uint64_t>self.values.count, layout.codes))
        if wrong < self.batch.count:
            raise self.contradiction(f"element {self.first + wrong} outside its dictionary")
        return 0

    cdef Py_ssize_t elements(self, const ArrowArray *arrow) except -1:
        """Return the length of an array whose length and offset are possible."""
        if not 0 <= arrow.length <= MOST_ELEMENTS or not 0 <= arrow.offset <= MOST_ELEMENTS - arrow.length:
            raise self.contradiction("an invalid length or offset")
        return <Py_ssize_t>arrow.length

    cdef int check_array(
        self, Batch *batch, const ArrowArray *arrow, Form form, int width, list sizes, Py_ssize_t first, str part
    ) except -1:
        """Check every offset, size and buffer number of an array: the code that reads the batch relies on them."""
        cdef int64_t end = arrow.offset + arrow.length, size = 0, last
        cdef bint wide = form == TEXT64 or form == BINARY64
        cdef Py_ssize_t wrong
        batch.form = form
        batch.width = width
        if batch.count == 0 or form == NOTHING:
            return 0
        if arrow.buffers == NULL or arrow.n_buffers < 1:
            raise self.contradiction("no buffers")
        if arrow.null_count > 0 or (arrow.null_count < 0 and arrow.buffers[0] != NULL):
            batch.valid = self.buffer(arrow, 0, sizes, (end + 7) // 8, &size)
            batch.valid_offset = <Py_ssize_t>arrow.offset
        if form == OCTETS or form == CODES:
            batch.octets = self.buffer(arrow, 1, sizes, end * width, &size) + arrow.offset * width
            return 0
        if form == TEXT_VIEW or form == BINARY_VIEW:
            return self.check_views(batch, arrow, sizes, first, part)
        width = 8 if wide else 4
        batch.offsets = self.buffer(arrow, 1, sizes, (end + 1) * width, &size) + arrow.offset * width
        last = offset64(batch, batch.count) if wide else offset32(batch, batch.count)
        batch.octets = self.buffer(arrow, 2, sizes, last, &size)
        wrong = first_wrong_offset64(batch) if wide else first_wrong_offset32(batch)
        if wrong < batch.count:
            raise self.contradiction(f"invalid offsets of element {first + wrong}{part}")
        if batch.octets == NULL:
            batch.octets = <const uint8_t *>b""
        return 0

    cdef int check_views(
        self, Batch *batch, const ArrowArray *arrow, list sizes, Py_ssize_t first, str part
    ) except -1:
        """Check the views of an array of strings or binaries, and read the sizes of the buffers they point to."""
        cdef int64_t variadic = arrow.n_buffers - 3, size = 0
        cdef Py_ssize_t index, wrong
        if variadic < 0 or variadic > MOST_ELEMENTS or (variadic and arrow.buffers[variadic + 2] == NULL):
            raise self.contradiction("no sizes of its buffers")
        batch.views = (
            self.buffer(arrow, 1, sizes, (arrow.offset + arrow.length) * VIEW_SIZE, &size) + arrow.offset * VIEW_SIZE)
        batch.buffers = arrow.buffers + 2
        batch.sizes = <int64_t *>allocate_array(<Py_ssize_t>variadic, sizeof(int64_t))
        if batch.sizes == NULL:
            raise MemoryError
        batch.n_buffers = <Py_ssize_t>variadic
        for index in range(batch.n_buffers):
            size = int64_at(<const uint8_t *>arrow.buffers[variadic + 2] + 8 * index)
            self.buffer(arrow, 2 + index, sizes, size, &(<int64_t *>batch.sizes)[index])
            # The size is only known from the interface itself, which the producer of the array has filled in.
            if batch.sizes[index] < 0:
                (<int64_t *>batch.sizes)[index] = size
        # An invalid buffer number is mapped to this element, so that all views are compared in the same way.
        (<int64_t *>batch.sizes)[batch.n_buffers] = -1
        wrong = first_wrong_view(batch)
        if wrong < batch.count:
            raise self.contradiction(f"element {first + wrong}{part} outside its buffers")
        return 0

    cdef const uint8_t *buffer(
        self, const ArrowArray *arrow, int64_t index, list sizes, int64_t wanted, int64_t *size
    ) except? NULL:
        """Return a buffer and check that it has at least `wanted` bytes, if its size is known; NULL only for 0 bytes.

        `size` is set to its size, or to -1 if the size is not known.
        """
        cdef const uint8_t *start = NULL
        if index < arrow.n_buffers:
            start = <const uint8_t *>arrow.buffers[index]
        size[0] = -1
        if start == NULL:
            size[0] = 0
        elif sizes is not None:
            if index >= len(sizes) or sizes[index] is None or sizes[index].address != <size_t>start:
                raise self.contradiction("buffers other than its own")
            size[0] = sizes[index].size
        if 0 <= size[0] < wanted:
            raise self.contradiction("a buffer that is too short")
        self.ranges.append((<size_t>start, wanted if size[0] < 0 else size[0]))
        return start

    cdef object contradiction(self, str problem):
        """Return the error for an inconsistent array."""
        place = f", in the chunk from element {self.first} on" if self.first else ""
        return ValueError(
            f"the Arrow array of {self.what} is not consistent: it has {problem}{place}; call its validate(full=True)")


cdef class _ArrowColumn:
    """An argument that is an Arrow array or stream: its chunks, and a batch for each chunk that has elements."""

    cdef str what                   # what its elements are, for error messages
    cdef dict forms
    cdef list chunks
    cdef list ranges                # address and bytes of each buffer that is read
    cdef Batch *batches
    cdef Py_ssize_t n_batches
    cdef Py_ssize_t count           # the elements of all chunks
    cdef str refused                # what the argument is if it is not a column of these forms, otherwise None

    def __cinit__(self, object source, str what, dict forms):
        cdef Py_ssize_t index
        self.what = what
        self.forms = forms
        self.chunks = []
        self.ranges = []
        self.take(source)
        self.n_batches = len(self.chunks)
        self.batches = <Batch *>allocate_array(self.n_batches, sizeof(Batch))
        if self.batches == NULL:
            raise MemoryError
        for index in range(self.n_batches):
            self.batches[index] = (<_Chunk>self.chunks[index]).batch

    def __dealloc__(self):
        free(self.batches)

    cdef int take(self, object source) except -1:
        """Take all arrays of an argument."""
        cdef object pyarrow = sys.modules.get("pyarrow")
        cdef list chunks = None
        # pyarrow knows the sizes of the buffers of its arrays. Its own methods are called, not those of a subclass.
        if isinstance(source, getattr(pyarrow, "Array", ())):
            return self.take_pyarrow(source, pyarrow)
        if isinstance(source, getattr(pyarrow, "ChunkedArray", ())):
            chunks = list(pyarrow.ChunkedArray.iterchunks(source))
        if chunks:
            for chunk in chunks:
                self.take_pyarrow(chunk, pyarrow)
        elif hasattr(source, "__arrow_c_array__"):
            self.take_array(source, source.__arrow_c_array__(), None, None)
        else:
            self.take_stream(source)
        return 0

    cdef int take_pyarrow(self, object array, object pyarrow) except -1:
        """Take an array of pyarrow."""
        cdef list sizes_of_values = None
        cdef object extension
        while isinstance(array, pyarrow.ExtensionArray):
            extension = pyarrow.BaseExtensionType.extension_name.__get__(pyarrow.Array.type.__get__(array))
            if is_canonical(extension):
                self.refused = f"{type(array).__name__} of {extension_kind(extension)}"
                return 0
            array = pyarrow.ExtensionArray.storage.__get__(array)
        if isinstance(array, pyarrow.DictionaryArray):
            sizes_of_values = pyarrow.Array.buffers(pyarrow.DictionaryArray.dictionary.__get__(array))
        return self.take_array(
            array, pyarrow.Array.__arrow_c_array__(array), pyarrow.Array.buffers(array), sizes_of_values)

    cdef int take_array(self, object source, object capsules, list sizes, list sizes_of_values) except -1:
        """Take the array of a pair of capsules."""
        cdef ArrowSchema *schema
        cdef ArrowArray *given
        cdef Layout layout
        cdef _Chunk chunk = self.new_chunk()
        # The code of this module is compiled without bounds checks for indexing.
        if type(capsules) is not tuple or len(capsules) != 2:
            raise TypeError(f"__arrow_c_array__ of {type(source).__name__} did not return a pair of capsules")
        schema = <ArrowSchema *>capsule_content(capsules[0], b"arrow_schema", source, "__arrow_c_array__")
        given = <ArrowArray *>capsule_content(capsules[1], b"arrow_array", source, "__arrow_c_array__")
        if schema.release == NULL or given.release == NULL:
            raise ValueError("the Arrow array was already consumed: pass an array with new capsules")
        if not read_layout(schema, self.forms, &layout):
            self.refused = f"{type(source).__name__} of {arrow_kind(schema)}"
            return 0
        # Moved, as the interface requires: no other code can release it while it is read.
        chunk.arrow = given[0]
        given.release = NULL
        return self.add(chunk, &layout, sizes, sizes_of_values)

    cdef int take_stream(self, object source) except -1:
        """Take every array of a stream."""
        cdef _Stream stream = _Stream()
        cdef _Chunk chunk = self.new_chunk()
        cdef Layout layout
        cdef object capsule = source.__arrow_c_stream__()
        stream.what = self.what
        stream.open(<ArrowArrayStream *>capsule_content(
            capsule, b"arrow_array_stream", source, "__arrow_c_stream__"))
        if not read_layout(&stream.schema, self.forms, &layout):
            self.refused = f"{type(source).__name__} of {arrow_kind(&stream.schema)}"
            return 0
        while stream.next(&chunk.arrow):
            self.add(chunk, &layout, None, None)
            chunk = self.new_chunk()
        return 0

    cdef _Chunk new_chunk(self):
        """Return a chunk without an array, after all chunks that were added."""
        cdef _Chunk chunk = _Chunk()
        chunk.what = self.what
        chunk.first = self.count
        chunk.ranges = self.ranges
        return chunk

    cdef int add(self, _Chunk chunk, const Layout *layout, list sizes, list sizes_of_values) except -1:
        """Check an array and append it."""
        chunk.check(layout, sizes, sizes_of_values)
        if chunk.batch.count > MOST_ELEMENTS - self.count:
            raise chunk.contradiction("too many elements")
        if chunk.batch.count:
            self.count += chunk.batch.count
            self.chunks.append(chunk)
        return 0

    cdef bint shares(self, const Py_buffer *buffer) except -1:
        """Return whether the arrays share memory with a buffer to be written."""
        cdef size_t start = <size_t>buffer.buf
        return any([place < start + buffer.len and start < place + size for place, size in self.ranges])

    cdef object value(self, Py_ssize_t index):
        """Return the value of an element for an error message: the first part of its text or octets, or None."""
        cdef const Batch *batch = self.batches
        cdef Py_ssize_t size = 0
        cdef const uint8_t *octets
        cdef object value
        while index >= batch.count:
            index -= batch.count
            batch += 1
        if batch.form == CODES and not is_null(batch, index):
            index = <Py_ssize_t>code_at(batch, index)
            batch = batch.dictionary
        if batch.form == NOTHING or is_null(batch, index):
            return None
        octets = octets_at(batch, index, &size)
        value = octets[:min(size, 4 * QUOTED)]
        return value.decode("utf-8", "backslashreplace") if is_text(batch) else value
