"""`PrefixTrie`, a class over one trie block. Part of `_engine.pyx`."""

cimport cython

from collections.abc import Mapping

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcmp

from address cimport Address, Prefix, high_bits
from build cimport Item, Plan, drop_plan, plan_trie, write_trie
from native cimport allocate
from trie cimport CHILD, NONE, Trie, contains, longest_match, lower_bound, precedes, prefix_at, view_trie


@cython.final
cdef class PrefixTrie:
    """PrefixTrie(prefixes=())\n--\n\nAn immutable longest-prefix-match table of IPv4 and IPv6 prefixes.

    Threads can share it, because it never changes. Iteration, and the indices of `lookup_many`, use this order: IPv4
    before IPv6, then by network, then shorter prefixes first.

    Args:
        prefixes: Prefixes (`str` or `ipaddress` networks), or a mapping from prefixes to values. Different spellings
            of a prefix are the same prefix; the last of their values counts. IPv4-mapped IPv6 is read as IPv4.

    Raises:
        InvalidAddressError: If an element is not a prefix.

    Example:
        >>> trie = PrefixTrie({"8.8.0.0/16": "wide", "8.8.8.0/24": "narrow"})
        >>> trie.lookup("8.8.8.8"), trie.match("8.8.4.4"), "9.9.9.9" in trie
        ('narrow', '8.8.0.0/16', False)
    """

    cdef char *block
    cdef size_t size
    cdef Trie trie
    cdef list values

    def __cinit__(self, object prefixes=()):
        cdef uint32_t given = 0, index
        cdef Plan plan
        cdef list values = None
        if isinstance(prefixes, Mapping):
            values = list(prefixes.values())
        cdef Item *items = read_items(prefixes, &given)
        cdef bint planned = plan_trie(items, given, &plan)
        try:
            if not planned:
                raise MemoryError
            if values is not None and <uint32_t>len(values) != given:
                raise RuntimeError("the mapping changed while it was read")
            if values is not None:
                self.values = [values[items[index].order] for index in range(plan.n4 + plan.n6)]
            self.block = <char *>allocate(plan.size)
            if self.block == NULL:
                raise MemoryError
            write_trie(&plan, self.block)
            self.size = plan.size
            view_trie(self.block, &self.trie)
        finally:
            if planned:
                drop_plan(&plan)
            free(items)

    def __dealloc__(self):
        free(self.block)

    cdef str text(self, uint32_t index):
        """Return the prefix at an index of the iteration order."""
        cdef Prefix prefix
        prefix_at(&self.trie, index, &prefix)
        return prefix_text(&prefix)

    cdef inline int32_t longest(self, object address) except CHILD:
        """Return the index of the longest match of an address argument, or NONE."""
        cdef Address wanted
        read(address, &wanted)
        return longest_match(&self.trie, &wanted)

    @property
    def nbytes(self):
        """The bytes of the table, without the values."""
        return self.size

    def __contains__(self, object address):
        return self.longest(address) != NONE

    def lookup(self, object address):
        """Return the value of the longest matching prefix.

        Args:
            address: A `str`, packed `bytes` (4 or 16) or an `ipaddress` object.

        Returns:
            The value; in a trie without values, the prefix as text; None if nothing matches.

        Raises:
            InvalidAddressError: If the argument is not an address.
        """
        cdef int32_t index = self.longest(address)
        if index == NONE:
            return None
        return self.text(index) if self.values is None else self.values[index]

    def match(self, object address):
        """Return the longest matching prefix as text, or None. The argument and the errors are those of `lookup`."""
        cdef int32_t index = self.longest(address)
        return None if index == NONE else self.text(index)

    def covering(self, object prefix):
        """Return every stored prefix that covers a prefix or equals it, shortest first.

        Raises:
            InvalidAddressError: If the argument is not a prefix.
        """
        cdef Prefix inner, outer, stored
        cdef list found = []
        cdef uint32_t index
        cdef int length
        read_prefix(prefix, &inner)
        for length in range(inner.length + 1):
            outer = inner
            outer.length = length
            outer.first.hi &= high_bits(length)
            outer.first.lo &= high_bits(length - 64)
            index = lower_bound(&self.trie, &outer)
            if index < self.trie.n4 + self.trie.n6:
                prefix_at(&self.trie, index, &stored)
                if not precedes(&outer, &stored):
                    found.append(prefix_text(&stored))
        return found

    def covered(self, object prefix):
        """Return every stored prefix that is inside a prefix or equals it, in iteration order.

        Raises:
            InvalidAddressError: If the argument is not a prefix.
        """
        cdef Prefix outer, stored
        cdef list found = []
        cdef uint32_t index
        read_prefix(prefix, &outer)
        for index in range(lower_bound(&self.trie, &outer), self.trie.n4 + self.trie.n6):
            prefix_at(&self.trie, index, &stored)
            if not contains(&outer, &stored):
                break
            found.append(prefix_text(&stored))
        return found

    def contains_many(self, object addresses, object out=None):
        """Return for each address whether a stored prefix covers it. Other threads can run in the meantime.

        Args:
            addresses: `uint32[n]` (IPv4), `uint8[n, 16]` or `uint8[n, 4]` (network order), a list of `str`, or an
                Arrow string, binary or fixed-size binary array (binary elements are packed addresses).
            out: An array of bool[n] for the results.

        Returns:
            bool[n]; `out` if it was given.

        Raises:
            InvalidAddressError: If an element is null or not an address; the message names the first one.
            TypeError: If the argument is not an array of addresses.
            ValueError: If `out` is not such an array, or if an Arrow array refers to memory outside its buffers.
        """
        cdef _AddressArray given = _AddressArray(addresses)
        cdef _Answers results = _Answers(out, _numpy().bool_, given.batch.count, given)
        cdef Py_ssize_t done
        with nogil:
            done = find_batch(&self.trie, &given.batch, <uint8_t *>results.memory.buffer.buf)
        if done < given.batch.count:
            raise given.unreadable(done)
        return results.array

    def lookup_many(self, object addresses, object out=None):
        """Return for each address the index of its longest match in iteration order. Other threads can run meanwhile.

        Args:
            addresses: As for `contains_many`.
            out: An array of int32[n] for the results.

        Returns:
            int32[n], with -1 if nothing matches; `out` if it was given.

        Raises:
            InvalidAddressError: If an element is null or not an address; the message names the first one.
            TypeError: If the argument is not an array of addresses.
            ValueError: If `out` is not such an array, or if an Arrow array refers to memory outside its buffers.
        """
        cdef _AddressArray given = _AddressArray(addresses)
        cdef _Answers results = _Answers(out, _numpy().int32, given.batch.count, given)
        cdef Py_ssize_t done
        with nogil:
            done = match_batch(&self.trie, &given.batch, <int32_t *>results.memory.buffer.buf)
        if done < given.batch.count:
            raise given.unreadable(done)
        return results.array

    def __len__(self):
        return self.trie.n4 + self.trie.n6

    def __iter__(self):
        cdef uint32_t index
        for index in range(self.trie.n4 + self.trie.n6):
            yield self.text(index)

    def __eq__(self, object other):
        if not isinstance(other, PrefixTrie):
            return NotImplemented
        cdef PrefixTrie that = <PrefixTrie>other
        return (self.size == that.size and memcmp(self.block, that.block, self.size) == 0
                and self.values == that.values)

    def __hash__(self):
        return hash(self.block[:self.size])

    def __reduce__(self):
        if self.values is None:
            return PrefixTrie, (list(self),)
        return PrefixTrie, (dict(zip(self, self.values, strict=True)),)

    def __repr__(self):
        return f"<PrefixTrie of {counted(len(self), 'prefix')}, {self.size:,} bytes>"
