"""The native engine: `PrefixTrie` and `Matcher`, thin over the plain core in the `.pxd` files beside it.

Here Python objects become structs, every bound is checked once, and errors are raised. What an address, a trie
block or an account's block looks like is said in `address.pxd`, `trie.pxd` and `accounts.pxd`.
"""

import mmap
import os
import sys
from builtins import open as builtin_open
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import numpy

from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeASCII, PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memset

from accounts cimport (
    DONE, HAS_ENTRIES, HAS_SUBACCOUNTS, IS_SUBACCOUNT, MAX_NAME,
    AccountHeader, Accounts, Name,
    close_accounts, discard, find, has_subaccounts, header_of, is_open, kin_of, link, list_of, name_of,
    open_accounts, publish, row_at, row_of, table_size, text_of,
    trie_allows, trie_of,
)
from address cimport (
    IPV4, MAX_TEXT, Address, Prefix, high_bits, parse_address, parse_ipv4_bytes, parse_ipv6_bytes,
    parse_prefix, prepare_parser,
    set_ipv4, unpack_address, write_prefix,
)
from arena cimport UNIT, Epoch, enter, leave, map_segments
from batch cimport (
    BINARY32, BINARY64, BINARY_VIEW, NUMBERS, OCTETS, PIECE, POINTERS, TEXT32, TEXT64, TEXT_VIEW,
    Batch, StringView, read_piece,
)
from build cimport Item, Plan, drop_plan, plan_trie, write_trie
from direct cimport MOST_PREFIXES, WORTHWHILE, Direct, close_direct, is_member, match_numbers, open_direct
from native cimport allocate, load_acquire, prefetch
from snapshot cimport (
    DAMAGED, FOREIGN, HOSTILE, NEWER, OTHER_ORDER, OUT_OF_MEMORY, PAGE, SOUND, TRUNCATED, Snapshot,
    seal, verify, write_image,
)
from trie cimport (
    CHILD, NONE, Trie, contains, longest_match, lower_bound, precedes, prefix_at, view_trie,
)

