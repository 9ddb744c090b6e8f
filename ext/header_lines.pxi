"""A fast search of ASGI header lines, which runs for every request. Part of `_engine.pyx`.

It handles only simple lines, as nearly all are. For all other lines, its result tells the caller to check them itself.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint8_t, uint64_t


cdef enum: LAST_SIZE = 63  # and everything above it


cdef inline uint64_t size_bit(Py_ssize_t size) noexcept:
    return (<uint64_t>1) << min(size, LAST_SIZE)


cdef inline bytes name_in(object line):
    """Return the name of a header line; None if the line does not have the usual types."""
    cdef object name, value
    if type(line) is not tuple or len(<tuple>line) != 2:
        return None
    name, value = (<tuple>line)[0], (<tuple>line)[1]
    return name if type(name) is bytes and type(value) is bytes else None


cdef inline uint8_t folded_octet(uint8_t octet) noexcept:
    """Return an octet of a name as the least exact reader sees it; see `cidrgate.gate.header_names.folded_name`."""
    if c'A' <= octet <= c'Z':
        return octet | 0x20
    if c'a' <= octet <= c'z' or c'0' <= octet <= c'9':
        return octet
    return c'-'


cdef bint is_alias(const char *one, const char *other, Py_ssize_t size) noexcept:
    """Return whether some reader treats two names of the same size as equal."""
    cdef Py_ssize_t place
    for place in range(size):
        if folded_octet(<uint8_t>one[place]) != folded_octet(<uint8_t>other[place]):
            return False
    return True


cdef bint is_plain(const uint8_t *octets, Py_ssize_t size) noexcept:
    """Return whether a value is not empty and is printable ASCII without commas and without surrounding spaces."""
    cdef Py_ssize_t place
    if size == 0 or octets[0] == c' ' or octets[size - 1] == c' ':
        return False
    for place in range(size):
        if not c' ' <= octets[place] <= c'~' or octets[place] == c',':
            return False
    return True


def _is_plain(str value not None, /):
    """Return whether a value is not empty and is printable ASCII without commas and without surrounding spaces."""
    return PyUnicode_IS_COMPACT_ASCII(value) and is_plain(ascii_text(value), PyUnicode_GET_LENGTH(value))


def _lines_of_environ(environ, tuple names not None, /):
    """Return the headers of a WSGI request that are in `names`, pairs of the environ key and the header name."""
    cdef list lines = []
    cdef object key, name
    cdef dict plain = environ if type(environ) is dict else None
    for key, name in names:
        if key in plain if plain is not None else key in environ:
            lines.append((name, (<str?>environ[key]).encode("latin-1")))
    return lines


@cython.final
cdef class _HeaderNames:
    """_HeaderNames(names)\n--\n\nHeader names in lower case, to search for in requests."""
    cdef frozenset names
    cdef uint64_t sizes

    def __cinit__(self, names):
        self.names = frozenset(names)
        for name in self.names:
            self.sizes |= size_bit(len(<bytes?>name))

    def __contains__(self, name):
        return name in self.names

    def may_be_in(self, headers, /):
        """Return whether a line may have one of the names. False is certain; True also stands for unusual lines."""
        cdef bytes name
        cdef Py_ssize_t place
        if not self.names:
            return False
        if type(headers) is not list and type(headers) is not tuple:
            return True
        for line in headers:
            name = name_in(line)
            if name is None:
                return True
            if self.sizes & size_bit(PyBytes_GET_SIZE(name)):
                if name in self.names:
                    return True
                for place in range(PyBytes_GET_SIZE(name)):
                    if c'A' <= PyBytes_AS_STRING(name)[place] <= c'Z':
                        return True
        return False


@cython.final
cdef class _HeaderField:
    """_HeaderField(name)\n--\n\nOne header, with its name in lower case, to read from requests."""
    cdef bytes name

    def __cinit__(self, bytes name not None):
        self.name = name

    cdef bytes only(self, headers):
        cdef bytes name, found = None
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.name)
        if type(headers) is not list and type(headers) is not tuple:
            return None
        for line in headers:
            name = name_in(line)
            if name is None:
                return None
            if PyBytes_GET_SIZE(name) == size and is_alias(
                PyBytes_AS_STRING(name), PyBytes_AS_STRING(self.name), size
            ):
                if found is not None or name != self.name:
                    return None
                found = (<tuple>line)[1]
        return found

    def value(self, headers, /):
        """Return the header's value if the request has it once and has no alias of it, otherwise None."""
        return self.only(headers)

    def text(self, headers, /):
        """Return the same value as text if it is `_is_plain`, otherwise None."""
        return plain_text(self.only(headers))

    def text_without(self, headers, _HeaderNames others not None, /):
        """Return the same value as text if no line may have one of the other names, otherwise None.

        The two questions that are asked of nearly every request are answered by one pass over its lines.
        """
        cdef bytes name, found = None
        cdef Py_ssize_t place, own = PyBytes_GET_SIZE(self.name), size
        if type(headers) is not list and type(headers) is not tuple:
            return None
        for line in headers:
            name = name_in(line)
            if name is None:
                return None
            size = PyBytes_GET_SIZE(name)
            if others.sizes & size_bit(size):
                if name in others.names:
                    return None
                for place in range(size):
                    if c'A' <= PyBytes_AS_STRING(name)[place] <= c'Z':
                        return None
            if size == own and is_alias(PyBytes_AS_STRING(name), PyBytes_AS_STRING(self.name), size):
                if found is not None or name != self.name:
                    return None
                found = (<tuple>line)[1]
        return plain_text(found)


cdef object plain_text(bytes value):
    """Return a value as text if it is `_is_plain`, otherwise None."""
    if value is None or not is_plain(<const uint8_t *>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)):
        return None
    return PyUnicode_DecodeASCII(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), NULL)
