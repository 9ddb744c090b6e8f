"""A fast check that accepts lists which break no rule. Part of `_engine.pyx`.

An import checks millions of lists, and nearly all of them are valid. The rules check only the other lists, and report
their problems.
"""

cimport cython
from libc.stdlib cimport qsort

from address cimport IPV4, same_network
from native cimport allocate_array


cdef int in_order(const void *one, const void *other) noexcept nogil:
    """Compare by family, then by first address, then by length: a network comes after the networks that cover it."""
    cdef const Prefix *left = <const Prefix *>one
    cdef const Prefix *right = <const Prefix *>other
    if left.first.family != right.first.family:
        return left.first.family - right.first.family
    if left.first.hi != right.first.hi:
        return -1 if left.first.hi < right.first.hi else 1
    if left.first.lo != right.first.lo:
        return -1 if left.first.lo < right.first.lo else 1
    return left.length - right.length


cdef inline bint overlap(const Prefix *one, const Prefix *other) noexcept nogil:
    """Return whether two networks share an address."""
    return one.first.family == other.first.family and same_network(
        one.first.hi, one.first.lo, other.first.hi, other.first.lo, min(one.length, other.length)
    )


@cython.final
cdef class PlainLists:
    """PlainLists(barred)\n--\n\nAccepts lists of CIDRs that do not overlap each other or a barred network.

    Args:
        barred: The barred networks. If there are any, IPv4-mapped text is not accepted.

    Example:
        >>> plain = PlainLists(["10.0.0.0/8"])
        >>> plain.canonical(["8.8.8.0/24", "2606:4700:0::/32"], 50)
        ['8.8.8.0/24', '2606:4700::/32']
        >>> plain.canonical(["8.8.8.0/24", "8.8.8.8/32"], 50), plain.canonical(["10.1.0.0/16"], 50)
        (None, None)
    """

    cdef Item *_barred
    cdef uint32_t _count

    def __cinit__(self, barred):
        self._barred = read_items(barred, &self._count)

    def __dealloc__(self):
        free(self._barred)

    def canonical(self, list texts not None, Py_ssize_t most, /):
        """Return the canonical CIDRs of a list.

        Args:
            texts: The list as it was submitted; each element is a `str`.
            most: The most entries that it may have.

        Returns:
            The CIDRs in their order; None if the list needs the full checks.
        """
        # A copy: garbage collection or another thread may run code that changes the list.
        cdef tuple given = tuple(texts)
        cdef Py_ssize_t index, size = len(given)
        cdef uint32_t other
        cdef Prefix *prefixes
        cdef Prefix *prefix
        cdef list made = []
        cdef object text
        if size > most:
            return None
        prefixes = <Prefix *>allocate_array(size, sizeof(Prefix))
        if prefixes == NULL:
            raise MemoryError
        try:
            for index in range(size):
                text = given[index]
                prefix = &prefixes[index]
                if type(text) is not str or not text_prefix(<str>text, prefix):
                    return None
                for other in range(self._count):
                    if overlap(prefix, &self._barred[other].prefix):
                        return None
                made.append(self._canonical(<str>text, prefix))
                if made[index] is None:
                    return None
            qsort(prefixes, size, sizeof(Prefix), in_order)
            for index in range(1, size):
                if overlap(&prefixes[index - 1], &prefixes[index]):
                    return None
        finally:
            free(prefixes)
        return made

    cdef str _canonical(self, str text, const Prefix *prefix):
        """Return the canonical text, which may be `text` itself; None if it is IPv4-mapped and that is not accepted."""
        cdef uint8_t form[MAX_TEXT]
        cdef int size = write_prefix(prefix, form)
        if size == PyUnicode_GET_LENGTH(text) and memcmp(form, ascii_text(text), size) == 0:
            return text
        if self._count and prefix.first.family == IPV4:
            return None
        return PyUnicode_DecodeASCII(<char *>form, size, NULL)