from cidrgate.errors import (
    AccountNotFoundError, InvalidAccountError, InvalidAddressError, SnapshotError, SubaccountError,
)

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    const uint8_t *ascii_text "(const uint8_t *)PyUnicode_1BYTE_DATA" (object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

# Text quoted in an error is cut here: it may be anything a stranger sent.
cdef enum: QUOTED = 80

prepare_parser()

# ---------------------------------------------------------------------------------------- addresses and prefixes


cdef str quoted(object value):
    """A value as it stands in an error."""
    cdef str text = repr(value)
    return text if len(text) <= QUOTED else text[:QUOTED] + "…"


cdef object not_an_address(object value):
    """The error of an unreadable address."""
    return InvalidAddressError(
        f"{quoted(value)} is not an IP address: write IPv4 as 203.0.113.5 and IPv6 as 2001:db8::5, without zone, "
        "length or spaces"
    )


cdef object not_a_prefix(object value):
    """The error of an unreadable prefix."""
    return InvalidAddressError(
        f"{quoted(value)} is not a network prefix: write address/length with no bits set beyond the length, "
        "such as 203.0.113.0/24 or 2001:db8::/32"
    )


cdef inline bint text_address(str text, Address *address):
    """Read an address from a `str`; anything but ASCII is none."""
    return PyUnicode_IS_COMPACT_ASCII(text) and parse_address(ascii_text(text), PyUnicode_GET_LENGTH(text), address)


cdef inline bint text_prefix(str text, Prefix *prefix):
    """Read a prefix from a `str`; anything but ASCII is none."""
    return PyUnicode_IS_COMPACT_ASCII(text) and parse_prefix(ascii_text(text), PyUnicode_GET_LENGTH(text), prefix)


cdef int read_object(object value, Address *address) except -1:
    """Read an address from anything but a `str` of exactly that type."""
    cdef bytes packed
    if isinstance(value, str):
        if not text_address(str.__str__(value), address):
            raise not_an_address(value)
        return 0
    if isinstance(value, bytes):
        packed = value
    elif isinstance(value, (IPv4Address, IPv6Address)):
        if getattr(value, "scope_id", None) is not None:
            raise not_an_address(value)
        packed = value.packed
    else:
        raise TypeError(
            f"an address is str, packed bytes (4 or 16) or an ipaddress object, not {type(value).__name__}"
        )
    if PyBytes_GET_SIZE(packed) not in (4, 16):
        raise not_an_address(value)
    unpack_address(<const uint8_t *>PyBytes_AS_STRING(packed), <int>PyBytes_GET_SIZE(packed), address)
    return 0


cdef inline int read(object value, Address *address) except -1:
    """Read an address argument."""
    if type(value) is str:
        if not text_address(<str>value, address):
            raise not_an_address(value)
        return 0
    return read_object(value, address)


cdef int read_prefix(object value, Prefix *prefix) except -1:
    """Read a prefix argument."""
    cdef object text = value
    if isinstance(value, (IPv4Network, IPv6Network)):
        text = str(value)
    elif not isinstance(value, str):
        raise TypeError(f"a prefix is str or an ipaddress network, not {type(value).__name__}")
    if not text_prefix(str.__str__(text), prefix):
        raise not_a_prefix(value)
    return 0


cdef str prefix_text(const Prefix *prefix):
    """The canonical text of a prefix."""
    cdef uint8_t text[MAX_TEXT]
    return PyUnicode_DecodeASCII(<char *>text, write_prefix(prefix, text), NULL)


def canonical_prefix(str text not None, /):
    """The canonical text of a network prefix.

    Args:
        text: Strictly `address/length`: no bits beyond the length, no zone, no leading zeros, no spaces.

    Returns:
        Text as in RFC 5952; an IPv4-mapped IPv6 prefix as the IPv4 prefix it stands for.

    Raises:
        InvalidAddressError: The text is no prefix.

    Example:
        >>> canonical_prefix("2606:4700:0:0::/32")
        '2606:4700::/32'
    """
    cdef Prefix prefix
    if not text_prefix(text, &prefix):
        raise not_a_prefix(text)
    return prefix_text(&prefix)


def _portable_parse(str text not None, /):
    """The packed address of text, or None, by the parsers for processors without the vector forms."""
    cdef Address address
    cdef uint32_t number
    if PyUnicode_IS_COMPACT_ASCII(text):
        if parse_ipv4_bytes(ascii_text(text), PyUnicode_GET_LENGTH(text), &number):
            return int(number).to_bytes(4, "big")
        if parse_ipv6_bytes(ascii_text(text), PyUnicode_GET_LENGTH(text), &address):
            return int(address.hi).to_bytes(8, "big") + int(address.lo).to_bytes(8, "big")
    return None


cdef Item *read_items(object prefixes, uint32_t *count) except NULL:
    """The prefixes of an iterable, as items in memory to be freed by the caller."""
    if isinstance(prefixes, str):
        raise TypeError("prefixes is an iterable of prefixes, not one str: write [prefix]")
    cdef list given = prefixes if type(prefixes) is list else list(prefixes)
    cdef Py_ssize_t index, size = len(given)
    cdef Item *items
    if size > 0x3FFFFFFF:
        raise OverflowError("a trie holds fewer than 2**30 prefixes")
    items = <Item *>malloc((size + 1) * sizeof(Item))
    if items == NULL:
        raise MemoryError
    try:
        for index in range(size):
            value = given[index]
            if type(value) is not str or not text_prefix(<str>value, &items[index].prefix):
                read_prefix(value, &items[index].prefix)
            items[index].order = <uint32_t>index
    except BaseException:
        free(items)
        raise
    count[0] = <uint32_t>size
    return items


# ------------------------------------------------------------------------------------------------------ arrays


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
        self.batch.count = array.shape[0]
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
        value = given[index]
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
        self.array = out

    def __dealloc__(self):
        if self.buffered:
            PyBuffer_Release(&self.buffer)


cdef Py_ssize_t match_batch(const Trie *trie, const Batch *batch, int32_t *indices) noexcept nogil:
    """Indices of longest matches; returns how many before an element that is no address."""
    cdef Address addresses[PIECE]
    cdef Py_ssize_t start = 0, wanted, got = PIECE, index
    while start < batch.count and got == PIECE:
        wanted = min(<Py_ssize_t>PIECE, batch.count - start)
        got = read_piece(batch, start, wanted, addresses)
        for index in range(got):
            indices[start + index] = longest_match(trie, addresses + index)
        start += got
    return start


cdef Py_ssize_t find_batch(const Trie *trie, const Batch *batch, uint8_t *found) noexcept nogil:
    """Whether there are matches; returns how many answers before an element that is no address."""
    cdef Address addresses[PIECE]
    cdef Py_ssize_t start = 0, wanted, got = PIECE, index
    cdef Direct direct
    cdef bint is_direct = batch.count >= WORTHWHILE and trie.n4 <= MOST_PREFIXES and open_direct(trie, &direct)
    if is_direct and batch.form == NUMBERS:
        match_numbers(&direct, batch.numbers, batch.count, found)
        start = batch.count
    while start < batch.count and got == PIECE:
        wanted = min(<Py_ssize_t>PIECE, batch.count - start)
        got = read_piece(batch, start, wanted, addresses)
        for index in range(got):
            if is_direct and addresses[index].family == IPV4:
                found[start + index] = is_member(&direct, <uint32_t>(addresses[index].hi >> 32))
            else:
                found[start + index] = longest_match(trie, addresses + index) != NONE
        start += got
    if is_direct:
        close_direct(&direct)
    return start


# -------------------------------------------------------------------------------------------------- PrefixTrie


cdef class PrefixTrie:
    """An immutable longest-prefix-match table over IPv4 and IPv6 prefixes.

    Safe to share between threads: nothing about it ever changes. Iteration, and the indices of `lookup_many`, go
    IPv4 before IPv6, by network, shorter prefixes first.

    Args:
        prefixes: Prefixes (`str` or `ipaddress` networks), or a mapping from prefixes to values. Several spellings
            of one prefix are one entry; of several values the last one counts. IPv4-mapped IPv6 is IPv4.

    Raises:
        InvalidAddressError: One of them is no prefix.

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
        cdef uint32_t count = 0, index
        cdef Plan plan
        cdef list values = None
        if isinstance(prefixes, Mapping):
            values = list(prefixes.values())
        cdef Item *items = read_items(prefixes, &count)
        cdef bint planned = plan_trie(items, count, &plan)
        try:
            if not planned:
                raise MemoryError
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
        """The prefix at an index of the iteration order."""
        cdef Prefix prefix
        prefix_at(&self.trie, index, &prefix)
        return prefix_text(&prefix)

    cdef inline int32_t longest(self, object address) except CHILD:
        """Index of the longest match of an address argument, or NONE."""
        cdef Address wanted
        read(address, &wanted)
        return longest_match(&self.trie, &wanted)

    @property
    def nbytes(self):
        """Bytes of the block that holds the table; values are the caller's."""
        return self.size

    def __contains__(self, object address):
        return self.longest(address) != NONE

    def lookup(self, object address, /):
        """The value of the longest matching prefix.

        Args:
            address: `str`, packed `bytes` (4 or 16) or an `ipaddress` object.

        Returns:
            The value, or the prefix's text in a trie without values; None when nothing matches.

        Raises:
            InvalidAddressError: It is no address.
        """
        cdef int32_t index = self.longest(address)
        if index == NONE:
            return None
        return self.text(index) if self.values is None else self.values[index]

    def match(self, object address, /):
        """The longest matching prefix as text, or None; arguments and errors as for `lookup`."""
        cdef int32_t index = self.longest(address)
        return None if index == NONE else self.text(index)

    def covering(self, object prefix, /):
        """Every stored prefix that covers a prefix, itself included, shortest first.

        Raises:
            InvalidAddressError: The argument is no prefix.
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

    def covered(self, object prefix, /):
        """Every stored prefix inside a prefix, itself included, in iteration order.

        Raises:
            InvalidAddressError: The argument is no prefix.
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
        """Whether each address of an array is inside a stored prefix; other threads run meanwhile.

        Args:
            addresses: `uint32[n]` (IPv4), `uint8[n, 16]` or `uint8[n, 4]` (network order), a list of `str`, or an
                Arrow string, binary or fixed-size binary array (binary elements are packed addresses).
            out: An array of bool[n] to write the answers to.

        Returns:
            bool[n]; `out` when it was given.

        Raises:
            InvalidAddressError: An element is no address, or null; the message names the first one.
        """
        cdef _AddressArray given = _AddressArray(addresses)
        cdef _Answers results = _Answers(out, numpy.bool_, given.batch.count)
        cdef Py_ssize_t done
        with nogil:
            done = find_batch(&self.trie, &given.batch, <uint8_t *>results.buffer.buf)
        if done < given.batch.count:
            raise given.unreadable(addresses, done)
        return results.array

    def lookup_many(self, object addresses, object out=None):
        """The index of each address's longest match in iteration order; other threads run meanwhile.

        Args:
            addresses: As for `contains_many`.
            out: An array of int32[n] to write the answers to.

        Returns:
            int32[n], -1 where nothing matches; `out` when it was given.

        Raises:
            InvalidAddressError: An element is no address, or null; the message names the first one.
        """
        cdef _AddressArray given = _AddressArray(addresses)
        cdef _Answers results = _Answers(out, numpy.int32, given.batch.count)
        cdef Py_ssize_t done
        with nogil:
            done = match_batch(&self.trie, &given.batch, <int32_t *>results.buffer.buf)
        if done < given.batch.count:
            raise given.unreadable(addresses, done)
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
        return f"<PrefixTrie of {len(self):,} prefixes, {self.size:,} bytes>"


# ----------------------------------------------------------------------------------------------------- Matcher


cdef class Matcher:
    """The lists of all accounts, and the check on the hot path: may this address act for this account?

    Reads never wait for a lock; `publish` replaces one account's list in one step, at a cost that does not depend
    on how many other accounts there are. An account that is unknown, or has no prefixes, is not enforced: every
    address is allowed.

    Example:
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["8.8.8.0/24"])
        >>> matcher.allows("acct-1", "8.8.8.8"), matcher.allows("acct-1", "9.9.9.9")
        (True, False)
        >>> matcher.link("sub-1", parent="acct-1")
        >>> matcher.allows("sub-1", "9.9.9.9"), matcher.allows("acct-2", "9.9.9.9")
        (False, True)
    """

    cdef Accounts accounts
    # The mapped file of a matcher that was opened.
    cdef Py_buffer mapped
    cdef bint opened

    def __cinit__(self):
        cdef bytes seed = os.urandom(8)
        if not open_accounts(&self.accounts, (<uint64_t *>PyBytes_AS_STRING(seed))[0]):
            raise MemoryError

    def __dealloc__(self):
        close_accounts(&self.accounts)
        if self.opened:
            PyBuffer_Release(&self.mapped)

    cdef inline int name(self, str account, Name *name) except -1:
        """Read the name of an account that is looked up."""
        cdef Py_ssize_t size
        if account is None:
            raise TypeError("an account is a str, not None")
        if PyUnicode_IS_COMPACT_ASCII(account):
            name_of(&self.accounts, ascii_text(account), PyUnicode_GET_LENGTH(account), name)
        else:
            try:
                text = <const uint8_t *>PyUnicode_AsUTF8AndSize(account, &size)
            except UnicodeEncodeError:
                raise InvalidAccountError(f"{quoted(account)} holds a lone surrogate, so it names no account") from None
            name_of(&self.accounts, text, size, name)
        return 0

    cdef int new_name(self, str account, Name *name) except -1:
        """Read the name of an account that is written."""
        self.name(account, name)
        if name.size == 0 or name.size > MAX_NAME:
            raise InvalidAccountError(f"an account's name has 1 to {MAX_NAME} bytes of UTF-8, not {name.size}")
        return 0

    @property
    def nbytes(self):
        """Bytes that hold all lists, the index on accounts and the rows, free room included."""
        cdef size_t unused = (self.accounts.arena.end - self.accounts.arena.next) * UNIT
        return (self.accounts.arena.nbytes - unused + self.accounts.row_room * sizeof(uint32_t)
                + table_size(&self.accounts))

    def publish(self, str account not None, object prefixes):
        """Replace an account's prefixes in one step.

        Args:
            account: The account, known or new.
            prefixes: As for `PrefixTrie`; none means that the account is not enforced.

        Raises:
            InvalidAddressError: One of them is no prefix; the account is as before.
            InvalidAccountError: The name is empty or too long.
            SubaccountError: The account inherits its parent's list.
        """
        cdef Name name
        cdef Plan plan
        cdef uint32_t count = 0
        cdef int outcome = 0
        cdef Item *items = read_items(prefixes, &count)
        try:
            self.new_name(account, &name)
            if not plan_trie(items, count, &plan):
                raise MemoryError
            outcome = publish(&self.accounts, &name, &plan)
            drop_plan(&plan)
        finally:
            free(items)
        if outcome == IS_SUBACCOUNT:
            raise SubaccountError(
                f"{account!r} inherits the list of {self.parent_of(&name)!r}: change that account's list instead"
            )
        if outcome != DONE:
            raise MemoryError

    cdef str parent_of(self, const Name *name):
        """The name of a subaccount's parent."""
        cdef const AccountHeader *stub = header_of(&self.accounts, find(&self.accounts, name).block)
        cdef const AccountHeader *parent = header_of(
            &self.accounts, row_at(&self.accounts, kin_of(stub).parent)[0])
        return PyUnicode_DecodeUTF8(<const char *>text_of(parent), parent.name_size, NULL)

    def link(self, str account not None, str parent not None):
        """Make an account a subaccount: it inherits its parent's list, now and after every change.

        Args:
            account: The subaccount, new or without prefixes of its own.
            parent: The parent; created without prefixes when it is unknown.

        Raises:
            InvalidAccountError: A name is empty or too long.
            SubaccountError: The parent is a subaccount itself, or the account has prefixes or subaccounts of its own.
        """
        cdef Name name, parent_name
        cdef int outcome
        self.new_name(account, &name)
        self.new_name(parent, &parent_name)
        if account == parent:
            raise SubaccountError(f"{account!r} cannot inherit its own list")
        if find(&self.accounts, &parent_name) == NULL:
            self.publish(parent, ())
        outcome = link(&self.accounts, &name, &parent_name)
        if outcome == IS_SUBACCOUNT:
            raise SubaccountError(
                f"{parent!r} is a subaccount of {self.parent_of(&parent_name)!r} and has no list to inherit"
            )
        if outcome == HAS_ENTRIES:
            raise SubaccountError(f"{account!r} has prefixes of its own: publish none before it inherits {parent!r}'s")
        if outcome == HAS_SUBACCOUNTS:
            raise SubaccountError(f"{account!r} has subaccounts, so it cannot inherit the list of {parent!r}")
        if outcome != DONE:
            raise MemoryError

    def discard(self, str account not None):
        """Forget an account; unknown ones are no error.

        A parent with subaccounts loses its prefixes and stays their parent.
        """
        cdef Name name
        self.name(account, &name)
        if has_subaccounts(&self.accounts, &name):
            self.publish(account, ())
        else:
            discard(&self.accounts, &name)

    def allows(self, str account not None, object address, /):
        """Whether an address may act for an account.

        Args:
            account: The account. One that is unknown or has no prefixes allows every address.
            address: `str`, packed `bytes` (4 or 16) or an `ipaddress` object.

        Raises:
            InvalidAddressError: It is no address; an edge answers 403 then.
        """
        cdef Name name
        cdef Address wanted
        cdef uint32_t block
        read(address, &wanted)
        self.name(account, &name)
        block = list_of(&self.accounts, &name)
        return block == 0 or allowed(&self.accounts, block, &wanted)

    def match(self, str account not None, object address):
        """The longest prefix of the account's list that covers an address, as text, or None.

        Raises:
            InvalidAddressError: It is no address.
        """
        cdef Name name
        cdef Address wanted
        cdef Trie trie
        cdef Prefix prefix
        cdef int32_t index
        cdef uint32_t block
        read(address, &wanted)
        self.name(account, &name)
        block = list_of(&self.accounts, &name)
        if block == 0:
            return None
        view_trie(trie_of(header_of(&self.accounts, block)), &trie)
        index = longest_match(&trie, &wanted)
        if index == NONE:
            return None
        prefix_at(&trie, index, &prefix)
        return prefix_text(&prefix)

    def prefixes(self, str account not None):
        """The prefixes that decide for an account, in address order; none for an unknown one."""
        cdef Name name
        cdef Trie trie
        cdef Prefix prefix
        cdef uint32_t block, index
        cdef list found = []
        self.name(account, &name)
        block = list_of(&self.accounts, &name)
        if block:
            view_trie(trie_of(header_of(&self.accounts, block)), &trie)
            for index in range(trie.n4 + trie.n6):
                prefix_at(&trie, index, &prefix)
                found.append(prefix_text(&prefix))
        return found

    def rows(self, object accounts):
        """Row numbers of accounts, to be used in `allows_many` again and again.

        A row stays its account's own through every change; after `discard` it is nobody's.

        Returns:
            int32[n]; -1 for an unknown account.
        """
        cdef Name name
        cdef list names = list(accounts)
        array = numpy.empty(len(names), dtype=numpy.int32)
        cdef _Answers results = _Answers(array, numpy.int32, len(names))
        cdef Py_ssize_t index
        for index in range(len(names)):
            self.name(<str?>names[index], &name)
            (<int32_t *>results.buffer.buf)[index] = row_of(&self.accounts, &name)
        return array

    def allows_many(self, object accounts, object addresses, object out=None):
        """Whether each address may act for its account; other threads run meanwhile.

        Args:
            accounts: One account for all addresses, a list of n accounts, or int32[n] rows of `rows`, where -1 is an
                unknown account.
            addresses: n addresses as for `PrefixTrie.contains_many`.
            out: An array of bool[n] to write the answers to.

        Returns:
            bool[n]; `out` when it was given.

        Raises:
            InvalidAddressError: An element is no address; the message names the first one.
            AccountNotFoundError: A row is nobody's.
            ValueError: The arrays differ in length.
        """
        cdef _AddressArray given = _AddressArray(addresses)
        cdef Py_ssize_t done, count = given.batch.count
        cdef _Answers results = _Answers(out, numpy.bool_, count)
        cdef _Answers rows = None
        cdef Name name
        cdef uint32_t row_count
        cdef uint8_t *answers = <uint8_t *>results.buffer.buf
        cdef bint nobody = False
        cdef Epoch *epoch
        if isinstance(accounts, str):
            self.name(accounts, &name)
        else:
            if not isinstance(accounts, numpy.ndarray):
                accounts = self.rows(accounts)
            if accounts.dtype.kind != "i" or accounts.shape != (count,):
                raise ValueError(
                    f"accounts is one str, a list of {count} str, or {count} rows of rows(); not {accounts.dtype} "
                    f"of shape {accounts.shape}"
                )
            accounts = numpy.require(accounts, numpy.int32, ["C", "W"])
            rows = _Answers(accounts, numpy.int32, count)
        row_count = self.accounts.row_count
        epoch = enter(&self.accounts.arena)
        try:
            with nogil:
                if rows is None:
                    done = allow_one(&self.accounts, list_of(&self.accounts, &name), &given.batch, answers)
                else:
                    done = allow_rows(
                        &self.accounts, <const int32_t *>rows.buffer.buf, row_count, &given.batch, answers, &nobody)
        finally:
            leave(epoch)
        if nobody:
            raise AccountNotFoundError(f"accounts[{done}]: row {accounts[done]} is no account's; call rows() again")
        if done < count:
            raise given.unreadable(addresses, done)
        return results.array

    def save(self, object path):
        """Write all accounts to one file that `open` maps.

        The file appears whole or not at all: it is written beside its place, synced, and renamed.

        Args:
            path: Where to; a file that is there is replaced. Processes that have it open keep what they opened.

        Raises:
            OSError: The file cannot be written.
        """
        cdef uint64_t size = 0
        cdef uint8_t *image = write_image(&self.accounts, &size)
        if image == NULL:
            raise MemoryError
        try:
            replace_file(path, PyMemoryView_FromMemory(<char *>image, size, PyBUF_READ))
        finally:
            free(image)

    @staticmethod
    def open(object path):
        """A matcher over a saved file, ready without parsing.

        The file is mapped: processes that open it share its memory. Changes after opening are this matcher's own, in
        memory. The file is checked whole, once: neither damage nor malice in it can make a lookup read outside.

        Args:
            path: A file that `save` wrote, on a machine of the same byte order. It may be replaced while it is open,
                but must not be changed in place.

        Raises:
            SnapshotError: It is no snapshot, is cut short or damaged, or was written by a newer version.
            OSError: The file cannot be read.
        """
        cdef Matcher matcher = Matcher()
        cdef Snapshot header
        cdef int found = FOREIGN
        cdef char *image
        with builtin_open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise SnapshotError(refusal(path, FOREIGN))
            PyObject_GetBuffer(
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), &matcher.mapped, PyBUF_SIMPLE)
        matcher.opened = True
        image = <char *>matcher.mapped.buf
        found = verify(<const uint8_t *>image, matcher.mapped.len, &header)
        if found == OUT_OF_MEMORY:
            raise MemoryError
        if found != SOUND:
            raise SnapshotError(refusal(path, found))
        adopt(&matcher.accounts, image, &header)
        return matcher

    def __contains__(self, str account not None):
        cdef Name name
        self.name(account, &name)
        return find(&self.accounts, &name) != NULL

    def __len__(self):
        return self.accounts.live

    def __repr__(self):
        return f"<Matcher of {len(self):,} accounts, {self.nbytes:,} bytes>"


