"""Header lines as ASGI servers hand them over, looked through on the way of every request. Part of `_engine.pyx`.

What is not as simple as lines are nearly always is left to whoever asked, to be read with care.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint8_t, uint64_t


cdef enum: LAST_SIZE = 63  # and everything above it


cdef inline uint64_t size_bit(Py_ssize_t size) noexcept:
    return (<uint64_t>1) << min(size, LAST_SIZE)


cdef inline bytes name_in(object line):
    """The name in a line; None if this is no line of the usual type."""
    cdef object name, value
    if type(line) is not tuple or len(<tuple>line) != 2:
        return None
    name, value = (<tuple>line)[0], (<tuple>line)[1]
    return name if type(name) is bytes and type(value) is bytes else None


cdef inline uint8_t folded_octet(uint8_t octet) noexcept:
    """An octet of a name as the least exact reader sees it; see `cidrgate.gate.header_names.folded_name`."""
    if c'A' <= octet <= c'Z':
        return octet | 0x20
    if c'a' <= octet <= c'z' or c'0' <= octet <= c'9':
        return octet
    return c'-'


cdef bint is_alias(const char *one, const char *other, Py_ssize_t size) noexcept:
    """Whether some reader takes one name for the other; both have this size."""
    cdef Py_ssize_t place
    for place in range(size):
        if folded_octet(<uint8_t>one[place]) != folded_octet(<uint8_t>other[place]):
            return False
    return True


cdef bint is_plain(const uint8_t *octets, Py_ssize_t size) noexcept:
    """Whether a value is printable ASCII without a comma, and not empty, and no space is around it."""
    cdef Py_ssize_t place
    if size == 0 or octets[0] == c' ' or octets[size - 1] == c' ':
        return False
    for place in range(size):
        if not c' ' <= octets[place] <= c'~' or octets[place] == c',':
            return False
    return True


def _is_plain(str value not None, /):
    """Whether a header's value is printable ASCII without a comma, and not empty, and no space is around it."""
    return PyUnicode_IS_COMPACT_ASCII(value) and is_plain(ascii_text(value), PyUnicode_GET_LENGTH(value))


def _lines_of_environ(environ, tuple names not None, /):
    """The headers of a WSGI request that are among `names`: pairs of the key in the environ and the header's name."""
    cdef list lines = []
    cdef tuple pair
    for pair in names:
        if pair[0] in environ:
            lines.append((pair[1], (<str?>environ[pair[0]]).encode("latin-1")))
    return lines


@cython.final
cdef class _HeaderNames:
    """Names of headers in lower case, to be looked for in requests."""
    cdef frozenset names
    cdef uint64_t sizes

    def __cinit__(self, names):
        self.names = frozenset(names)
        for name in self.names:
            self.sizes |= size_bit(len(<bytes?>name))

    def __contains__(self, name):
        return name in self.names

    def may_be_in(self, headers, /):
        """Whether a line may have one of the names: False is certain, what is not simple counts as True."""
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
    """One header, its name in lower case, to be read in requests."""
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
        """What the header holds if it came once, and nothing came that some reader takes for it; else None."""
        return self.only(headers)

    def text(self, headers, /):
        """The same, if `_is_plain`; else None."""
        cdef bytes value = self.only(headers)
        if value is None or not is_plain(<const uint8_t *>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)):
            return None
        return PyUnicode_DecodeASCII(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), NULL)
