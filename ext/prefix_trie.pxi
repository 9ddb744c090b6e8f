"""`PrefixTrie`, a class over one trie block. Part of `_engine.pyx`."""

cimport cython

from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from types import GenericAlias

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcmp

from address cimport Address, Prefix, high_bits
from build cimport Item, Plan, drop_plan, plan_trie, write_trie
from batch cimport is_ipv4
from edges cimport WORTHWHILE_ARRAY, Edges, are_worthwhile, descends_fast, make_edges
from native cimport allocate, load_pointer, store_pointer
from trie cimport CHILD, NONE, Trie, contains, longest_match, lower_bound, precedes, prefix_at, view_trie


@cython.final
@cython.collection_type("mapping")
cdef class PrefixTrie:
    """PrefixTrie(prefixes=())\n--\n\nAn immutable longest-prefix-match table of IPv4 and IPv6 prefixes.

    Threads can share it, because it never changes. Iteration, and the indices of `lookup_many`, use this order: IPv4
    before IPv6, then by network, then shorter prefixes first.

    It is a `collections.abc.Mapping` from prefixes to values. In a trie without values, the value of a prefix is its
    text. A key is a prefix or an address, which the slash in a text tells apart:

    - A prefix (`"8.8.8.0/24"`, an `ipaddress` network) is a key if exactly this prefix is stored. So `"8.8.8.8/32"` is
      not in a trie that only has `8.8.8.0/24`.
    - An address (`"8.8.8.8"`, packed `bytes`, an `ipaddress` address) means the longest stored prefix that covers it.
      So `"8.8.8.8"` is in this trie, and its value is that of `8.8.8.0/24`.

    Where a text comes from outside and only an address may count, use `lookup` or `match`, which refuse a prefix.

    Iteration, `len`, `keys`, `items` and `values` are about the stored prefixes only. Two tries are equal if they have
    the same prefixes and values; a trie also equals a `dict` that has its prefixes, in canonical text, and its values.

    Args:
        prefixes: Prefixes (`str` or `ipaddress` networks), or a mapping from prefixes to values. Different spellings
            of a prefix are the same prefix; the last of their values counts. IPv4-mapped IPv6 is read as IPv4.

    Raises:
        InvalidAddressError: If an element is not a prefix.

    Example:
        >>> trie = PrefixTrie({"8.8.0.0/16": "wide", "8.8.8.0/24": "narrow"})
        >>> trie.lookup("8.8.8.8"), trie.match("8.8.4.4"), "9.9.9.9" in trie
        ('narrow', '8.8.0.0/16', False)
        >>> "8.8.8.8" in trie, "8.8.8.8/32" in trie, "8.8.8.0/24" in trie
        (True, False, True)
        >>> trie["8.8.8.8"], trie["8.8.0.0/16"], dict(trie) == trie
        ('narrow', 'wide', True)
    """

    cdef char *block
    cdef size_t size
    cdef Trie trie
    # Made when the first large array is looked up, for a large table of IPv6 prefixes; then it stays.
    cdef void *edges
    cdef bint wants_edges
    # The values in iteration order; None in a trie without values. A tuple, so that no code can shorten it.
    cdef tuple objects

    def __cinit__(self, *arguments, **named):
        cdef object prefixes = only_argument(arguments, named)
        cdef uint32_t given = 0, index
        cdef Plan plan
        cdef list pairs, objects = None
        if is_mapping_with_values(prefixes):
            # Read once: the mapping may change while it is read.
            pairs = list(prefixes.items())
            prefixes = [prefix for prefix, _ in pairs]
            objects = [value for _, value in pairs]
        cdef Item *items = read_items(prefixes, &given)
        cdef bint planned = plan_trie(items, given, &plan)
        try:
            if not planned:
                raise MemoryError
            if objects is not None:
                self.objects = tuple([objects[items[index].order] for index in range(plan.n4 + plan.n6)])
            self.block = <char *>allocate(plan.size)
            if self.block == NULL:
                raise MemoryError
            write_trie(&plan, self.block)
            self.size = plan.size
            view_trie(self.block, &self.trie)
            self.wants_edges = are_worthwhile(&self.trie)
        finally:
            if planned:
                drop_plan(&plan)
            free(items)

    def __dealloc__(self):
        free(self.block)
        free(self.edges)

    cdef Trie view_for(self, _AddressArray given):
        """Return the view of the trie for an array of addresses, with the edges if they are worthwhile."""
        cdef Trie view = self.trie
        if self.wants_edges and given.count >= WORTHWHILE_ARRAY and not is_ipv4(given.batches):
            if load_pointer(&self.edges) == NULL and descends_fast():
                self.add_edges()
            view.edges = load_pointer(&self.edges)
        return view

    cdef int add_edges(self) except -1:
        """Make the edges. Without memory for them, the trie is walked."""
        with cython.critical_section(self):
            if self.edges == NULL:
                store_pointer(&self.edges, make_edges(&self.trie))
        return 0

    cdef str text(self, uint32_t index):
        """Return the prefix at an index of the iteration order."""
        cdef Prefix prefix
        prefix_at(&self.trie, index, &prefix)
        return prefix_text(&prefix)

    cdef int32_t longest(self, object address) except CHILD:
        """Return the index of the longest match of an address argument, or NONE."""
        cdef Address wanted
        read(address, &wanted)
        return longest_match(&self.trie, &wanted)

    cdef int32_t exact(self, const Prefix *prefix) noexcept:
        """Return the index of exactly this prefix, or NONE."""
        cdef Prefix stored
        cdef uint32_t index = lower_bound(&self.trie, prefix)
        if index < self.trie.n4 + self.trie.n6:
            prefix_at(&self.trie, index, &stored)
            if not precedes(prefix, &stored):
                return <int32_t>index
        return NONE

    cdef int32_t place(self, object key) except CHILD:
        """Return the index of what a key means: a stored prefix, or the longest match of an address; or NONE."""
        cdef Address wanted
        if type(key) is str and text_address(<str>key, &wanted):
            return longest_match(&self.trie, &wanted)
        return self.place_of_object(key)

    cdef int32_t place_of_object(self, object key) except CHILD:
        """Do the same for a key that is not simply the text of an address."""
        cdef Prefix prefix
        if is_prefix_argument(key):
            read_prefix(key, &prefix)
            return self.exact(&prefix)
        return self.longest(key)

    cdef int32_t stored(self, object key) except CHILD:
        """Return the index of a key of the views: a stored prefix. NONE for anything else."""
        cdef Prefix prefix
        try:
            read_prefix(key, &prefix)
        except (TypeError, InvalidAddressError):
            return NONE
        return self.exact(&prefix)

    cdef object value(self, uint32_t index):
        """Return the value at an index of the iteration order."""
        return self.text(index) if self.objects is None else self.objects[index]

    @property
    def nbytes(self):
        """The bytes of the table, without the values.

        A table of 8,192 or more IPv6 prefixes, nearly all of at most 64 bits, makes a second index for arrays when the
        first array of 4,096 or more addresses is looked up, on a processor with AVX2. It takes up to 26 bytes for each
        of these prefixes, and counts from then on.
        """
        cdef const Edges *edges = <const Edges *>load_pointer(&self.edges)
        return self.size + (0 if edges == NULL else edges.size)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Return the type with the type of its values, as `PrefixTrie[int]`."""
        return GenericAlias(cls, item)

    def __contains__(self, object key):
        return self.place(key) != NONE

    def __getitem__(self, object key):
        cdef int32_t index = self.place(key)
        if index == NONE:
            raise KeyError(key)
        return self.value(index)

    def get(self, object key, object default=None):
        """Return the value of a key, which is a stored prefix or an address, or the default.

        Raises:
            InvalidAddressError: If the key is neither an address nor a prefix.
        """
        cdef int32_t index = self.place(key)
        return default if index == NONE else self.value(index)

    def keys(self):
        """Return a set-like view of the stored prefixes as text, in iteration order. An address is not in it."""
        return _Keys(self)

    def items(self):
        """Return a set-like view of pairs of a stored prefix and its value, in iteration order."""
        return _Items(self)

    def values(self):
        """Return a view of the values of the stored prefixes, in iteration order."""
        return _Values(self)

    def prefixes(self):
        """Return a list of the stored prefixes as text, in iteration order."""
        return list(self)

    def lookup(self, object address, object default=None):
        """Return the value of the longest matching prefix.

        Args:
            address: A `str`, packed `bytes` (4 or 16) or an `ipaddress` object; an interface is its address, without
                its network.
            default: What is returned if nothing matches.

        Returns:
            The value; in a trie without values, the prefix as text; the default if nothing matches.

        Raises:
            InvalidAddressError: If the argument is not an address. A prefix is not an address.
        """
        cdef int32_t index = self.longest(address)
        return default if index == NONE else self.value(index)

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
            addresses: `uint32[n]` (IPv4), `uint8[n, 16]` or `uint8[n, 4]` (network order), a list of addresses as for
                `lookup`, or an Arrow array or stream: a column of pyarrow, polars or pandas with strings, binaries
                (packed addresses), or a dictionary of them. A list of `str` is the fastest list. A column of objects of
                pandas is read as a list. Of an extension type, what it stores is read; those that Apache Arrow defines,
                such as `arrow.uuid`, store no addresses and are refused.
            out: An array of bool[n] for the results.

        Returns:
            bool[n]; `out` if it was given.

        Raises:
            InvalidAddressError: If an element is null or not an address; the message names the first one.
            TypeError: If the argument is not an array of addresses.
            ValueError: If `out` is not such an array, or if an Arrow array refers to memory outside its buffers.
            OSError: If an Arrow stream fails.
        """
        cdef _AddressArray given = _AddressArray(addresses)
        cdef _Answers results = _Answers(out, _numpy().bool_, given.count, given)
        cdef Trie trie = self.view_for(given)
        cdef Py_ssize_t done
        with nogil:
            done = find_batches(&trie, given.batches, given.n_batches, <uint8_t *>results.memory.buffer.buf, ENDS)
        if done < given.count:
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
            OSError: If an Arrow stream fails.
        """
        cdef _AddressArray given = _AddressArray(addresses)
        cdef _Answers results = _Answers(out, _numpy().int32, given.count, given)
        cdef Trie trie = self.view_for(given)
        cdef Py_ssize_t done
        with nogil:
            done = match_batches(&trie, given.batches, given.n_batches, <int32_t *>results.memory.buffer.buf)
        if done < given.count:
            raise given.unreadable(done)
        return results.array

    def __len__(self):
        return self.trie.n4 + self.trie.n6

    def __iter__(self):
        cdef uint32_t index
        for index in range(self.trie.n4 + self.trie.n6):
            yield self.text(index)

    def __reversed__(self):
        cdef uint32_t index
        for index in range(self.trie.n4 + self.trie.n6, 0, -1):
            yield self.text(index - 1)

    def __eq__(self, object other):
        if isinstance(other, PrefixTrie):
            return self.equals(<PrefixTrie>other)
        # Equal objects have equal hashes, so a trie cannot equal a mapping that has a hash of another kind.
        if isinstance(other, Mapping) and type(other).__hash__ is None:
            return len(self) == len(other) and dict(self.items()) == dict(other.items())
        return NotImplemented

    cdef bint equals(self, PrefixTrie other) except -1:
        """Return whether two tries have the same prefixes and values."""
        if self.size != other.size or memcmp(self.block, other.block, self.size) != 0:
            return False
        if self.objects is None and other.objects is None:
            return True
        return list(self.values()) == list(other.values())

    def __hash__(self):
        return hash(self.block[:self.size])

    def __reduce__(self):
        return PrefixTrie, (list(self) if self.objects is None else dict(self.items()),)

    def __repr__(self):
        return f"<PrefixTrie of {counted(len(self), 'prefix')}, {self.size:,} bytes>"


cdef object only_argument(tuple given, dict named):
    """Return the prefixes that `PrefixTrie` was called with."""
    if not given and not named:
        return ()
    if len(given) + len(named) > 1 or not (given or "prefixes" in named):
        raise TypeError("PrefixTrie() takes one argument, prefixes: prefixes, or a mapping from prefixes to values")
    return given[0] if given else named["prefixes"]


cdef bint is_mapping_with_values(object prefixes) except -1:
    """Return whether an argument is a mapping, but not a trie without values."""
    if type(prefixes) is PrefixTrie:
        return (<PrefixTrie>prefixes).objects is not None
    return isinstance(prefixes, Mapping)


cdef PrefixTrie trie_of_view(object view):
    """Return the trie of a view. Any code can set the attributes of a view, so the type is checked.

    It is read once: a property of a subclass may return another object each time.
    """
    cdef object trie = view._mapping
    if type(trie) is not PrefixTrie:
        raise TypeError(f"a view of a PrefixTrie was given a {type(trie).__name__}")
    return <PrefixTrie>trie


class _Keys(KeysView):
    """The stored prefixes of a trie."""

    __slots__ = ()

    def __contains__(self, key):
        return trie_of_view(self).stored(key) != NONE


class _Items(ItemsView):
    """The stored prefixes of a trie and their values."""

    __slots__ = ()

    def __contains__(self, item):
        cdef PrefixTrie trie = trie_of_view(self)
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        cdef int32_t index = trie.stored(item[0])
        return index != NONE and (trie.value(index) is item[1] or trie.value(index) == item[1])

    def __iter__(self):
        return zip(self._mapping, self._mapping.values(), strict=True)


class _Values(ValuesView):
    """The values of a trie's stored prefixes."""

    __slots__ = ()

    def __iter__(self):
        cdef PrefixTrie trie = trie_of_view(self)
        return iter(trie) if trie.objects is None else iter(trie.objects)


Mapping.register(PrefixTrie)