cdef dict REFUSALS = {
    FOREIGN: "is no snapshot: open a file that Matcher.save wrote",
    OTHER_ORDER: "was written on a machine of another byte order: save it again on this one",
    NEWER: "was written by a newer version of cidrgate: upgrade, or save it again with this one",
    TRUNCATED: "is not as long as it says: copy or save it again",
    DAMAGED: "does not match its checksum: copy or save it again",
    HOSTILE: "contradicts itself: save it again",
}


cdef str refusal(object path, int found):
    """What to say of a file that is refused."""
    return f"{os.fspath(path)!r} {REFUSALS[found]}"


cdef void adopt(Accounts *accounts, char *image, const Snapshot *header) noexcept:
    """Make a verified image the content of an empty set of accounts."""
    free(accounts.table)
    accounts.seed = header.seed
    accounts.table = image + PAGE
    # Without rows there is no section, and the place after the file's end is not the file's.
    accounts.rows = image + header.rows_offset if header.row_count else NULL
    accounts.row_count = header.row_count
    accounts.row_room = header.row_count
    accounts.live = header.live
    accounts.arena.mapped = image
    accounts.arena.mapped_size = header.size
    map_segments(&accounts.arena, image + header.arena_offset, header.arena_size)


cdef object replace_file(object path, object content):
    """Write a file beside its place, sync it, and rename it; nothing is left behind when that fails."""
    place = Path(path)
    beside = place.with_name(f".{place.name}.{os.urandom(6).hex()}")
    try:
        with builtin_open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if sys.platform != "win32":
        # The new name is on disk only when the directory is.
        directory = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _seal_snapshot(bytes image not None, /):
    """An image with the checksums its content calls for: what a forger would do, for the tests of the checks."""
    cdef bytearray sealed = bytearray(image)
    seal(<uint8_t *><char *>sealed, len(image))
    return bytes(sealed)


cdef inline bint allowed(const Accounts *accounts, uint32_t block, const Address *address) noexcept nogil:
    """The answer of one list."""
    return trie_allows(trie_of(header_of(accounts, block)), address)


cdef Py_ssize_t allow_one(
    const Accounts *accounts, uint32_t block, const Batch *batch, uint8_t *answers
) noexcept nogil:
    """Answers of one list (0: an unknown account); returns how many before an element that is no address."""
    cdef Trie trie
    cdef Py_ssize_t done
    if block == 0 or is_open(trie_of(header_of(accounts, block))):
        memset(&trie, 0, sizeof(Trie))
        done = find_batch(&trie, batch, answers)
        memset(answers, 1, done)
        return done
    view_trie(trie_of(header_of(accounts, block)), &trie)
    return find_batch(&trie, batch, answers)


cdef Py_ssize_t allow_rows(
    const Accounts *accounts, const int32_t *rows, uint32_t row_count, const Batch *batch, uint8_t *answers,
    bint *nobody
) noexcept nogil:
    """Answers by row; returns how many before an element that is no address, or whose row is nobody's."""
    cdef Address addresses[PIECE]
    cdef const AccountHeader *headers[PIECE]
    cdef Py_ssize_t start = 0, wanted, got, index, row
    cdef uint32_t block
    while start < batch.count:
        wanted = min(<Py_ssize_t>PIECE, batch.count - start)
        for index in range(wanted):
            row = rows[start + index]
            if 0 <= row < row_count:
                prefetch(row_at(accounts, <uint32_t>row))
        got = read_piece(batch, start, wanted, addresses)
        for index in range(got):
            row = rows[start + index]
            headers[index] = NULL
            if row == NONE:
                continue
            block = load_acquire(row_at(accounts, <uint32_t>row)) if 0 <= row < row_count else 0
            if block == 0:
                nobody[0] = True
                got = index
                break
            headers[index] = header_of(accounts, block)
            prefetch(headers[index])
            prefetch(<const char *>headers[index] + 64)
        for index in range(got):
            answers[start + index] = headers[index] == NULL or trie_allows(trie_of(headers[index]), addresses + index)
        start += got
        if got < wanted:
            break
    return start


# ---------------------------------------------------------------------------------- the interface for native code


cdef extern from "../src/cidrgate/include/cidrgate.h":
    enum:
        CIDRGATE_API_VERSION
        CIDRGATE_NO_ADDRESS
        CIDRGATE_NO_ROW
    const char *CIDRGATE_API_NAME

    ctypedef struct cidrgate_matcher:
        pass

    ctypedef struct cidrgate_api:
        uint32_t version
        const cidrgate_matcher *(*matcher)(object matcher) except NULL
        int32_t (*row)(const cidrgate_matcher *matcher, const char *account, size_t size) noexcept nogil
        int (*allows_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address) noexcept nogil
        int (*allows_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets) noexcept nogil
        int (*allows_text)(
            const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size) noexcept nogil
        void *(*enter)(const cidrgate_matcher *matcher) noexcept nogil
        void (*leave)(void *reader) noexcept nogil


cdef const cidrgate_matcher *api_matcher(object matcher) except NULL:
    return <const cidrgate_matcher *>&(<Matcher?>matcher).accounts


cdef int32_t api_row(const cidrgate_matcher *matcher, const char *account, size_t size) noexcept nogil:
    cdef Name name
    name_of(<const Accounts *>matcher, <const uint8_t *>account, size, &name)
    return row_of(<const Accounts *>matcher, &name)


cdef int allows_row(const Accounts *accounts, int32_t row, const Address *address) noexcept nogil:
    """The answer for a row, or CIDRGATE_NO_ROW."""
    cdef uint32_t block
    if row == NONE:
        return True
    block = load_acquire(row_at(accounts, <uint32_t>row)) if 0 <= row < <int64_t>accounts.row_count else 0
    return allowed(accounts, block, address) if block else CIDRGATE_NO_ROW


cdef int api_allows_ipv4(const cidrgate_matcher *matcher, int32_t row, uint32_t address) noexcept nogil:
    cdef Address wanted
    set_ipv4(&wanted, address)
    return allows_row(<const Accounts *>matcher, row, &wanted)


cdef int api_allows_ipv6(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets) noexcept nogil:
    cdef Address wanted
    unpack_address(octets, 16, &wanted)
    return allows_row(<const Accounts *>matcher, row, &wanted)


cdef int api_allows_text(
    const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size
) noexcept nogil:
    cdef Address wanted
    if not parse_address(<const uint8_t *>text, <Py_ssize_t>size, &wanted):
        return CIDRGATE_NO_ADDRESS
    return allows_row(<const Accounts *>matcher, row, &wanted)


cdef void *api_enter(const cidrgate_matcher *matcher) noexcept nogil:
    return enter(&(<Accounts *>matcher).arena)


cdef void api_leave(void *reader) noexcept nogil:
    leave(<Epoch *>reader)


cdef cidrgate_api functions

functions.version = CIDRGATE_API_VERSION
functions.matcher = api_matcher
functions.row = api_row
functions.allows_ipv4 = api_allows_ipv4
functions.allows_ipv6 = api_allows_ipv6
functions.allows_text = api_allows_text
functions.enter = api_enter
functions.leave = api_leave

_api = PyCapsule_New(&functions, CIDRGATE_API_NAME, NULL)
